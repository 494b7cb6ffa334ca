"""All services in one process, with a director who decides who acts next: which event arrives where, which person does their next step.

The commands are called directly; events go through the real outboxes, relays and intakes (``once``), jobs are run by hand. What is played
is only the channel, which says yes. With a seed every event is delivered twice and anything may overtake anything; without one all happens
in order and once.
"""

import itertools
import json
import random
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

from services.accounts import model as accounts
from services.catalog.commands import imports
from services.catalog.jobs import JOBS
from services.chassis import bell, clock, commit
from services.chassis.commit import Cause
from services.chassis.jobs import Jobs
from services.chassis.mongo import Client
from services.chassis.once import Result
from services.chassis.presence import Presence
from services.chassis.relay import Outgoing
from services.chassis.settings import SERVICES, Settings
from services.disputes import commands as disputes
from services.disputes.model import Party
from services.orders import commands as orders
from services.orders.model.states import Known
from services.payments import jobs as payment_jobs
from services.payments.store.posting import collected
from tests.contract.audit.house import House

LINGERS = 0.7
HELD_BACK = 1.0
Errand = Iterator[Callable[[], Any] | None]
"""What a person does: between two steps it yields what must be true first (None: nothing)."""
FILE = "Handle,Title,Published,Option1 Name,Option1 Value,Variant Inventory Qty,Variant Price\n" + "".join(
    f"cup-{n},杯 {n},true,Title,Default Title,5,9.90\n" for n in range(3)
)


class StuckError(RuntimeError):
    """Nobody can do anything, and the play is not over."""


class Theatre(House):
    """One installation, emptied between two plays."""

    def __init__(self, client: Client, settings: Settings) -> None:
        super().__init__(client, settings)
        self._errand, self._steps = "", itertools.count(1)
        self.rung: list[str] = []
        self._import_jobs = Jobs("catalog", self.database("catalog"), JOBS, Presence("catalog", "tests", "jobs"))
        bell.on_ring(self._ring)

    # ------------------------------------------------------------------------------------------------------ House's own ways

    def cause(self) -> Cause:
        """Causes are named by the errand and its step, not by the order in which things happen."""
        self._causes += 1  # payments are numbered by it
        name = f"{self._errand}:{next(self._steps)}"
        return Cause(f"cmd:test:{name}", name)

    def settle(self) -> None:
        """The director decides when others act."""

    def publish(self, batch: Sequence[Outgoing]) -> None:
        """The broker takes everything; each copy arrives when it arrives."""
        for one in batch:
            body = json.dumps(one.envelope).encode()
            listeners = [found for found in self._subscriptions if found.handler.event_type == one.envelope["type"]]
            self.pending += [(self._lot(), found, body, self.copies) for found in listeners]

    def _ring(self, name: str) -> None:
        if name not in self.rung:
            self.rung.append(name)

    # ------------------------------------------------------------------------------------------------------------ the play

    def empty(self) -> None:
        """Forget everything: another play begins."""
        for service in (*SERVICES, "jishi"):
            database = self.database(service)
            for name in database.list_collection_names():
                if name != "system.indexes":
                    database[name].delete_many({})
        clock.reset()
        clock.see(clock.open_sandbox(self.database("jishi")))
        self.rung.clear()
        self.goods: dict[str, tuple[str, str]] = {}

    def play(self, errands: "Story", rng: random.Random | None) -> None:
        """All errands to their end, then until nothing is left to do; half an hour later once more."""
        self.rng, self.copies = rng, 2 if rng else 1
        self.pending: list[tuple[float, Any, bytes, int]] = []
        """(lot, subscription, body, copies left): the lowest lot goes first, so that who drew a high one is overtaken by many."""
        self.results: list[Result] = []
        waiting: dict[str, tuple[Errand, Any, Any]] = {
            name: (make(self), None, itertools.count(1)) for name, make in errands.items()
        }
        while waiting:
            self._turn(waiting)
        self._until_over()
        clock.see(clock.offset_ms() + int(timedelta(minutes=32).total_seconds() * 1000))
        self.database("jishi")["clock"].update_one({"_id": "sandbox"}, {"$set": {"offset_ms": clock.offset_ms()}})
        self._until_over()

    def _turn(self, waiting: dict[str, tuple[Errand, Any, Any]]) -> None:
        """One thing happens."""
        if self.rng is None:
            acts = [self._relay, self._deliver, self._work, lambda: self._step(waiting), self._time_passes]
        else:
            acts = [self._relay, self._deliver, lambda: self._step(waiting, 2), self._retry]
            self.rng.shuffle(acts)
            acts += [lambda: self._step(waiting), self._work, lambda: self._deliver(late=True), self._time_passes]
        if not any(act() for act in acts):
            raise StuckError(f"{sorted(waiting)} wait for ever; {self._waiting_rows()}")

    def _until_over(self) -> None:
        while (
            self._relay()
            or self._deliver(late=True)
            or self._fire()
            or self._work()
            or self._sweep_outboxes()
            or self._time_passes()
        ):
            pass

    def _pick(self, choices: list[Any]) -> Any:
        return choices.pop(self.rng.randrange(len(choices)) if self.rng else 0)

    def _relay(self) -> bool:
        """One collection's outboxes go to the broker; mostly a little later, several commits at once."""
        if not self.rung or (self.rng and self.pending and self.rng.random() < LINGERS):
            return False
        database, _, collection = self._pick(self.rung).partition(".")
        self._relays[database.removeprefix(self.settings.db_prefix)].sweep(collection)
        return True

    def _sweep_outboxes(self) -> bool:
        """Everybody's, rung or not."""
        emitting = [
            (name, found.name) for name, worker in self.workers.items() for found in worker.collections if found.emits
        ]
        return sum(self._relays[name].sweep(collection) for name, collection in emitting) > 0

    def _deliver(self, *, late: bool = False) -> bool:
        """One copy of one event arrives at one handler; ``late``: also one that is held back until nobody can do anything else."""
        if not self.pending:
            return False
        chosen = min(range(len(self.pending)), key=lambda number: self.pending[number][0]) if self.rng else 0
        if self.pending[chosen][0] >= HELD_BACK and not late:
            return False
        _, found, body, copies = self.pending.pop(chosen)
        self.results.append(self._intakes[found.service].receive(found.handler.name, body))
        if copies > 1:
            self.pending.append((self._lot(), found, body, copies - 1))
        return True

    def _lot(self) -> float:
        return self.rng.random() * 1.3 if self.rng else 0.0

    def _step(self, waiting: dict[str, tuple[Errand, Any, Any]], most: int = 1000) -> bool:
        """One person does the next step, if what they wait for is there; at most so many are asked."""
        names = list(waiting)
        while names and most:
            most -= 1
            name = self._pick(names)
            errand, ready, steps = waiting[name]
            if ready is not None and not ready():
                continue
            self._errand, self._steps = name, steps
            try:
                waiting[name] = (errand, next(errand), steps)
            except StopIteration:
                del waiting[name]
            return True
        return False

    def _retry(self) -> bool:
        """Those that were early for something that has come are tried again."""
        woken = [intake for intake in self._intakes.values() if intake.wake.is_set()]
        for intake in woken:
            intake.wake.clear()
            intake.sweep()
        return bool(woken)

    def _time_passes(self) -> bool:
        """Whatever waits for its time is tried again."""
        again = False
        for service, intake in self._intakes.items():
            rows = self.database(service)["handled"]
            if rows.find_one({"state": "waiting"}) is None:
                continue
            rows.update_many({"state": "waiting"}, {"$set": {"next_at": clock.wall_ms()}})
            before = rows.count_documents({"state": "waiting"})
            intake.sweep()
            again = again or rows.count_documents({"state": "waiting"}) < before
        return again or self._sweep_outboxes()

    def _fire(self) -> bool:
        return sum(timers.sweep() for timers in self._timers.values()) > 0

    def _work(self) -> bool:
        """What the jobs process does: refunds, folding, questions to the channel, imports."""
        worked = super()._worked() > 0
        for row in self.payments.payables.find({"next_at": {"$gt": 0, "$lt": 1 << 62}}):
            payment_jobs.inquire(self.payments, self.channel, row, lambda: None)
            worked = True
        for job, row in self._import_jobs.claimable():
            lease = self._import_jobs.claim(job, row, lambda: False)
            worked = lease is not None and self._import_jobs.run(job, lease) == "done"
        return worked

    def _waiting_rows(self) -> list[str]:
        return [
            f"{row['_id']} {row.get('error', 'early')}"
            for service in self._intakes
            for row in self.database(service)["handled"].find({"state": {"$ne": "done"}})
        ]

    def untroubled(self) -> None:
        """Nothing failed, waits or was given up on the way."""
        rows = self._waiting_rows()
        failed = [
            row["_id"] for s in self._intakes for row in self.database(s)["handled"].find({"attempts": {"$gt": 0}})
        ]
        assert not rows, rows
        assert not failed, failed

    def close(self) -> None:
        """Hear no bell any more."""
        bell._listeners.remove(self._ring)


# -------------------------------------------------------------------------------------------------------------------- errands


MOVES = {"s1": (("suspend", "抽查"), ("reopen", "")), "s2": (), "s3": ()}


def opens(shop_id: str, account_id: str) -> Callable[[Theatre], Errand]:
    """A shop opens; the first is suspended and opens again: three facts of which the newest must win everywhere."""

    def errand(house: Theatre) -> Errand:
        house.open_shop(shop_id, account_id)
        for verb, reason in MOVES[shop_id]:
            yield None
            rows = house.database("accounts")["shops"]
            commit.change(rows, shop_id, house.cause(), lambda shop, v=verb, r=reason: accounts.step_shop(shop, v, r))

    return errand


def is_known(house: Theatre, shop_id: str) -> bool:
    """Catalog and payments have heard the last of the shop."""
    copy, last = house.catalog.shop(shop_id), 1 + len(MOVES[shop_id])
    if copy is None or copy["sequence"] < last:
        return False
    books = house.payments.shop(shop_id)
    return books is not None and books["told"] == last


GOODS = {"tea": ("s1", 5000), "book": ("s2", 3000), "lamp": ("s3", 8000)}


def sells(house: Theatre) -> Errand:
    """Three products, one a shop, and a product file."""
    for shop_id in ("s1", "s2", "s3"):
        yield lambda shop_id=shop_id: is_known(house, shop_id)
    for name, (shop_id, price) in GOODS.items():
        (house.goods[name],) = house.sell(shop_id, name, (price, 20))
        yield None
    options = imports.Options("s1", "shopify-csv", "reject_failed", 0, dry_run=False, file_name="cups.csv")
    job = imports.create_import(house.catalog, house.cause(), options, iter([FILE.encode()])).document
    yield lambda: house.catalog.imports.find_one({"_id": job["_id"]})["state"] == "completed"


def has_goods(house: Theatre) -> bool:
    """All products are on sale."""
    return len(house.goods) == len(GOODS)


def placed(house: Theatre, buyer: str, *names: str) -> Any:
    """A checkout of one unit of each."""
    return house.place(buyer, *((house.goods[name], 1) for name in names))


def paid(house: Theatre, checkout_id: str) -> Callable[[], bool]:
    """All orders of the checkout are paid."""
    return lambda: all(order["state"] == "paid" for order in house.orders.orders_of(checkout_id))


def refunded(house: Theatre, checkout_id: str, count: int) -> Callable[[], bool]:
    """So many refunds of the checkout are over."""
    over = {"checkout_id": checkout_id, "state": "succeeded"}
    return lambda: house.payments.refunds.count_documents(over) == count


def pays(house: Theatre, checkout_id: str, buyer: str, method: str = "native", times: int = 1) -> None:
    """Paid, and told so many times."""
    success = house.attempt(checkout_id, buyer, method)
    for _ in range(times):
        collected(house.payments, success)


def completes(house: Theatre) -> Errand:
    """Two shops in one checkout, told twice; both ship, one is confirmed."""
    yield lambda: has_goods(house)
    checkout_id, found = placed(house, "b1", "tea", "book")
    yield None
    pays(house, checkout_id, "b1", times=2)
    yield paid(house, checkout_id)
    for order in found:
        house.ship(order["_id"], order["shop_id"])
        yield None
    tea = next(order for order in found if order["shop_id"] == "s1")
    orders.confirm(house.orders, house.cause(), Known("buyer", "b1"), tea["_id"])


def pays_twice(house: Theatre) -> Errand:
    """By code and in the app."""
    yield lambda: has_goods(house)
    checkout_id, _ = placed(house, "b2", "tea")
    successes = [house.attempt(checkout_id, "b2", method) for method in ("native", "jsapi")]
    for success in successes:
        yield None
        collected(house.payments, success)
    yield refunded(house, checkout_id, 1)


def one_closed_before(house: Theatre) -> Errand:
    """Of two orders one is cancelled before the payment comes: its share goes back."""
    yield lambda: has_goods(house)
    checkout_id, found = placed(house, "b3", "tea", "book")
    success = house.attempt(checkout_id, "b3")
    book = next(order for order in found if order["shop_id"] == "s2")
    house.cancel(book)
    yield None
    collected(house.payments, success)
    yield refunded(house, checkout_id, 1)


def cancelled_after(house: Theatre) -> Errand:
    """Paid, then cancelled at once: catalog and payments hear of both in any order."""
    yield lambda: has_goods(house)
    checkout_id, found = placed(house, "b4", "book")
    pays(house, checkout_id, "b4")
    yield paid(house, checkout_id)
    house.cancel(found[0])
    yield refunded(house, checkout_id, 1)


def paid_late(house: Theatre) -> Errand:
    """The money comes when payments knows that the order is closed."""
    yield lambda: has_goods(house)
    checkout_id, found = placed(house, "b5", "tea")
    success = house.attempt(checkout_id, "b5")
    house.cancel(found[0])
    yield lambda: house.payments.payable(checkout_id)["state"] == "closed"
    collected(house.payments, success)
    yield refunded(house, checkout_id, 1)


def disputed_before(house: Theatre) -> Errand:
    """A case while the money is in escrow."""
    yield lambda: has_goods(house)
    checkout_id, found = placed(house, "b6", "book")
    pays(house, checkout_id, "b6")
    yield paid(house, checkout_id)
    house.ship(found[0]["_id"], "s2")
    yield None
    yield from claims(house, found[0], "b6", 1200)


def disputed_after(house: Theatre) -> Errand:
    """A case when the money is the shop's: from its hold."""
    yield lambda: has_goods(house)
    checkout_id, found = placed(house, "b7", "lamp")
    pays(house, checkout_id, "b7")
    yield paid(house, checkout_id)
    house.deposit("s3", 3000)
    house.ship(found[0]["_id"], "s3")
    orders.confirm(house.orders, house.cause(), Known("buyer", "b7"), found[0]["_id"])
    yield lambda: house.payments.payable(checkout_id)["shares"][0]["state"] == "settled"
    yield from claims(house, found[0], "b7", 8000)


def claims(house: Theatre, order: Any, buyer: str, amount: int) -> Errand:
    """The merchant agrees."""
    asked = {"order_id": order["_id"], "kind": "refund_only", "amount": amount, "reason": "坏了"}
    case = disputes.open_case(house.disputes, house, house.cause(), Party("buyer", buyer, buyer), asked).document
    yield None
    shop_id = order["shop_id"]
    disputes.accept(house.disputes, house.cause(), Party("merchant", shop_id, shop_id), case["_id"])
    yield lambda: house.disputes.case(case["_id"])["state"].startswith("closed")


def never_pays(house: Theatre) -> Errand:
    """Closed by its timer half an hour later."""
    yield lambda: has_goods(house)
    placed(house, "b8", "tea")


def broadcasts(house: Theatre) -> Errand:
    """One chunk to thirty followers."""
    yield lambda: house.database("broadcast")["accounts"].find_one({"_id": "a1"})
    house.follow("a1", 30)
    yield None
    house.send("a1")


def dismissed(house: Theatre) -> Errand:
    """A member of the staff goes: every service hears that their tokens are dead."""
    yield None
    rows, now = house.database("accounts")["staff"], clock.wall()
    commit.create(rows, {"_id": "staff_1", "role": "auditor", "name": "海瑞", "active": True}, house.cause())
    until = now + timedelta(days=1)
    commit.change(rows, "staff_1", house.cause(), lambda member: accounts.dismiss(member, now, until))


Story = dict[str, Callable[[Theatre], Errand]]
BEGINNING: Story = {**{f"opens{n}": opens(f"s{n}", f"a{n}") for n in (1, 2, 3)}, "sells": sells}
STORIES: tuple[Story, Story] = (
    {
        **BEGINNING,
        "completes": completes,
        "one_closed_before": one_closed_before,
        "disputed_after": disputed_after,
        "broadcasts": broadcasts,
        "never_pays": never_pays,
    },
    {
        **BEGINNING,
        "pays_twice": pays_twice,
        "cancelled_after": cancelled_after,
        "paid_late": paid_late,
        "disputed_before": disputed_before,
        "dismissed": dismissed,
    },
)
"""Two, so that a play is short: a seed plays one of them."""
