"""A broadcast is admitted: quotas, caps and the job in one transaction, or refused without a trace."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from services.broadcast import model
from services.broadcast.commands.following import TRIES
from services.broadcast.store import Store, part_id
from services.broadcast.store.admission import Admission, judge, read
from services.broadcast.store.bitmaps import pack
from services.broadcast.store.rules import rules_at
from services.chassis import calendar, clock, commit, ids
from services.chassis.commit import Cause, Outcome, Shortfall, Taken, Transaction
from services.chassis.errors import Refusal
from services.chassis.mongo import DAY_S, Document

JOBS_A_MONTH = 1_000_000
"""A broadcast's number is its month and its place in it, so that numbers grow with time."""


def send(store: Store, cause: Cause, account_id: str, asked: Mapping[str, Any]) -> Outcome:
    """Admit a broadcast and set it on its way. ``asked``: to_all | tag_id, content.text, clientmsgid.

    Raises Refusal: INVALID_ARGUMENT, API_UNAUTHORIZED, CLIENT_MSG_ID_EXISTS, BROADCAST_QUOTA_EXHAUSTED (with reset_at),
    API_DAILY_QUOTA, API_MINUTE_QUOTA, CONDITION_UNMET (warm-up), NOT_FOUND (tag), UNAVAILABLE while the account is not known here yet.
    """
    text = asked.get("content", {}).get("text", "")
    wanted = {name: asked[name] for name in ("to_all", "tag_id", "clientmsgid")}
    model.check_request(rules_at(clock.business()), **wanted, text=text)
    for _ in range(TRIES):
        before = commit.created(store.jobs, cause)
        if before is not None:
            return before
        try:
            return _attempt(store, cause, account_id, {**wanted, "text": text})
        except (Taken, Shortfall):  # another broadcast or follower was faster: read again
            continue
        except Refusal:
            twin = commit.created(store.jobs, cause)  # the same call, sent twice at once, has just used the quota
            if twin is not None:
                return twin
            raise
    raise Refusal("VERSION_CONFLICT", "this account is too busy; try again", retry_after_s=1)


def _attempt(store: Store, cause: Cause, account_id: str, asked: Mapping[str, Any]) -> Outcome:
    admission = read(store, account_id)
    job_id = ids.derived_id("job", cause.id)
    transaction = Transaction(store.database.client)
    model.check_may_broadcast(admission.account)
    if asked["clientmsgid"]:  # before the quotas: the first job may have used them up
        _claim_client_id(store, transaction, f"{account_id}/{asked['clientmsgid']}", job_id, admission)
    model.check_quota(admission.account, admission.used, admission.rules, admission.now, to_all=asked["to_all"])
    judge(store, admission, asked["tag_id"])
    _check_warm_up(store, admission)
    job, parts = _job(job_id, asked, admission)
    facts = model.dispatch(job_id, account_id, job["shards"], 0, job["dispatched"])
    due = admission.now + timedelta(seconds=1) if job["state"] == "sending" else None
    prepared = commit.prepare(store.jobs, job, cause, facts=facts, due=due)
    transaction.insert(store.jobs, prepared).insert(store.job_shards, *parts)
    _charge_account(store, transaction, admission, to_all=asked["to_all"])
    _charge_followers(store, transaction, admission)
    transaction.commit()
    return Outcome(prepared)


def _check_warm_up(store: Store, admission: Admission) -> None:
    if admission.account.get("warmed_up"):
        return
    earlier = store.jobs_that_reached(admission.account["_id"], len(admission.rules.warm_up))
    model.check_warm_up(admission.account, admission.count("recipients"), earlier, admission.rules)


def _job(job_id: str, asked: Mapping[str, Any], admission: Admission) -> tuple[Document, list[Document]]:
    """The job, and its part in every shard that holds some of its audience."""
    size, shards, rows, first = admission.rules.chunk, [], [], 0
    for number, part in admission.parts.items():
        if part.total == 0:
            continue
        chunks = -(-len(part.recipients) // size)
        shards.append({"number": number, "first_chunk": first, "chunks": chunks})
        sets = {name: pack(getattr(part, name)) for name in ("recipients", "capped", "muted")}
        rows.append({"_id": part_id(job_id, number), "job_id": job_id, "number": number, "first_chunk": first, **sets})
        first += chunks
    before = (admission.quota or {}).get("jobs", 0)
    job: Document = {
        "_id": job_id,
        "account_id": admission.account["_id"],
        "number": int(admission.month.replace("-", "")) * JOBS_A_MONTH + before + 1,
        "state": "sending" if first else "sent",
        "to_all": asked["to_all"],
        "tag_id": asked["tag_id"],
        "content": {"text": asked["text"]},
        "clientmsgid": asked["clientmsgid"],
        "month": admission.month,
        "admitted_at": admission.now,
        "total_count": admission.total,
        "filter_count": admission.count("recipients"),
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
    return job if first else {**job, "finished_at": admission.now}, rows


def _charge_account(store: Store, transaction: Transaction, admission: Admission, *, to_all: bool) -> None:
    """Charge the account's month, under the version that was read: of two broadcasts at once one reads again."""
    row, account, today = admission.quota, admission.account, calendar.day(admission.now)
    sends = int(model.counts_as_send(account, to_all=to_all))
    history = int(to_all and account["kind"] == "service")
    minute = {"key": model.minute_key(admission.now), "calls": admission.used.calls_this_minute + 1}
    if row is None:
        named = {"_id": f"{account['_id']}:{admission.month}", "account_id": account["_id"], "month": admission.month}
        days = {today: {"sends": sends, "calls": 1}}
        counts = {"version": 1, "jobs": 1, "history": history, "days": days, "minute": minute}
        transaction.insert(store.quotas, {**named, **counts})
        return
    added = {"version": 1, "jobs": 1, "history": history, f"days.{today}.sends": sends, f"days.{today}.calls": 1}
    condition = {"_id": row["_id"], "version": row["version"]}
    transaction.update(store.quotas, condition, {"$inc": added, "$set": {"minute": minute}})


def _charge_followers(store: Store, transaction: Transaction, admission: Admission) -> None:
    """Write who has received how many this month, under the version of each shard. Months before the last one are forgotten."""
    last_month = _month_before(admission)
    for shard in admission.shards:
        part = admission.parts[shard["number"]]
        if not part.received or not part.recipients:
            continue
        charged = {str(k): pack(bits) for k, bits in part.received.items()}
        kept = {month: bits for month, bits in shard.get("received", {}).items() if month >= last_month}
        fields = {"received": {**kept, admission.month: charged}, "version": shard["version"] + 1}
        transaction.update(store.shards, {"_id": shard["_id"], "version": shard["version"]}, {"$set": fields})


def _month_before(admission: Admission) -> str:
    return calendar.month(admission.now.astimezone(calendar.CST).replace(day=1) - timedelta(days=1))


def _claim_client_id(store: Store, transaction: Transaction, key: str, job_id: str, admission: Admission) -> None:
    """Take a clientmsgid for this job. Raises Refusal CLIENT_MSG_ID_EXISTS naming the job that has it."""
    known = store.client_ids.find_one({"_id": key})
    row = {"job_id": job_id, "at": admission.now, "expire_at": clock.wall() + timedelta(seconds=2 * DAY_S)}
    if known is None:
        transaction.insert(store.client_ids, {"_id": key, **row})
        return
    if admission.now - known["at"] < admission.rules.clientmsgid_window:
        message = f"this clientmsgid was used within 24 h by broadcast {known['job_id']}"
        raise Refusal("CLIENT_MSG_ID_EXISTS", message, info={"job_id": known["job_id"]})
    transaction.update(store.client_ids, {"_id": key, "job_id": known["job_id"]}, {"$set": row})
