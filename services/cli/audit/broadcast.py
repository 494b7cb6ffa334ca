"""群发: quotas of accounts and of followers, and who got what, recomputed from the jobs with the same set arithmetic."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from pyroaring import BitMap

from services.broadcast import model
from services.broadcast.store.admission import received
from services.broadcast.store.bitmaps import first_of, unpack
from services.chassis import calendar, policy
from services.chassis.mongo import Database, Document
from services.cli.audit.report import Finding, Wrong, compared
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


def caps(world: World) -> Iterator[Finding]:
    """Every follower of a service account received at most as many broadcasts in a month as it may."""
    for account, month, shard, counted in _received(world.database("broadcast")):
        if account["kind"] == "service":
            most = policy.load("broadcast").value("received_per_month", _first_of(month))
            over = counted.get(most + 1, BitMap())
            subject = f"{account['_id']} {month} shard {shard}"
            yield (
                Wrong(subject, f"at most {most} each", f"more for {len(over)} followers, as {over.min()}")
                if over
                else None
            )


def charged(world: World) -> Iterator[Finding]:
    """Every follower of a service account is charged for exactly the broadcasts of the month whose recipient it was."""
    broadcast = world.database("broadcast")
    for account, month, number, counted in _received(broadcast):
        if account["kind"] != "service":
            continue
        shard = broadcast["shards"].find_one({"_id": f"{account['_id']}:{number}"}, {"received": 1}) or {}
        stored = received(shard, month)
        is_forgotten = month not in shard.get("received", {}) and any(
            later > month for later in shard.get("received", {})
        )
        if not is_forgotten:  # only the current and the last month are kept
            found = {k: len(bits) for k, bits in stored.items() if bits}
            expected = {k: len(bits) for k, bits in counted.items() if bits}
            subject = f"{account['_id']} {month} shard {number}"
            yield compared(subject, expected, found) or (
                None
                if all(stored[k] == bits for k, bits in counted.items() if bits)
                else Wrong(subject, "the recipients", "other followers")
            )


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
            when = _first_of(month)
            subject = f"{account['_id']} {month}"
            if account["kind"] == "service":
                most = rules.value("history_per_month", when)
                yield None if used.history <= most else Wrong(subject, f"at most {most} to all", used.history)
            name = {"service": "history_per_day", "subscription": "subscription_per_day"}.get(account["kind"])
            per_day = rules.value(name, when) if name else None
            for day, sends in used.sends.items():
                if per_day is not None:
                    yield (
                        None
                        if sends <= per_day
                        else Wrong(f"{account['_id']} {day}", f"at most {per_day} a day", sends)
                    )


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
            compared(subject, "nobody twice", f"{twice} twice" if twice else "nobody twice")
            or compared(
                subject, f"{len(recipients)} recipients met", f"{len((reached | errors) & recipients)} recipients met"
            )
            or compared(
                subject,
                "no strangers",
                f"{len((reached | errors) - recipients)} strangers"
                if (reached | errors) - recipients
                else "no strangers",
            )
            or compared(subject, (len(recipients), len(reached), len(errors)), stored)
        )


def ordinals(world: World) -> Iterator[Finding]:
    """Every follower document is in its shard exactly while it follows, under an ordinal below the shard's next one."""
    broadcast = world.database("broadcast")
    for shard in scan(broadcast, "shards", ("account_id", "number", "followers", "muted")):
        bounds = {"$gte": first_of(shard["number"]), "$lt": first_of(shard["number"] + 1)}
        query = {"account_id": shard["account_id"], "ordinal": bounds}
        following = BitMap(
            row["ordinal"]
            for row in scan(broadcast, "followers", ("ordinal", "state"), query)
            if row["state"] == "following"
        )
        stored = unpack(shard.get("followers"))
        subject = f"{shard['account_id']} shard {shard['number']}"
        yield compared(subject, f"{len(following)} followers", f"{len(stored)} followers") or (
            None if following == stored else Wrong(subject, "the same followers", f"{len(following ^ stored)} others")
        )


CHECKS: Final[tuple[Check, ...]] = (caps, charged, quotas, limits, delivered, ordinals)
