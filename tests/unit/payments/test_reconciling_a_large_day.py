"""A day of many movements is reconciled in parts: memory does not grow with it, and after a kill the next run goes on where one ended.

``MOVEMENTS=200000`` makes the day so large, and its runs processes that are killed with -9 in the middle.
"""

import hashlib
import os
import signal
import subprocess
import sys
import tracemalloc
from math import ceil
from pathlib import Path

import pytest

from services.channel.bill import HEADER, SUMMARY, yuan
from services.chassis import clock
from services.chassis.commit import Cause
from services.payments.commands import reconciling as commands
from services.payments.jobs import reconciling as jobs
from services.payments.jobs.sides import BATCH
from services.payments.model import ledger, reconciling
from services.payments.model.bills import midnight
from services.payments.queries.reconciling import reconciliation
from services.payments.store import Store, days

ROOT = Path(__file__).resolve().parents[3]
MOVEMENTS = int(os.environ.get("MOVEMENTS", "0"))
DAY = "2026-01-05"
DAY_MS = 86_400_000
MISSING, DOUBLE, AMOUNT, LATE = 3, 55, 108, 190
UNKNOWN = 2
KINDS = {"missing": 1, "double": 1, "amount": 1, "late": 1, "unknown": UNKNOWN}


def amount(number: int) -> int:
    return 100 + number % 7


def journal(store, count: int) -> None:
    """A day on which ``count`` payments were collected."""
    days.begin_day(store, DAY)
    for first in range(0, count, 500):
        store.entries.insert_many([entry(number, count) for number in range(first, min(first + 500, count))])


def entry(number: int, count: int) -> dict:
    """One of ``count``, which are spread over the day; the first and the last are written in its first and its last millisecond."""
    sides = ((ledger.CLEARING, -amount(number)), (ledger.escrow(f"o{number}"), amount(number)))
    postings = [{"account": name, "kind": ledger.kind_of(name), "amount": moved} for name, moved in sides]
    told = {"_id": f"collect:{number:028d}", "kind": "collect", "currency": "CNY", "refs": [], "terms": {}}
    written = clock.ms(midnight(DAY)) + (DAY_MS - 1) * number // (count - 1)
    moment = {"posted_at": clock.business(), "written_at": written}
    return {**told, **moment, "postings": postings, "books": [f"channel|{DAY}", f"shop|{DAY}"]}


class Bills:
    """A channel whose bill of the day has five kinds of errors."""

    def __init__(self, count: int) -> None:
        self.count = count

    def trade(self, _number):
        return None

    def bill(self, cst_day, into):
        wanted = {DAY: self.rows(), days.next_day(DAY): [(LATE, amount(LATE))]}.get(cst_day, [])
        into.write(f"{HEADER}\r\n".encode())
        rows = total = 0
        for number, fen in wanted:
            fields = [""] * 24
            fields[5], fields[6], fields[9], fields[12] = f"{number:028d}", f"t{number}", "SUCCESS", yuan(fen)
            into.write((",".join(f"`{one}" for one in fields) + "\r\n").encode())
            rows, total = rows + 1, total + fen
        into.write(f"{SUMMARY}\r\n`{rows},`{yuan(total)},`0.00,`0.00,`0.00\r\n".encode())
        into.seek(0)
        return hashlib.file_digest(into, "sha256").hexdigest()

    def rows(self):
        for number in range(self.count + UNKNOWN):
            if number not in (MISSING, LATE):
                yield number, amount(number) + (number == AMOUNT)
            if number == DOUBLE:
                yield number, amount(number)


def run(store, count: int, keep=lambda **_: None) -> None:
    jobs.reconcile(store, Bills(count), store.reconciliations.find_one({"_id": DAY}), keep)


def told(store) -> tuple[dict, list[dict]]:
    report, rows, _ = reconciliation(store, DAY, "", 100)
    return report, rows


def done(store, count: int) -> None:
    report, rows = told(store)
    assert report["kinds"] == KINDS
    assert report["matched"] == count - 3, "all but the missing, the late one and the one of another amount"
    assert (report["ledger"]["payments"], report["channel"]["payments"]) == (count, count - 2 + UNKNOWN + 1)
    assert store.entries.count_documents({"kind": "suspend"}) == len(rows) == 6
    assert "place" not in store.reconciliations.find_one({"_id": DAY})


@pytest.fixture(autouse=True)
def begun():
    days._begun.clear()
    yield
    days._begun.clear()


def test_a_day_is_compared_in_parts_and_a_run_goes_on_where_one_that_died_had_come_to(books, monkeypatch):
    monkeypatch.setattr("services.payments.jobs.sides.BATCH", 20)
    sizes, compare = [], reconciling.compare

    def measured(ours, theirs, known):
        sizes.append(len({*ours, *theirs}))
        return compare(ours, theirs, known)

    monkeypatch.setattr(reconciling, "compare", measured)
    count = 200
    journal(books.store, count)
    keys = count + UNKNOWN
    deaths = 0
    while True:
        left = iter(range(2))  # it dies at its second step: a part, or a difference

        def keep(*, yielding=True, left=left):
            if yielding and next(left, None) is None:
                raise SystemExit

        try:
            run(books.store, count, keep)
        except SystemExit:
            deaths += 1
            assert deaths < 20
            continue
        break
    assert max(sizes) <= 20
    # Two steps a run: had they begun at the first part again, none would have come to the last.
    assert ceil(keys / 20) <= len(sizes) <= ceil(keys / 20) + deaths
    done(books.store, count)
    before = books.store.entries.count_documents({})
    commands.reconcile(books.store, Cause("cmd:again", "body"), DAY)
    run(books.store, count)
    done(books.store, count)
    assert books.store.entries.count_documents({}) == before


def test_three_times_the_day_takes_no_more_memory(books, monkeypatch):
    monkeypatch.setattr("services.payments.jobs.sides.BATCH", 40)
    monkeypatch.setattr("services.payments.store.reconciling.AT_ONCE", 40)
    peaks = []
    for count in (200, 600):
        for name in ("entries", "reconciliations", "differences"):
            books.database[name].delete_many({})
        days._begun.clear()
        journal(books.store, count)
        tracemalloc.start()
        run(books.store, count)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        done(books.store, count)
    assert peaks[1] < 1.5 * peaks[0], peaks


# ---------------------------------------------------------------------------------------------------------- the large day


def child(count: int, dies_at: int) -> None:
    """A jobs process that is killed at a step (0: never), and says what memory it took."""
    from services.chassis import mongo
    from services.chassis.settings import Settings

    settings, steps = Settings(), iter(range(dies_at - 1))
    store = Store(mongo.database(mongo.connect(settings), settings, "payments"))
    before = peak_kb()

    def keep(**_):
        if dies_at and next(steps, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    run(store, count, keep)
    print(peak_kb() - before)


def peak_kb() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0])


@pytest.mark.skipif(
    not MOVEMENTS, reason="MOVEMENTS=200000 (20000 at least) reconciles a day of so many, killing it in the middle"
)
@pytest.mark.timeout(3000)
def test_a_large_day_is_reconciled_in_bounded_memory_whatever_kills_it(books, memory_world):
    journal(books.store, MOVEMENTS)
    environment = {**os.environ, **memory_world.environment, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'gen'}"}
    places, taken = [], ""
    reading = 2 * MOVEMENTS // BATCH
    later = reading + 6 + MOVEMENTS // BATCH // 5  # the bills next door and the differences are some steps more
    for dies_at in (1, reading // 2, later, later, later, 0):
        command = [sys.executable, str(Path(__file__).resolve()), str(MOVEMENTS), str(dies_at)]
        ended = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
        assert ended.returncode == (-signal.SIGKILL if dies_at else 0), ended.stderr
        place = books.store.reconciliations.find_one({"_id": DAY}).get("place", {})
        places.append(place.get("number", ""))
        taken = ended.stdout.rpartition("\n")[0].rpartition("\n")[2]  # the last line: the log stands before it
    assert places[:2] == ["", ""]
    assert places[2] < places[3] < places[4], "each goes on where the one before it was killed"
    done(books.store, MOVEMENTS)
    print(f"{MOVEMENTS} movements: {int(taken) / 1024:.1f} MB")
    assert int(taken) < 40 * 1024


if __name__ == "__main__":
    child(int(sys.argv[1]), int(sys.argv[2]))
