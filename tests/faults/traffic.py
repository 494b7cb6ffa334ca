"""Traffic: people who do their errands at the same time, whatever happens to the house meanwhile.

When all have done their errands, each answer that was acknowledged must still be given, and each effect must be there once.
"""

import itertools
import random
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from services.cli import world
from services.cli.api import Api
from services.cli.demo.catalog import product
from services.cli.demo.trade import ADDRESS
from services.cli.world import Merchant
from tests.backends.processes import wait_until
from tests.faults.clients import AT_ONCE, PATIENCE_S, Client, Journal, patiently, repeated

TEA, SHIRT = 2_000, 3_500
Errand = Callable[["Traffic", str], None]
"""What one person does, from beginning to end; the name keeps their keys apart."""


@dataclass
class Town:
    """Who is there for all traffic on one stack."""

    api: Api
    admin: Api
    shops: list[Merchant]

    @classmethod
    def found(cls, api: Api, bootstrap_secret: str, name: str) -> "Town":
        """An admin and two open shops."""
        admin = api.as_caller(world.first_admin(api, bootstrap_secret))
        return cls(api, admin, [world.open_shop(admin, f"{name}{number}") for number in range(2)])


@dataclass
class Traffic:
    """One round of errands. ``trouble(traffic)`` runs beside them and makes the faults; what it raises fails the round."""

    town: Town
    name: str
    seed: int
    journal: Journal = field(default_factory=Journal)
    expected: list[tuple[Client, str]] = field(default_factory=list)
    """Buyers and the checkouts each of them has."""
    unpaid: list[tuple[Client, str]] = field(default_factory=list)
    deposits: Counter[str] = field(default_factory=Counter)
    sold: Counter[str] = field(default_factory=Counter)
    """Units by SKU that are gone for good."""
    goods: dict[str, tuple[Client, str, str, int]] = field(default_factory=dict)
    """SKU → merchant, product, what is on it, units at first."""

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.line = Api(self.town.api.base_url)
        self.merchants = [
            Client(self.line.as_caller(shop.token), f"{self.name}-m{number}", self.journal)
            for number, shop in enumerate(self.town.shops)
        ]
        self._lock = threading.Lock()
        self._balances: list[dict[str, Any]] = []

    def run(
        self, errands: Sequence[Errand], trouble: Callable[["Traffic"], None], meanwhile: Errand | None = None
    ) -> None:
        """All errands, some at once, in an order that follows from the seed; returns when they and the trouble are over.

        ``meanwhile``: done again and again where the trouble outlasts the errands, so that it always comes in the middle of some.
        """
        print(f"traffic {self.name}: seed {self.seed}")
        self._open()
        chosen = list(errands)
        self.rng.shuffle(chosen)
        with ThreadPoolExecutor(AT_ONCE + 2) as pool:
            troubling = pool.submit(trouble, self)
            tasks = [pool.submit(errand, self, f"{self.name}-{n}") for n, errand in enumerate(chosen)]
            if meanwhile is not None:
                tasks.append(pool.submit(self._go_on, meanwhile, list(tasks), troubling))
            done, _ = wait([troubling, *tasks], return_when=FIRST_EXCEPTION)
            for task in [*tasks, troubling]:
                if task in done and task.exception() is not None:
                    pool.shutdown(cancel_futures=True, wait=False)
            for task in [*tasks, troubling]:
                if not task.cancelled():
                    task.result()

    def _go_on(self, errand: Errand, tasks: Sequence[Future[None]], troubling: Future[None]) -> None:
        done, waiting = wait(tasks, return_when=FIRST_EXCEPTION)
        fine = not waiting and all(task.exception() is None for task in done)
        for number in itertools.count():
            if not fine or troubling.done():
                return
            errand(self, f"{self.name}-more{number}")

    def busy(self, acknowledged: int) -> None:
        """Return in the middle of writes, when that many were acknowledged."""
        wait_until(
            lambda: len(self.journal.lines) >= acknowledged and self.journal.in_flight > 0,
            f"{acknowledged} acknowledged writes and one in flight (now {len(self.journal.lines)})",
            seconds=PATIENCE_S,
            every=0.002,
        )

    def _open(self) -> None:
        self._balances = [m.get(f"/v1/shops/{s.shop_id}/balance")["balance"] for m, s in self._shops()]
        for merchant, label, price in zip(self.merchants, ("tea", "shirt"), (TEA, SHIRT), strict=True):
            item = product(f"{self.name}-{label}", label, price, 100)
            made = merchant.post("/v1/products:bulkUpsert", {"items": [item]})["results"][0]
            found = merchant.get(f"/v1/products/{made['product_id']}")["product"]
            self.goods[found["skus"][0]["sku_id"]] = (merchant, made["product_id"], label, 100)

    def _shops(self) -> list[tuple[Client, Merchant]]:
        return list(zip(self.merchants, self.town.shops, strict=True))

    def merchant_of(self, shop_id: str) -> Client:
        """Who ships for a shop."""
        return next(client for client, shop in self._shops() if shop.shop_id == shop_id)

    # ----------------------------------------------------------------------------------------------------- what people do

    def buyer(self, name: str) -> Client:
        """A buyer made by the errand itself."""
        nobody = Client(self.line, name, self.journal)
        return nobody.acting(nobody.post("/v1/sandbox/buyers", {"name": name})["token"])

    def place(self, buyer: Client, *labels: str) -> dict[str, Any]:
        """One unit of each; written down as what the buyer has."""
        lines = [
            {"product_id": product_id, "sku_id": sku, "quantity": 1}
            for sku, (_, product_id, label, _) in self.goods.items()
            if label in labels
        ]
        checkout: dict[str, Any] = buyer.post("/v1/checkouts", {"lines": lines, "address": ADDRESS})["checkout"]
        with self._lock:
            self.expected.append((buyer, checkout["checkout_id"]))
        return checkout

    def pay(self, buyer: Client, checkout: Mapping[str, Any], method: str = "native", copies: int = 2) -> None:
        """Open a payment and pay it at the cashier, which tells of it twice."""
        asked = {"checkout_id": checkout["checkout_id"], "method": method}
        payment = buyer.post("/v1/payments", asked)["payment"]
        body = {"outcome": "success", "notify": {"copies": copies}}
        patiently(buyer.api.as_caller(""), "POST", f"{payment['cashier_url']}/pay", body=body)

    def pay_in(self, merchant: Api, shop_id: str, asked: Mapping[str, Any], amount: int) -> None:
        """Pay at the cashier what a shop opened for its deposit."""
        body = {"outcome": "success", "notify": {"copies": 2}}
        patiently(merchant.as_caller(""), "POST", f"{asked['cashier_url']}/pay", body=body)
        with self._lock:
            self.deposits[shop_id] += amount

    def bought(self, buyer: Client, *labels: str) -> dict[str, Any]:
        """Placed, paid, and told so."""
        checkout = self.place(buyer, *labels)
        self.pay(buyer, checkout)
        return self.until_state(buyer, checkout, "paid")

    def until_state(self, buyer: Client, checkout: Mapping[str, Any], state: str) -> dict[str, Any]:
        """Every order of the checkout is in ``state``."""
        found: dict[str, Any] = buyer.until(
            f"/v1/checkouts/{checkout['checkout_id']}",
            lambda told: {order["state"] for order in told["checkout"]["orders"]} == {state},
            f"orders {state}",
        )["checkout"]
        return found

    def until_refunded(self, buyer: Client, checkout: Mapping[str, Any], *amounts: int) -> None:
        """Exactly these refunds of the checkout have succeeded."""
        buyer.until(
            "/v1/refunds",
            lambda told: (
                sorted((row["amount"], row["state"]) for row in told["refunds"])
                == [(amount, "succeeded") for amount in sorted(amounts)]
            ),
            f"refunds {amounts}",
            checkout_id=checkout["checkout_id"],
        )

    def ship(self, order: Mapping[str, Any]) -> None:
        """The order's merchant ships it."""
        parcel = {"delivery_company": "003shunfeng", "delivery_track_no": f"SF{order['order_id'][-12:]}"}
        self.merchant_of(order["seller"]["shop_id"]).post(f"/v1/orders/{order['order_id']}:ship", parcel)

    def took(self, *labels: str) -> None:
        """Units that are gone for good."""
        with self._lock:
            self.sold.update(sku for sku, (_, _, label, _) in self.goods.items() if label in labels)

    # ------------------------------------------------------------------------------------------------------- afterwards

    def settle(self) -> None:
        """Half an hour later what was not paid has closed."""
        from services.cli.clocks import advance

        answer = advance(self.town.admin, 1800 + 65)
        assert answer["quiet"], answer
        for buyer, checkout_id in self.unpaid:
            self.until_state(buyer, {"checkout_id": checkout_id}, "closed")

    def check(self) -> None:
        """Each acknowledged answer is still given, and each effect is there once."""
        changed = repeated(self.journal)
        assert not changed, "\n".join(changed)
        for buyer in {buyer for buyer, _ in self.expected}:
            wanted = {checkout_id for other, checkout_id in self.expected if other is buyer}
            orders = buyer.get("/v1/orders", page_size=50)["orders"]
            assert {order["checkout_id"] for order in orders} == wanted, buyer.name
        for sku, (merchant, product_id, label, first) in self.goods.items():
            found = merchant.get(f"/v1/products/{product_id}")["product"]["skus"][0]
            wanted = (first - self.sold[sku], 0)
            assert (found["on_hand"], found["reserved"]) == wanted, f"{label}: {found}"
        for (merchant, shop), before in zip(self._shops(), self._balances, strict=True):
            wanted = before["deposit"] + self.deposits[shop.shop_id]
            path = f"/v1/shops/{shop.shop_id}/balance"
            # What the channel told a killed server it tells again by its schedule.
            told = merchant.until(path, lambda told, wanted=wanted: told["balance"]["deposit"] == wanted, "the deposit")
            assert told["balance"]["held"] == before["held"], told

    def close(self) -> None:
        """Hang up."""
        self.line.close()
