"""群发: quotas of accounts and of followers, and who got what, recomputed from the jobs with the same set arithmetic."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from pyroaring import BitMap

from services.broadcast import model
from services.broadcast.store import tag_key
from services.broadcast.store.admission import received
from services.broadcast.store.bitmaps import first_of, unpack
from services.chassis import calendar, policy
from services.chassis.mongo import Database, Document
from services.cli.audit.report import Finding, Wrong, compared, wrong_unless
from services.cli.audit.world import Check, World, scan

JOB_FIELDS: Final = (
    "account_id",
    "month",
    "to_all",
    "admitted_at",
    "state",
    "filter_count",
    "sent_count",
    "error_count",
)


PER_DAY: Final = {"service": "history_per_day", "subscription": "subscription_per_day"}
"""Kind of account → the policy that says how often it may broadcast on a day; others may at will."""


def caps(world: World) -> Iterator[Finding]:
    """Every follower of a service account received at most as many broadcasts in a month as it may."""
    for account, month, shard, counted in _received(world.database("broadcast")):
        if account["kind"] == "service":
            most = policy.load("broadcast").value("received_per_month", _first_of(month))
            over = counted.get(most + 1, BitMap())
            subject = f"{account['_id']} {month} shard {shard}"
            told = f"more for {len(over)} followers" + (f", as {over.min()}" if over else "")
            yield wrong_unless(not over, subject, f"at most {most} each", told)


def charged(world: World) -> Iterator[Finding]:
    """Every follower of a service account is charged for exactly the broadcasts of the month whose recipient it was."""
    broadcast = world.database("broadcast")
    for account, month, number, counted in _received(broadcast):
        if account["kind"] != "service":
            continue
        shard = broadcast["shards"].find_one({"_id": f"{account['_id']}:{number}"}, {"received": 1}) or {}
        kept = shard.get("received", {})
        if month not in kept and any(later > month for later in kept):
            continue  # only the current and the last month are kept
        stored = received(shard, month)
        for k in sorted(counted.keys() | stored.keys()):
            subject = f"{account['_id']} {month} shard {number}, {k} or more"
            yield _same(subject, counted.get(k, BitMap()), stored.get(k, BitMap()))


def _received(broadcast: Database) -> Iterator[tuple[Document, str, int, dict[int, BitMap]]]:
    """(account, month, shard, k → who was a recipient of at least k jobs), one shard in memory at a time."""
    for account in scan(broadcast, "accounts"):
        months: dict[str, list[str]] = defaultdict(list)
        for job in scan(broadcast, "jobs", ("month", "shards"), {"account_id": account["_id"]}):
            months[job["month"]].append(job["_id"])
        for shard in scan(broadcast, "shards", ("number",), {"account_id": account["_id"]}):
            for month, jobs in sorted(months.items()):
                yield account, month, shard["number"], _counted(broadcast, jobs, shard["number"])


def _first_of(month: str) -> datetime:
    return datetime.fromisoformat(f"{month}-01T00:00:00").replace(tzinfo=calendar.CST)


def _counted(broadcast: Database, jobs: list[str], shard: int) -> dict[int, BitMap]:
    counted: dict[int, BitMap] = {}
    for job_id in jobs:
        part = broadcast["job_shards"].find_one({"_id": f"{job_id}:{shard}"}, {"recipients": 1})
        carried = unpack((part or {}).get("recipients"))
        k = 1
        while carried:  # who had k - 1 before and is a recipient now has k
            known = counted.get(k, BitMap())
            counted[k], carried, k = known | carried, known & carried, k + 1
    return counted


# ------------------------------------------------------------------------------------------------------------- account quotas


@dataclass(slots=True)
class Month:
    """What the jobs of one account used in one month."""

    jobs: int = 0
    history: int = 0
    sends: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    calls: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, account: Mapping[str, Any], job: Mapping[str, Any]) -> None:
        """Count one admitted job."""
        day = calendar.day(job["admitted_at"])
        self.jobs += 1
        self.history += int(job["to_all"] and account["kind"] == "service")
        self.calls[day] += 1
        self.sends[day] += int(model.counts_as_send(account, to_all=job["to_all"]))

    def row(self) -> dict[str, Any]:
        """As its quota row says it."""
        days = {day: {"sends": self.sends[day], "calls": calls} for day, calls in sorted(self.calls.items())}
        return {"jobs": self.jobs, "history": self.history, "days": days}


def quotas(world: World) -> Iterator[Finding]:
    """Every account: its quota rows count exactly the broadcasts that were admitted."""
    broadcast = world.database("broadcast")
    for account in scan(broadcast, "accounts"):
        months = _months(broadcast, account)
        rows = {row["month"]: row for row in scan(broadcast, "quotas", (), {"account_id": account["_id"]})}
        for month in sorted(months.keys() | rows.keys()):
            row = rows.get(month, {"jobs": 0, "history": 0, "days": {}})
            found = {"jobs": row["jobs"], "history": row["history"], "days": dict(sorted(row["days"].items()))}
            yield compared(f"{account['_id']} {month}", months.get(month, Month()).row(), found)


def limits(world: World) -> Iterator[Finding]:
    """Every account broadcast at most as often on a day and in a month as its kind may."""
    broadcast, rules = world.database("broadcast"), policy.load("broadcast")
    for account in scan(broadcast, "accounts"):
        for month, used in sorted(_months(broadcast, account).items()):
            when, account_id = _first_of(month), account["_id"]
            if account["kind"] == "service":
                most = rules.value("history_per_month", when)
                yield wrong_unless(
                    used.history <= most, f"{account_id} {month}", f"at most {most} to all", used.history
                )
            if account["kind"] not in PER_DAY:
                continue
            for day, sends in used.sends.items():
                most = rules.value(PER_DAY[account["kind"]], when)
                yield wrong_unless(sends <= most, f"{account_id} {day}", f"at most {most} a day", sends)


def _months(broadcast: Database, account: Document) -> dict[str, Month]:
    months: dict[str, Month] = defaultdict(Month)
    for job in scan(broadcast, "jobs", JOB_FIELDS, {"account_id": account["_id"]}):
        months[job["month"]].add(account, job)
    return months


# -------------------------------------------------------------------------------------------------------------------- delivery


def delivered(world: World) -> Iterator[Finding]:
    """Every recipient of a sent broadcast was reached or is an error, never both and never twice, and the totals say the same."""
    broadcast = world.database("broadcast")
    for job in scan(broadcast, "jobs", JOB_FIELDS, {"state": "sent"}):
        recipients, reached, errors, twice = BitMap(), BitMap(), BitMap(), 0
        for part in scan(broadcast, "job_shards", ("recipients",), {"job_id": job["_id"]}):
            recipients |= unpack(part["recipients"])
        for chunk in scan(broadcast, "chunks", ("delivered", "errors"), {"job_id": job["_id"]}):
            got, missed = unpack(chunk["delivered"]), unpack(chunk["errors"])
            twice += len((reached | errors) & (got | missed)) + len(got & missed)
            reached |= got
            errors |= missed
        subject = f"broadcast {job['_id']}"
        stored = (job["filter_count"], job["sent_count"], job["error_count"])
        yield (
            compared(subject, 0, twice and f"{twice} deliveries too many")
            or _same(subject, recipients, reached | errors)
            or compared(subject, (len(recipients), len(reached), len(errors)), stored)
        )


def followers(world: World) -> Iterator[Finding]:
    """Every shard holds exactly the followers whose documents say so: who follows, who is muted, who carries a tag."""
    broadcast = world.database("broadcast")
    for shard in scan(broadcast, "shards", ("account_id", "number", "followers", "muted", "next")):
        account_id, number = shard["account_id"], shard["number"]
        known = _known(broadcast, account_id, number)
        subject = f"{account_id} shard {number}"
        last = max((bits.max() for bits in known.values() if bits), default=-1)
        yield compared(subject, True, last < first_of(number) + shard["next"])
        for name in ("followers", "muted"):
            yield _same(f"{subject} {name}", known.pop(name), unpack(shard.get(name)))
        members = {tag_id: _members(broadcast, account_id, int(tag_id), number) for tag_id in known}
        for tag_id, bits in known.items():
            yield _same(f"{subject} tag {tag_id}", bits, members[tag_id])


def _known(broadcast: Database, account_id: str, number: int) -> dict[str, BitMap]:
    """followers, muted and tag ids → ordinals, as the documents of one shard's followers say it."""
    sets: dict[str, BitMap] = {"followers": BitMap(), "muted": BitMap()}
    bounds = {"$gte": first_of(number), "$lt": first_of(number + 1)}
    query = {"account_id": account_id, "ordinal": bounds}
    for row in scan(broadcast, "followers", ("ordinal", "state", "muted", "tags"), query):
        said = {
            "followers": row["state"] == "following",
            "muted": row["muted"],
            **dict.fromkeys(map(str, row["tags"]), True),
        }
        for name in (name for name, holds in said.items() if holds):
            sets.setdefault(name, BitMap()).add(row["ordinal"])
    return sets


def _members(broadcast: Database, account_id: str, tag_id: int, number: int) -> BitMap:
    row = broadcast["tag_shards"].find_one({"tag": tag_key(account_id, tag_id), "number": number}, {"members": 1})
    return unpack((row or {}).get("members"))


def _same(subject: str, expected: BitMap, found: BitMap) -> Finding:
    """None where both sets are equal."""
    if expected == found:
        return None
    told = f"{len(expected - found)} of them missing, {len(found - expected)} others"
    return Wrong(subject, f"{len(expected)} followers", told)


CHECKS: Final[tuple[Check, ...]] = (caps, charged, quotas, limits, delivered, followers)
