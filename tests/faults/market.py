"""A market: traffic with orders of every kind and everything that is done with money, while the clock is moved under its people's feet.

Whoever was told of a success writes down what must be true for ever after (``note``). An errand that the clock overtook (its order
closed, its packet ran out) is begun anew; what was noted until then still holds.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from services.chassis.calendar import CST
from services.cli import world
from services.cli.demo.catalog import product
from services.cli.demo.trade import ADDRESS
from tests.backends.processes import wait_until
from tests.faults.clients import PATIENCE_S, Client, RefusedError, patiently
from tests.faults.traffic import SHIRT, TEA, Errand, Traffic

GOODS = {
    "tea": (0, TEA, {}),
    "shirt": (1, SHIRT, {}),
    "song": (0, 900, {"fulfilment": "virtual"}),
    "dinner": (1, 1_200, {"fulfilment": "voucher"}),
}
"""Label → whose, price in fen, what else the product says."""
CAPITAL = 30
"""Units of each shop that are sold before the round, so that it has something to give away."""
STOCK = 500
AGAIN = 6
"""How often an errand is begun anew at most; each time the clock has moved meanwhile."""

NEVER_BY_TIME = frozenset({"INVALID_ARGUMENT", "NOT_FOUND", "PERMISSION_DENIED", "IDEMPOTENCY_KEY_REUSED"})
"""Reasons of refusals that no move of the clock explains."""


class OvertakenError(RuntimeError):
    """Time has passed meanwhile, and what was wanted can be no more."""


@dataclass(eq=False)
class Market(Traffic):
    """One round. ``admin``, ``judges``: who acts for the platform (an arbitrator, then a second person)."""

    notes: list[tuple[str, Callable[[], None]]] = field(default_factory=list)
    moving: int = 0
    """Moves of the clock that are under way."""
    moves: int = 0
    channel: str = ""
    """Where the payment channel answers."""
    over: threading.Event = field(default_factory=threading.Event)
    """All errands are done."""

    def __post_init__(self) -> None:
        super().__post_init__()
        here = self.line.as_caller(self.town.admin.token)
        self.admin = Client(here, f"{self.name}-admin", self.journal)
        token = world.staff(self.town.admin, "arbitrator", self.name)
        self.judge = Client(self.line.as_caller(token), f"{self.name}-judge", self.journal)

    def run(self, errands: Sequence[Errand], trouble: Callable[["Traffic"], None]) -> None:
        """All errands; each is begun anew where the clock has overtaken it."""
        left = len(errands)

        def counted(errand: Errand) -> Errand:
            def go(_traffic: Traffic, name: str) -> None:
                nonlocal left
                try:
                    self.again(errand, name)
                except BaseException as error:
                    print(f"{errand.__name__} {name} failed: {str(error)[:2000]}")
                    self.over.set()  # the trouble need not wait for what will not come
                    raise
                with self._lock:
                    left -= 1
                if not left:
                    self.over.set()

            return go

        super().run([counted(errand) for errand in errands], trouble)

    def _open(self) -> None:
        """Each shop has goods, and has sold some; what the second sells from now on is its own a day later (T+1)."""
        self.labels: dict[str, dict[str, Any]] = {}
        for label, (whose, price, more) in GOODS.items():
            item = {**product(f"{self.name}-{label}", label, price, STOCK), **more}
            merchant = self.merchants[whose]
            made = merchant.post("/v1/products:bulkUpsert", {"items": [item]})["results"][0]
            found = merchant.get(f"/v1/products/{made['product_id']}")["product"]
            self.labels[label] = {"product_id": made["product_id"], "sku_id": found["skus"][0]["sku_id"]}
        buyer = self.buyer(f"{self.name}-first")
        checkout = self.bought(buyer, tea=CAPITAL, shirt=CAPITAL)
        for order in checkout["orders"]:
            self.ship(order)
            buyer.post(f"/v1/orders/{order['order_id']}:confirm")
        for merchant, shop in self._shops():
            path = f"/v1/shops/{shop.shop_id}/balance"
            merchant.until(path, lambda told: told["balance"]["available"] > 0, "the first settlement")
        terms = {"settlement_days": 1, "deposit_required": 0, "reason": "T+1"}
        self.admin.post(f"/v1/shops/{self.town.shops[1].shop_id}/money-terms", terms)

    # ----------------------------------------------------------------------------------------------------- what was promised

    def note(self, what: str, holds: Callable[[], bool]) -> None:
        """Somebody was told of a success: ``holds`` must answer True when all is over."""

        def look() -> None:
            assert holds(), what

        with self._lock:
            self.notes.append((what, look))

    def finds(
        self, client: Client, path: str, holds: Callable[[dict[str, Any]], Any], what: str, **params: Any
    ) -> None:
        """Note that who reads ``path`` when all is over finds it as told."""
        self.note(f"{client.name}: {what} ({path})", lambda: bool(holds(client.get(path, **params))))

    def kept(self) -> list[str]:
        """Which promises were broken."""
        broken = []
        for what, look in self.notes:
            try:
                look()
            except Exception as error:  # noqa: BLE001 - all of them are told
                broken.append(f"{what}: {error!r}")
        return broken

    # ------------------------------------------------------------------------------------------------------- the clock

    def again(self, errand: Errand, name: str) -> None:
        """``errand``, begun anew where the clock has overtaken it."""
        for attempt in range(AGAIN):
            moves = self.moves
            try:
                errand(self, f"{name}.{attempt}")
            except (RefusedError, OvertakenError) as error:
                wrong = isinstance(error, RefusedError) and error.answer.reason in NEVER_BY_TIME
                if wrong or (self.moves == moves and not self.moving):
                    raise
                print(f"{errand.__name__} {name}.{attempt} was overtaken: {str(error)[:200]}")
            else:
                return
        raise AssertionError(f"{errand.__name__} was overtaken {AGAIN} times")

    def until(self, client: Client, path: str, holds: Any, lost: Any, what: str, **params: Any) -> dict[str, Any]:
        """Read until it ``holds``. Raises OvertakenError where it is ``lost``."""

        def look(told: dict[str, Any]) -> bool:
            if holds(told):
                return True
            if lost(told):
                raise OvertakenError(f"{what}: {str(told)[:300]}")
            return False

        return client.until(path, look, what, **params)

    def move_clock(self, until: datetime) -> None:
        """Move the business clock while people trade; nobody waits for quiet."""
        with self._lock:
            self.moving += 1
        try:
            patiently(
                self.admin.api,
                "POST",
                "/v1/sandbox/clock:advance",
                key=f"{self.name}-clock-{until.isoformat()}",
                body={"until": until.isoformat()},
            )
        finally:
            with self._lock:
                self.moving -= 1
                self.moves += 1

    def now(self) -> datetime:
        """The business time (CST)."""
        return datetime.fromisoformat(self.admin.get("/v1/sandbox/clock")["now"]).astimezone(CST)

    def midnight(self) -> datetime:
        """The end of this day (CST)."""
        return self.now().replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)

    def month_end(self) -> datetime:
        """The end of this month (CST)."""
        first = self.now().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        return (first + timedelta(days=32)).replace(day=1)

    def busy(self, acknowledged: int) -> None:
        """Return in the middle of writes, when that many were acknowledged; or when all errands are done."""
        wait_until(
            lambda: self.over.is_set() or (len(self.journal.lines) >= acknowledged and self.journal.in_flight > 0),
            f"{acknowledged} acknowledged writes and one in flight (now {len(self.journal.lines)})",
            seconds=3 * PATIENCE_S,
            every=0.002,
        )

    # ------------------------------------------------------------------------------------------------------- what people do

    def ordered(self, buyer: Client, **wanted: int) -> dict[str, Any]:
        """A checkout of so many of each label; its buyer finds it for ever."""
        lines = [{**self.labels[label], "quantity": units} for label, units in wanted.items()]
        checkout: dict[str, Any] = buyer.post("/v1/checkouts", {"lines": lines, "address": ADDRESS})["checkout"]
        path, orders = f"/v1/checkouts/{checkout['checkout_id']}", {row["order_id"] for row in checkout["orders"]}
        self.finds(
            buyer, path, lambda told: {row["order_id"] for row in told["checkout"]["orders"]} == orders, "its orders"
        )
        return checkout

    def paid(self, buyer: Client, checkout: Mapping[str, Any], method: str = "native") -> dict[str, Any]:
        """Open a payment and pay it at the cashier, which tells of it twice; the payment.

        Whatever became of the checkout: the money is in its orders, or came back.
        """
        asked = {"checkout_id": checkout["checkout_id"], "method": method}
        payment: dict[str, Any] = buyer.post("/v1/payments", asked)["payment"]
        self.scan(buyer, payment)
        return payment

    def scan(self, buyer: Client, payment: Mapping[str, Any], copies: int = 2) -> None:
        """Pay at the cashier."""
        body = {"outcome": "success", "notify": {"copies": copies}}
        patiently(buyer.api.as_caller(""), "POST", f"{payment['cashier_url']}/pay", body=body)

    def bought(self, buyer: Client, **wanted: int) -> dict[str, Any]:
        """Placed, paid, and told so. Raises OvertakenError where the time to pay ran out."""
        checkout = self.ordered(buyer, **wanted)
        self.paid(buyer, checkout)
        self.money_is_there(buyer, checkout, 1)
        return self.until_paid(buyer, checkout)

    def until_paid(self, buyer: Client, checkout: Mapping[str, Any]) -> dict[str, Any]:
        """The checkout, once all its orders are paid."""
        told = self.until(
            buyer,
            f"/v1/checkouts/{checkout['checkout_id']}",
            lambda found: {order["state"] for order in found["checkout"]["orders"]} <= PAID_ONCE,
            lambda found: "closed" in {order["state"] for order in found["checkout"]["orders"]},
            "orders paid",
        )
        found: dict[str, Any] = told["checkout"]
        return found

    def money_is_there(self, buyer: Client, checkout: Mapping[str, Any], payments: int) -> None:
        """Note: what was paid ``payments`` times is in the orders, or has come back."""

        def holds() -> bool:
            rows = buyer.get("/v1/refunds", checkout_id=checkout["checkout_id"])["refunds"]
            path = f"/v1/checkouts/{checkout['checkout_id']}"
            orders = [
                buyer.get(f"/v1/orders/{row['order_id']}")["order"] for row in buyer.get(path)["checkout"]["orders"]
            ]
            back = sum(row["amount"] for row in rows)
            kept = sum(row["amount"] - row["refunded"] for row in orders if row.get("paid_at"))
            assert {row["state"] for row in rows} <= {"succeeded"}, rows
            assert kept + back == payments * checkout["amount"], (kept, back, payments, checkout["amount"])
            return True

        self.note(f"{buyer.name}: the money of {checkout['checkout_id']}", holds)

    def parcel(self, order: Mapping[str, Any], suffix: str = "", **lines: Any) -> None:
        """The order's merchant sends something; the parcel is known for ever."""
        merchant = self.merchant_of(order["seller"]["shop_id"])
        number = f"SF{order['order_id'][-10:]}{suffix}"
        body = {"delivery_company": "003shunfeng", "delivery_track_no": number, **lines}
        merchant.post(f"/v1/orders/{order['order_id']}:ship", body)
        self.finds(
            merchant,
            f"/v1/orders/{order['order_id']}",
            lambda told: number in [one["track_no"] for one in told["order"]["parcels"]],
            f"parcel {number}",
        )

    def confirmed(self, buyer: Client, order: Mapping[str, Any]) -> None:
        """The buyer has it: completed, now and for ever."""
        buyer.post(f"/v1/orders/{order['order_id']}:confirm")
        self.ends(buyer, order, "completed")

    def ends(self, buyer: Client, order: Mapping[str, Any], *states: str) -> None:
        """Note how the order ends."""
        path = f"/v1/orders/{order['order_id']}"
        self.finds(buyer, path, lambda told: told["order"]["state"] in states, f"{' or '.join(states)}")


PAID_ONCE = frozenset({"paid", "shipped", "completed"})
