"""The states of an order, and the one table of how they may change."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Protocol

from services.chassis.errors import Refusal, wrong_state

Order = Mapping[str, Any]


class State(StrEnum):
    """Life of a child order."""

    AWAITING_PAYMENT = "awaiting_payment"
    PAID = "paid"
    SHIPPED = "shipped"
    COMPLETED = "completed"
    CLOSED = "closed"


class CheckoutState(StrEnum):
    """Life of a checkout as it is stored. Once placed, what became of it is told by its orders."""

    PLACING = "placing"
    PLACED = "placed"
    REFUSED = "refused"
    ABANDONED = "abandoned"


class Move(StrEnum):
    """What changes the state of an order."""

    PAY = "pay"
    CANCEL = "cancel"
    EXPIRE = "expire"
    SHIP = "ship"
    CONFIRM = "confirm"
    AUTO_CONFIRM = "auto_confirm"
    RUN_OUT = "run_out"
    MISS = "miss"
    REFUND = "refund"
    USED = "used"
    LAPSE = "lapse"
    UNDELIVERED = "undelivered"


class Actor(Protocol):
    """Who acts: a caller of an rpc, a service whose event it is, or the timer."""

    @property
    def kind(self) -> str:
        """buyer, merchant, admin, …; service for one that acts for nobody; else the service's name, or timer."""
        ...

    @property
    def subject(self) -> str:
        """User, account, app or staff id."""
        ...

    @property
    def shop_id(self) -> str:
        """The shop a merchant speaks for."""
        ...


@dataclass(frozen=True, slots=True)
class Known:
    """An actor by its values."""

    kind: str
    subject: str = ""
    shop_id: str = ""


TIMER: Final = Known("timer")
ORDERS: Final = Known("orders")
PAYMENTS: Final = Known("payments")
CATALOG: Final = Known("catalog")
DISPUTES: Final = Known("disputes")
PLATFORM: Final = frozenset({"admin", "arbitrator", "supervisor", "auditor"})


@dataclass(frozen=True, slots=True)
class Step:
    """Who acts, when (business time, UTC), and by which event (empty for a command or a timer)."""

    at: datetime
    actor: Actor
    event: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One allowed change: from, by what, to, by whom, and whether an open dispute allows it."""

    source: State
    move: Move
    target: State
    actors: frozenset[str]
    in_dispute: bool = True


def _row(source: State, move: Move, target: State, *actors: str, in_dispute: bool = True) -> Row:
    return Row(source, move, target, frozenset(actors), in_dispute)


TABLE: Final = (
    _row(State.AWAITING_PAYMENT, Move.PAY, State.PAID, "payments"),
    _row(State.AWAITING_PAYMENT, Move.CANCEL, State.CLOSED, "buyer", "merchant"),
    _row(State.AWAITING_PAYMENT, Move.EXPIRE, State.CLOSED, "timer"),
    _row(State.PAID, Move.CANCEL, State.CLOSED, "buyer", "merchant", in_dispute=False),
    _row(State.PAID, Move.RUN_OUT, State.CLOSED, "catalog"),
    _row(State.PAID, Move.MISS, State.CLOSED, "timer", in_dispute=False),
    _row(State.PAID, Move.REFUND, State.CLOSED, "payments", "disputes"),
    _row(State.PAID, Move.SHIP, State.SHIPPED, "merchant"),
    _row(State.PAID, Move.USED, State.COMPLETED, "timer", in_dispute=False),
    _row(State.PAID, Move.LAPSE, State.CLOSED, "timer", in_dispute=False),
    _row(State.SHIPPED, Move.CONFIRM, State.COMPLETED, "buyer", in_dispute=False),
    _row(State.SHIPPED, Move.AUTO_CONFIRM, State.COMPLETED, "timer", in_dispute=False),
    _row(State.SHIPPED, Move.UNDELIVERED, State.CLOSED, "timer", in_dispute=False),
    _row(State.SHIPPED, Move.REFUND, State.CLOSED, "payments"),
)
"""Everything that may happen to an order; what is not here does not happen."""

_ROWS: Final = {(row.source, row.move): row for row in TABLE}
WECHAT_STATUS: Final[Mapping[str, int]] = {
    State.AWAITING_PAYMENT: 1,
    State.PAID: 2,
    State.SHIPPED: 3,
    State.CLOSED: 4,
    State.COMPLETED: 5,
}
"""``order_status`` of 微信商铺API手册 V1.15 §6 (2 待发货, 3 已发货, 5 已完成); it names no unpaid or closed one: 1 and 4 are ours."""
WECHAT_IN_DISPUTE: Final = 8
"""维权中"""


def wechat_status(order: Order) -> int:
    """The 2014 API's ``order_status``: 8 while in dispute, else by state."""
    return WECHAT_IN_DISPUTE if order["in_dispute"] else WECHAT_STATUS[order["state"]]


def allowed(order: Order, move: Move, actor: Actor) -> State | None:
    """The state that ``move`` by ``actor`` leads to from here; None when the table does not have it."""
    row = _ROWS.get((State(order["state"]), move))
    if row is None or actor.kind not in row.actors or (order["in_dispute"] and not row.in_dispute):
        return None
    return row.target


def target(order: Order, move: Move, actor: Actor) -> State:
    """The same for a command. Raises Refusal WRONG_STATE saying which states would do, PERMISSION_DENIED for the wrong actor."""
    found = allowed(order, move, actor)
    if found is not None:
        return found
    rows = [row for row in TABLE if row.move is move]
    if not any(actor.kind in row.actors for row in rows):
        raise Refusal("PERMISSION_DENIED", f"a {actor.kind} cannot {move} an order")
    wanted = " or ".join(row.source for row in rows if actor.kind in row.actors)
    told = f"{order['state']} and in dispute" if order["in_dispute"] else order["state"]
    raise wrong_state("order", str(order["_id"]), told, wanted)


def sees(owned: Mapping[str, Any], actor: Actor) -> bool:
    """Whether ``actor`` may see this order or checkout: its buyer, its shop, the platform, a service that acts for nobody."""
    if actor.kind == "buyer":
        return bool(owned["buyer_id"] == actor.subject)
    if actor.kind == "merchant":
        return bool(actor.shop_id) and owned.get("shop_id") == actor.shop_id
    return actor.kind in PLATFORM or actor.kind == "service"
