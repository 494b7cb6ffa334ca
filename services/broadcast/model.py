"""The rules of 群发: who may send how often, whom a broadcast reaches, and when it is done.

Admission is set arithmetic, not a loop. The functions work on anything that behaves like a set of ordinals: roaring bitmaps in
production, plain sets in tests. Rules are those of the Batch_Sends guide; days and months are natural ones of Asia/Shanghai.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Generic, Protocol, Self, TypeVar

from services.chassis import calendar, money
from services.chassis.decisions import DONE, EARLY, STALE, Change, Decision, Fact, apply
from services.chassis.errors import Refusal, invalid
from services.chassis.texts import has_control

CHUNK_DUE: Final = "jishi.broadcast.job.chunk_due.v1"
ORDER_PAID: Final = "jishi.orders.order.paid.v1"
ORDER_SHIPPED: Final = "jishi.orders.order.shipped.v1"
RECHECK: Final = timedelta(seconds=5)
"""How soon a job whose chunks are all on their way looks whether it is done, should the last delivery have died half-way; the older
the job, the longer the pause (a quarter of its age)."""


class Bits(Protocol):
    """A set of follower ordinals."""

    def __and__(self, other: Self, /) -> Self:
        """Those in both."""

    def __or__(self, other: Self, /) -> Self:
        """Those in either."""

    def __sub__(self, other: Self, /) -> Self:
        """Those in this one only."""

    def __len__(self) -> int:
        """How many."""


B = TypeVar("B", bound=Bits)


@dataclass(frozen=True, slots=True)
class Rules:
    """The policy in force, and the versions to store with the decision."""

    subscription_per_day: int
    history_per_day: int
    history_per_month: int
    received_per_month: int
    calls_per_day: int
    calls_per_minute: int
    warm_up: tuple[int, ...]
    clientmsgid_window: timedelta
    chunk: int
    chunks_per_second: int
    text_characters: int
    clientmsgid_bytes: int
    tags_per_account: int
    tags_per_follower: int
    tag_name_bytes: int
    versions: tuple[str, ...] = ()


# ---------------------------------------------------------------------------------------------------------------------- quotas


@dataclass(frozen=True, slots=True)
class Usage:
    """What an account has used this month: broadcasts by day, to-all broadcasts, and calls."""

    history_month: int = 0
    sends_today: int = 0
    calls_today: int = 0
    calls_this_minute: int = 0


def usage(row: Mapping[str, Any] | None, now: datetime) -> Usage:
    """The usage in a quota row of the month of ``now``."""
    if row is None:
        return Usage()
    today = row.get("days", {}).get(calendar.day(now), {})
    minute = row.get("minute", {})
    calls = minute.get("calls", 0) if minute.get("key") == minute_key(now) else 0
    return Usage(row.get("history", 0), today.get("sends", 0), today.get("calls", 0), calls)


def minute_key(now: datetime) -> str:
    """The clock minute that the per-minute limit counts in."""
    return now.strftime("%Y-%m-%dT%H:%M")


def counts_as_send(account: Mapping[str, Any], *, to_all: bool) -> bool:
    """Whether a broadcast uses the account's own quota: always for a subscription account, to-all only for a service account."""
    return account["kind"] == "subscription" or (account["kind"] == "service" and to_all)


def check_may_broadcast(account: Mapping[str, Any]) -> None:
    """Raise Refusal API_UNAUTHORIZED (48001) for accounts that are not verified."""
    if not account["verified"]:
        message = "only verified official accounts may broadcast by API"
        raise Refusal("API_UNAUTHORIZED", message, info={"condition": "verified"})


def check_quota(account: Mapping[str, Any], used: Usage, rules: Rules, now: datetime, *, to_all: bool) -> None:
    """Raise Refusal when the account's quotas are used up; the refusal tells when they reset.

    API_MINUTE_QUOTA (45011), API_DAILY_QUOTA (45009), BROADCAST_QUOTA_EXHAUSTED (45028: by month, then by day).
    """
    if used.calls_this_minute >= rules.calls_per_minute:
        reset = now.replace(second=0, microsecond=0) + timedelta(minutes=1)
        raise _exhausted(
            "API_MINUTE_QUOTA", f"at most {rules.calls_per_minute} broadcast calls a minute", "minute", reset, now
        )
    if used.calls_today >= rules.calls_per_day:
        message = f"at most {rules.calls_per_day} broadcast calls a day"
        raise _exhausted("API_DAILY_QUOTA", message, "day", calendar.next_day(now), now)
    if not counts_as_send(account, to_all=to_all):
        return
    if account["kind"] == "service" and used.history_month >= rules.history_per_month:
        message = (
            f"a service account (服务号) broadcasts to all {rules.history_per_month} times a month; they are used up"
        )
        raise _exhausted("BROADCAST_QUOTA_EXHAUSTED", message, "month", calendar.next_month(now), now)
    per_day = rules.history_per_day if account["kind"] == "service" else rules.subscription_per_day
    if used.sends_today >= per_day:
        message = f"this account broadcasts {per_day} time a day; it is used up"
        raise _exhausted("BROADCAST_QUOTA_EXHAUSTED", message, "day", calendar.next_day(now), now)


def left(account: Mapping[str, Any], used: Usage, rules: Rules) -> tuple[int, int]:
    """To-all broadcasts left (today, this month); −1 where there is no limit."""
    if account["kind"] == "service":
        month = max(0, rules.history_per_month - used.history_month)
        return min(month, max(0, rules.history_per_day - used.sends_today)), month
    if account["kind"] == "subscription":
        return max(0, rules.subscription_per_day - used.sends_today), -1
    return -1, -1


def check_warm_up(account: Mapping[str, Any], recipients: int, earlier: int, rules: Rules) -> None:
    """A new account warms up: its first broadcasts (``earlier`` were before) reach only so many. Raises Refusal CONDITION_UNMET."""
    if account.get("warmed_up") or earlier >= len(rules.warm_up) or recipients <= rules.warm_up[earlier]:
        return
    limit = rules.warm_up[earlier]
    message = f"a new account's broadcast number {earlier + 1} may reach {limit} followers, not {recipients}; send to a tag first"
    raise Refusal("CONDITION_UNMET", message, info={"condition": "warm_up", "limit": str(limit)})


def _exhausted(reason: str, message: str, scope: str, reset: datetime, now: datetime) -> Refusal:
    wait = max(1, int((reset - now).total_seconds()))
    told = reset.astimezone(calendar.CST).isoformat()
    return Refusal(reason, f"{message}; resets at {told}", retry_after_s=wait, info={"scope": scope, "reset_at": told})


# ------------------------------------------------------------------------------------------------------------------- admission


@dataclass(frozen=True, slots=True)
class Admitted(Generic[B]):
    """One shard's part of an admitted broadcast. ``received[k]``: followers that have received at least k this month, afterwards."""

    recipients: B
    capped: B
    muted: B
    received: dict[int, B]

    @property
    def total(self) -> int:
        """The audience before filtering."""
        return len(self.recipients) + len(self.capped) + len(self.muted)


def admit(followers: B, muted: B, received: Mapping[int, B], members: B | None, cap: int | None) -> Admitted[B]:
    """Whom a broadcast reaches in one shard, and what that charges.

    ``members`` limits the audience to a tag; ``cap`` is how many a follower may receive a month (None: no limit). The fifth one
    is filtered for that follower; the job goes on.
    """
    nobody = followers - followers
    audience = followers if members is None else followers & members
    unwilling = audience & muted
    willing = audience - unwilling
    if cap is None:
        return Admitted(willing, nobody, unwilling, {})
    capped = willing & received.get(cap, nobody)
    recipients = willing - capped
    charged = {1: received.get(1, nobody) | recipients}
    for k in range(2, cap + 1):
        charged[k] = received.get(k, nobody) | (received.get(k - 1, nobody) & recipients)
    return Admitted(recipients, capped, unwilling, charged)


def follower_cap(account: Mapping[str, Any], rules: Rules) -> int | None:
    """How many broadcasts of this account one follower may receive a month."""
    return rules.received_per_month if account["kind"] == "service" else None


def check_request(rules: Rules, *, to_all: bool, tag_id: int, text: str, clientmsgid: str) -> None:
    """Raise Refusal INVALID_ARGUMENT naming the field that is wrong."""
    if to_all == bool(tag_id):
        raise invalid("to_all", "send either to_all: true or a tag_id")
    if not text.strip() or len(text) > rules.text_characters:
        raise invalid("content.text", f"must have 1 to {rules.text_characters} characters")
    if len(clientmsgid.encode()) > rules.clientmsgid_bytes:
        raise invalid("clientmsgid", f"must have at most {rules.clientmsgid_bytes} bytes")


def check_tag_name(name: str, rules: Rules) -> None:
    """Raise Refusal INVALID_ARGUMENT for a name that is empty, too long or holds control characters."""
    if has_control(name.strip()):
        raise invalid("name", "holds a control character; remove it")
    if not 0 < len(name.strip().encode()) <= rules.tag_name_bytes:
        raise invalid(
            "name", f"must have 1 to {rules.tag_name_bytes} bytes ({rules.tag_name_bytes // 3} Chinese characters)"
        )


def free_place(taken: Collection[int], most: int) -> int:
    """The first of ``most`` places that no tag has. Raises Refusal CONDITION_UNMET where all are taken."""
    for place in range(most):
        if place not in taken:
            return place
    raise Refusal("CONDITION_UNMET", f"an account has at most {most} tags", info={"condition": "tags_per_account"})


# -------------------------------------------------------------------------------------------------------------------- delivery


def dispatch(job_id: str, account_id: str, shards: list[Mapping[str, int]], first: int, count: int) -> tuple[Fact, ...]:
    """The facts that send chunks ``first`` … ``first + count − 1`` on their way. ``shards``: number, first_chunk, chunks."""
    facts = []
    for shard in shards:
        begin = max(first, shard["first_chunk"])
        end = min(first + count, shard["first_chunk"] + shard["chunks"])
        parts = [
            {"job_id": job_id, "account_id": account_id, "chunk": n, "shard": shard["number"]}
            for n in range(begin, end)
        ]
        facts += [Fact(CHUNK_DUE, part) for part in parts]
    return tuple(facts)


def tick(job: Mapping[str, Any], now: datetime) -> Change | None:
    """The job's timer: send the next chunks at the chosen rate, or see that it is done."""
    if job["state"] != "sending":
        return Change(due=None)
    finished = finish(job, now)
    if finished is not None:
        return finished
    first, waiting = job["dispatched"], job["chunks"] - job["dispatched"]
    if waiting <= 0:
        return Change(due=now + max(RECHECK, (now - job["admitted_at"]) / 4))
    count = min(job["rate"], waiting)
    facts = dispatch(job["_id"], job["account_id"], job["shards"], first, count)
    return Change(set={"dispatched": first + count}, facts=facts, due=now + timedelta(seconds=1))


def finish(job: Mapping[str, Any], now: datetime) -> Change | None:
    """The job is sent when every chunk was delivered; None while some are not."""
    if job["state"] != "sending" or job["chunks_done"] < job["chunks"]:
        return None
    return Change(set={"state": "sent", "finished_at": now}, due=None)


@dataclass(frozen=True, slots=True)
class ChunkState:
    """What the delivery of a chunk meets."""

    job: Mapping[str, Any] | None
    delivered: bool


def decide_chunk(state: ChunkState, _event: Any) -> Decision:
    """``broadcast.job.chunk_due``: a chunk is delivered once."""
    if state.delivered:
        return DONE
    return EARLY if state.job is None else apply()


# ----------------------------------------------------------------------------------------------------------- template messages


def order_message(event_type: str, data: Mapping[str, Any]) -> tuple[str, str]:
    """The (kind, text) of the template message that an order's fact gives; no promotion in it (模板消息 rules)."""
    if event_type == ORDER_PAID:
        names = "、".join(line["name"] for line in data["lines"][:3])
        return "paid", f"订单支付成功:{names},合计 {money.text(data['amount'], data['currency'])}"
    carrier = f"{data['delivery_company']} {data['delivery_track_no']}".strip()
    return "shipped", f"订单已发货:{carrier or '无需物流'}"


def decide_message(known: bool, event: Any) -> Decision:
    """An order's fact becomes one message in the inbox of a buyer whom the account knows."""
    if not event.data["openid"]:
        return STALE
    return DONE if known else apply()
