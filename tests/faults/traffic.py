"""Traffic: people who do their errands at the same time, whatever happens to the house meanwhile.

Every client repeats a request under its own idempotency key until it is answered, and writes the answer down. When all have done their
errands, each answer that was acknowledged must still be given, and each effect must be there once.
"""

import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

import httpx

from services.chassis import ids
from services.cli import world
from services.cli.api import Answer, Api, UnexpectedAnswer
from services.cli.demo.catalog import product
from services.cli.demo.trade import ADDRESS
from services.cli.world import Merchant
from tests.backends.processes import wait_until

PASSING = frozenset({"STILL_RUNNING", "VERSION_CONFLICT", "UNAVAILABLE", "BACKLOG_FULL", "DEADLINE_EXCEEDED"})
"""Reasons after which a careful client repeats the request."""
AGAIN = "SYSTEM_ERROR"
"""The channel's word for it: call again with the same parameters."""
PATIENCE_S = 120.0
REPLAYED = "Idempotency-Replayed"
TEA, SHIRT = 2_000, 3_500
AT_ONCE = 5


Errand = Callable[["Traffic", str], None]
"""What one person does, from beginning to end; the name keeps their keys apart."""


class GivenUpError(RuntimeError):
    """An answer that no client should get, or none for too long."""


@dataclass(frozen=True)
class Acknowledged:
    """A write that was answered with success: what to send to repeat it, and the answer."""

    api: Api
    method: str
    path: str
    given: Mapping[str, Any]
    key: str
    answer: Answer


class Journal:
    """Everything that was acknowledged, and how many requests are in flight now. Thread-safe."""

    def __init__(self) -> None:
        self.lines: list[Acknowledged] = []
        self.in_flight = 0
        self._lock = threading.Lock()

    def begin(self) -> None:
        with self._lock:
            self.in_flight += 1

    def end(self, line: Acknowledged | None) -> None:
        with self._lock:
            self.in_flight -= 1
            if line is not None:
                self.lines.append(line)


class Client:
    """One person: writes under keys of their own, repeated until they are answered."""

    def __init__(self, api: Api, name: str, journal: Journal) -> None:
        self.api, self.name, self.journal, self._steps = api, name, journal, 0

    def acting(self, token: str) -> "Client":
        """The same person with another token; keys stay apart."""
        return Client(self.api.as_caller(token), f"{self.name}/{token[-8:]}", self.journal)

    def post(self, path: str, body: Mapping[str, Any] | None = None, **given: Any) -> dict[str, Any]:
        """The body of the answer to a POST; ``given``: form, files. Raises GivenUpError."""
        return self.write("POST", path, **(given or {"body": body or {}}))

    def write(self, method: str, path: str, *, key: str = "", **given: Any) -> dict[str, Any]:
        """The body of the answer. Raises GivenUpError."""
        self._steps += 1
        key = key or f"{self.name}-{self._steps}"
        self.journal.begin()
        line = None
        try:
            answer = patiently(self.api, method, path, key=key, **given)
            line = Acknowledged(self.api, method, path, given, key, answer)
        finally:
            self.journal.end(line)
        return answer.body

    def get(self, path: str, **params: Any) -> dict[str, Any]:
        """The body of the answer. Raises GivenUpError."""
        return patiently(self.api, "GET", path, params=params).body

    def until(self, path: str, holds: Callable[[dict[str, Any]], Any], what: str, **params: Any) -> dict[str, Any]:
        """Read ``path`` until it is as wanted."""
        found: dict[str, Any] = {}

        def read() -> bool:
            found.clear()
            found.update(self.get(path, **params))
            return bool(holds(found))

        try:
            wait_until(read, what, seconds=PATIENCE_S, every=0.1)
        except TimeoutError as error:
            raise GivenUpError(f"{self.name}: {error}; last: {json.dumps(found, ensure_ascii=False)[:800]}") from error
        return found


def patiently(api: Api, method: str, path: str, **given: Any) -> Answer:
    """Ask until a success comes. Raises GivenUpError for a refusal that asking again does not change, or after too long."""
    found: list[Answer | str] = []

    def ask() -> bool:
        try:
            answer = api.ask(method, path, retry=False, **given)
        except httpx.TransportError as error:
            found[:] = [repr(error)]
            return False
        found[:] = [answer]
        passing = answer.status in (502, 503, 504) or answer.reason in PASSING or answer.body.get("code") == AGAIN
        return answer.fine or not passing

    try:
        wait_until(ask, f"{method} {path}", seconds=PATIENCE_S, every=0.1)
    except TimeoutError as error:
        raise GivenUpError(f"{error}; last: {found}") from error
    if isinstance(found[0], str) or not found[0].fine:
        raise GivenUpError(f"{method} {path} → {found[0]}")
    return found[0]


def repeated(journal: Journal, told_now: Callable[[Acknowledged], frozenset[str]] = lambda _: frozenset()) -> list[str]:
    """Every acknowledged write once more under its key; what was answered differently, or not said to be a repetition.

    ``told_now``: the fields of an answer that may differ.
    """

    def again(line: Acknowledged) -> str:
        found = patiently(line.api, line.method, line.path, key=line.key, **line.given)
        free = told_now(line)
        bodies = [{name: value for name, value in one.body.items() if name not in free} for one in (line.answer, found)]
        said = found.replayed or REPLAYED in free
        if found.status == line.answer.status and bodies[0] == bodies[1] and said:
            return ""
        told = f"{line.method} {line.path}: {line.answer.status} {bodies[0]}\n  became {found.status} {bodies[1]}"
        return told if said else f"{told} and is said to be new"

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [told for told in pool.map(again, journal.lines) if told]


# ------------------------------------------------------------------------------------------------------------------ the town


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

    def run(self, errands: Sequence[Errand], trouble: Callable[["Traffic"], None]) -> None:
        """All errands, some at once, in an order that follows from the seed; returns when they and the trouble are over."""
        print(f"traffic {self.name}: seed {self.seed}")
        self._open()
        chosen = list(errands)
        self.rng.shuffle(chosen)
        with ThreadPoolExecutor(AT_ONCE + 1) as pool:
            troubling = pool.submit(trouble, self)
            tasks = [pool.submit(errand, self, f"{self.name}-{n}") for n, errand in enumerate(chosen)]
            done, _ = wait([troubling, *tasks], return_when=FIRST_EXCEPTION)
            for task in [*tasks, troubling]:
                if task in done and task.exception() is not None:
                    pool.shutdown(cancel_futures=True, wait=False)
            for task in [*tasks, troubling]:
                if not task.cancelled():
                    task.result()

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
            after = merchant.get(f"/v1/shops/{shop.shop_id}/balance")["balance"]
            assert after["deposit"] - before["deposit"] == self.deposits[shop.shop_id]
            assert after["held"] == before["held"], after

    def close(self) -> None:
        """Hang up."""
        self.line.close()


# -------------------------------------------------------------------------------------------------------------------- errands


def completes(traffic: Traffic, name: str) -> None:
    """Two shops in one checkout, shipped and confirmed."""
    buyer = traffic.buyer(name)
    checkout = traffic.bought(buyer, "tea", "shirt")
    for order in checkout["orders"]:
        traffic.ship(order)
        buyer.post(f"/v1/orders/{order['order_id']}:confirm")
    traffic.until_state(buyer, checkout, "completed")
    traffic.took("tea", "shirt")


def never_pays(traffic: Traffic, name: str) -> None:
    """Placed and forgotten."""
    buyer = traffic.buyer(name)
    traffic.unpaid.append((buyer, traffic.place(buyer, "tea")["checkout_id"]))


def changes_mind(traffic: Traffic, name: str) -> None:
    """Paid and cancelled: the money goes back once."""
    buyer = traffic.buyer(name)
    checkout = traffic.bought(buyer, "shirt")
    buyer.post(f"/v1/orders/{checkout['orders'][0]['order_id']}:cancel")
    traffic.until_refunded(buyer, checkout, checkout["amount"])


def pays_twice(traffic: Traffic, name: str) -> None:
    """By QR code and in the app: one of the two goes back."""
    buyer = traffic.buyer(name)
    checkout = traffic.place(buyer, "tea")
    asked = {"checkout_id": checkout["checkout_id"]}
    payments = [buyer.post("/v1/payments", {**asked, "method": how})["payment"] for how in ("native", "jsapi")]
    for payment in payments:
        body = {"outcome": "success", "notify": {"copies": 1}}
        patiently(buyer.api.as_caller(""), "POST", f"{payment['cashier_url']}/pay", body=body)
    traffic.until_state(buyer, checkout, "paid")
    traffic.until_refunded(buyer, checkout, checkout["amount"])
    traffic.took("tea")


def disputes(traffic: Traffic, name: str) -> None:
    """Shipped, claimed, agreed to: part of the money goes back."""
    buyer = traffic.buyer(name)
    checkout = traffic.bought(buyer, "shirt")
    (order,) = checkout["orders"]
    traffic.ship(order)
    body = {"order_id": order["order_id"], "kind": "refund_only", "amount": 1_200, "reason": "少一颗扣子"}
    case_id = buyer.post("/v1/disputes", body)["case"]["case_id"]
    traffic.merchant_of(order["seller"]["shop_id"]).post(f"/v1/disputes/{case_id}:accept")
    buyer.until(f"/v1/disputes/{case_id}", lambda told: told["case"]["state"].startswith("closed"), "the case to close")
    traffic.until_refunded(buyer, checkout, 1_200)
    shown = buyer.until(
        f"/v1/orders/{order['order_id']}", lambda told: not told["order"]["in_dispute"], "no dispute any more"
    )["order"]
    assert shown["refunded"] == 1_200
    traffic.took("shirt")


def broadcasts(traffic: Traffic, name: str) -> None:
    """An account of its own reaches each of its followers once."""
    account = world.official_account(traffic.town.admin.as_caller(traffic.town.admin.token), name)
    merchant = Client(traffic.line.as_caller(account.token), name, traffic.journal)
    quota = merchant.api.as_caller(account.token)
    wait_until(lambda: quota.ask("GET", "/v1/broadcast-quota").fine, "the account to be known", seconds=PATIENCE_S)
    openids = [ids.derived_id("o", name, str(number))[:28] for number in range(60)]
    for first in (0, 30):
        done = merchant.post("/v1/followers:bulkFollow", {"openids": openids[first : first + 30], "source": "import"})
        assert done["followed"] == 30, done
    job = merchant.post("/v1/broadcasts", {"to_all": True, "content": {"text": name}})["broadcast"]
    path = f"/v1/broadcasts/{job['job_id']}"
    found = merchant.until(path, lambda told: told["broadcast"]["state"] == "sent", "the broadcast")["broadcast"]
    assert (found["total_count"], found["sent_count"], found["error_count"]) == (60, 60, 0), found
    reached = merchant.get(f"{path}/deliveries", outcome="sent", page_size=200)["openids"]
    assert sorted(reached) == sorted(openids)


def restocks(traffic: Traffic, name: str) -> None:
    """A deposit and two movements of stock, up and down."""
    merchant, shop = traffic._shops()[0]
    merchant = Client(merchant.api, name, traffic.journal)
    sku = next(sku for sku, (_, _, label, _) in traffic.goods.items() if label == "tea")
    merchant.post(f"/v1/shops/{shop.shop_id}/deposits", {"amount": 700})
    with traffic._lock:
        traffic.deposits[shop.shop_id] += 700
    for number, delta in enumerate((5, -5)):
        item = {"sku_id": sku, "delta": delta, "request_id": f"{name}-{number}"}
        done = merchant.post("/v1/products:bulkUpdateStock", {"items": [item]})
        assert done["results"][0]["ok"], done


def imports(traffic: Traffic, name: str) -> None:
    """A small product file."""
    shop = traffic.town.shops[1]
    merchant = Client(traffic.line.as_caller(shop.token), name, traffic.journal)
    lines = ["Handle,Title,Published,Option1 Name,Option1 Value,Variant Inventory Qty,Variant Price"]
    lines += [f"{name}-{n},杯 {n},true,Title,Default Title,5,9.90" for n in range(20)]
    form = {"format": "shopify-csv", "policy": "reject_failed"}
    files = {"file": ("cups.csv", "\n".join(lines).encode(), "text/csv")}
    import_id = merchant.post("/v1/imports", form=form, files=files)["import_id"]
    done = merchant.until(f"/v1/imports/{import_id}", lambda told: told["state"] == "completed", "the import")
    assert (done["created"], done["failed"]) == (20, 0), done


EVERYTHING = (completes, never_pays, changes_mind, pays_twice, disputes, broadcasts, restocks, imports)
__all__ = ["EVERYTHING", "PATIENCE_S", "GivenUpError", "Town", "Traffic", "UnexpectedAnswer", "patiently"]
