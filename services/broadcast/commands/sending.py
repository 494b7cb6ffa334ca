"""A broadcast is admitted: quotas, caps and the job in one transaction, or refused without a trace."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pyroaring import BitMap

from services.broadcast import model
from services.broadcast.commands.following import TRIES, tag_key
from services.broadcast.model import Admitted, Rules
from services.broadcast.store import Store, pack, received, unpack
from services.chassis import calendar, clock, commit, ids, policy
from services.chassis.commit import Cause, Outcome, Shortfall, Taken, Transaction
from services.chassis.errors import Refusal, not_found
from services.chassis.mongo import Document


@dataclass(slots=True)
class Admission:
    """What is read to decide on a broadcast, and what was decided shard by shard."""

    account: Document
    quota: Document | None
    shards: list[Document]
    rules: Rules
    now: datetime
    parts: dict[int, Admitted[BitMap]] = field(default_factory=dict)

    @property
    def month(self) -> str:
        """The CST month that is charged."""
        return calendar.month(self.now)

    def count(self, name: str) -> int:
        """How many recipients, capped or muted over all shards."""
        return sum(len(getattr(part, name)) for part in self.parts.values())


def send(store: Store, cause: Cause, account_id: str, asked: Mapping[str, Any]) -> Outcome:
    """Admit a broadcast and set it on its way. ``asked``: to_all | tag_id, content.text, clientmsgid.

    Raises Refusal: INVALID_ARGUMENT, API_UNAUTHORIZED, BROADCAST_QUOTA_EXHAUSTED (with reset_at), API_DAILY_QUOTA, API_MINUTE_QUOTA,
    CLIENT_MSG_ID_EXISTS, CONDITION_UNMET (warm-up), NOT_FOUND (tag), UNAVAILABLE while the account is not known here yet.
    """
    text = asked.get("content", {}).get("text", "")
    model.check_request(to_all=asked["to_all"], tag_id=asked["tag_id"], text=text, clientmsgid=asked["clientmsgid"])
    for _ in range(TRIES):
        before = commit.created(store.jobs, cause)
        if before is not None:
            return before
        try:
            return _attempt(store, cause, account_id, asked, text)
        except (Taken, Shortfall):  # another broadcast or follower was faster: read again
            continue
    raise Refusal("VERSION_CONFLICT", "this account is too busy; try again", retry_after_s=1)


def _attempt(store: Store, cause: Cause, account_id: str, asked: Mapping[str, Any], text: str) -> Outcome:
    admission = read(store, account_id)
    used = model.usage(admission.quota, admission.now)
    model.check_quota(admission.account, used, admission.rules, admission.now, to_all=asked["to_all"])
    judge(store, admission, 0 if asked["to_all"] else asked["tag_id"])
    earlier = (admission.quota or {}).get("jobs", 0)
    model.check_warm_up(admission.account, admission.count("recipients"), earlier, admission.rules)
    job, shards = _job(account_id, cause, asked, text, admission)
    facts = model.dispatch(job["_id"], account_id, job["shards"], 0, job["dispatched"])
    due = admission.now + timedelta(seconds=1) if job["state"] == "sending" else None
    prepared = commit.prepare(store.jobs, job, cause, facts=facts, due=due)
    transaction = Transaction(store.database.client).insert(store.jobs, prepared)
    if shards:
        transaction.insert(store.job_shards, *shards)
    _charge(store, transaction, account_id, admission, to_all=asked["to_all"])
    if asked["clientmsgid"]:
        _claim_client_id(store, transaction, f"{account_id}/{asked['clientmsgid']}", job["_id"], admission)
    transaction.commit()
    return Outcome(prepared)


def read(store: Store, account_id: str) -> Admission:
    """Everything that a decision on a broadcast needs. Raises Refusal UNAVAILABLE while the account has not reached us."""
    account = store.accounts.find_one({"_id": account_id})
    if account is None:
        raise Refusal("UNAVAILABLE", "this account is not known here yet; try again in a second", retry_after_s=1)
    now = clock.business()
    return Admission(
        account, store.quota(account_id, calendar.month(now)), store.shards_of(account_id), rules_at(now), now
    )


def judge(store: Store, admission: Admission, tag_id: int) -> None:
    """Decide shard by shard whom a broadcast reaches now: to all, or to a tag. Raises Refusal NOT_FOUND for an unknown tag."""
    members: dict[int, BitMap] | None = None
    if tag_id:
        key = tag_key(admission.account["_id"], tag_id)
        if store.tags.find_one({"_id": key}) is None:
            raise not_found("tag", str(tag_id))
        members = {number: unpack(row["members"]) for number, row in store.members(key).items()}
    cap = model.follower_cap(admission.account, admission.rules)
    for shard in admission.shards:
        number = shard["number"]
        tagged = None if members is None else members.get(number, BitMap())
        admission.parts[number] = model.admit(
            unpack(shard.get("followers")), unpack(shard.get("muted")), received(shard, admission.month), tagged, cap
        )


def _job(
    account_id: str, cause: Cause, asked: Mapping[str, Any], text: str, admission: Admission
) -> tuple[Document, list[Document]]:
    job_id = ids.derived_id("job", cause.id)
    size, shards, rows, first = admission.rules.chunk, [], [], 0
    for number, part in admission.parts.items():
        if part.total == 0:
            continue
        chunks = -(-len(part.recipients) // size)
        shards.append({"number": number, "first_chunk": first, "chunks": chunks})
        bitmaps = {name: pack(getattr(part, name)) for name in ("recipients", "capped", "muted")}
        rows.append({"_id": f"{job_id}:{number}", "job_id": job_id, "number": number, "first_chunk": first, **bitmaps})
        first += chunks
    recipients = admission.count("recipients")
    job = {
        "_id": job_id,
        "account_id": account_id,
        "ordered": clock.ms(admission.now),
        "state": "sending" if first else "sent",
        "to_all": asked["to_all"],
        "tag_id": asked["tag_id"],
        "content": {"text": text},
        "clientmsgid": asked["clientmsgid"],
        "month": admission.month,
        "total_count": sum(part.total for part in admission.parts.values()),
        "filter_count": recipients,
        "sent_count": 0,
        "error_count": 0,
        "skipped_monthly_cap": admission.count("capped"),
        "skipped_muted": admission.count("muted"),
        "chunk_size": size,
        "chunks": first,
        "chunks_done": 0,
        "rate": admission.rules.chunks_per_second,
        "dispatched": min(first, admission.rules.chunks_per_second),
        "shards": shards,
        "policies": list(admission.rules.versions),
    }
    return job, rows


def _charge(store: Store, transaction: Transaction, account_id: str, admission: Admission, *, to_all: bool) -> None:
    """Charge the account's month and each shard's followers, under the versions that were read."""
    row, today = admission.quota, calendar.day(admission.now)
    sends = int(model.counts_as_send(admission.account, to_all=to_all))
    history = int(to_all and admission.account["kind"] == "service")
    used = model.usage(row, admission.now)
    minute = {"key": model.minute_key(admission.now), "calls": used.calls_this_minute + 1}
    if row is None:
        fresh = {"account_id": account_id, "month": admission.month, "version": 1, "jobs": 1, "history": history}
        days = {today: {"sends": sends, "calls": 1}}
        transaction.insert(
            store.quotas, {"_id": f"{account_id}:{admission.month}", **fresh, "days": days, "minute": minute}
        )
    else:
        added = {"version": 1, "jobs": 1, "history": history, f"days.{today}.sends": sends, f"days.{today}.calls": 1}
        condition = {"_id": row["_id"], "version": row["version"]}
        transaction.update(store.quotas, condition, {"$inc": added, "$set": {"minute": minute}})
    for shard in admission.shards:
        part = admission.parts[shard["number"]]
        if not part.received or not len(part.recipients):
            continue
        charged = {str(k): pack(bits) for k, bits in part.received.items()}
        kept = {month: bits for month, bits in shard.get("received", {}).items() if month >= _last_month(admission.now)}
        fields = {"received": {**kept, admission.month: charged}, "version": shard["version"] + 1}
        transaction.update(store.shards, {"_id": shard["_id"], "version": shard["version"]}, {"$set": fields})


def _claim_client_id(store: Store, transaction: Transaction, key: str, job_id: str, admission: Admission) -> None:
    known = store.client_ids.find_one({"_id": key})
    row = {"job_id": job_id, "at": admission.now}
    if known is None:
        transaction.insert(store.client_ids, {"_id": key, **row})
        return
    if admission.now - known["at"] < admission.rules.clientmsgid_window:
        message = f"this clientmsgid was used within 24 h by broadcast {known['job_id']}"
        raise Refusal("CLIENT_MSG_ID_EXISTS", message, info={"job_id": known["job_id"]})
    transaction.update(store.client_ids, {"_id": key, "job_id": known["job_id"]}, {"$set": row})


def _last_month(now: datetime) -> str:
    return calendar.month(now.astimezone(calendar.CST).replace(day=1) - timedelta(days=1))


def rules_at(when: datetime) -> Rules:
    """The policy in force at ``when`` (business time)."""
    found = policy.load("broadcast")
    limits = ("subscription_per_day", "history_per_day", "history_per_month", "received_per_month")
    numbers = (*limits, "calls_per_day", "calls_per_minute", "chunk", "chunks_per_second")
    return Rules(
        **{name: found.value(name, when) for name in numbers},
        warm_up=tuple(found.value("warm_up", when)),
        clientmsgid_window=found.span("clientmsgid_window", when),
        versions=tuple(found.version(name, when) for name in limits),
    )
