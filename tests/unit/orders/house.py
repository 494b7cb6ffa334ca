"""The orders service without its doors: its commands, reactions and timers on a real database; catalog and accounts played by hand."""

import threading
from datetime import timedelta

from pymongo import MongoClient
from pymongo.monitoring import CommandListener

from services.chassis import clock, mongo
from services.chassis import events as envelopes
from services.chassis.commit import Cause
from services.chassis.decisions import Fact
from services.chassis.errors import Refusal
from services.chassis.once import Attempt, Intake
from services.chassis.presence import Presence
from services.chassis.timers import Timers
from services.orders import commands
from services.orders.reactions import HANDLERS, TIMERS
from services.orders.store import COLLECTIONS, Store
from tests.backends.letters import promised
from tests.unit.orders import making

OURS = ("insert", "update", "find", "bulkWrite", "commitTransaction", "aggregate", "delete", "findAndModify", "getMore")


class Counter(CommandListener):
    """What a client sends, from when it is told to listen."""

    def __init__(self):
        self.names = []

    def started(self, event):
        if event.command_name in OURS:
            self.names.append(event.command_name)

    def succeeded(self, event):
        pass

    def failed(self, event):
        pass


class Catalog:
    """Stock in a dictionary: reserves all lines of a checkout or none, idempotent by its id."""

    def __init__(self, *lines, stock=10**6):
        self.lines = lines or (making.reserved(), making.reserved(sku="s2", price=100, freight=0))
        self.stock, self.held, self.calls = stock, {}, 0
        self.failing = []

    def reserve(self, placing):
        self.calls += 1
        if self.failing:
            raise self.failing.pop(0)
        if placing["_id"] not in self.held:
            wanted = sum(line["quantity"] for line in self.lines)
            if wanted > self.stock:
                raise Refusal("OUT_OF_STOCK", "lines[0]: only 0 left", info={"line": "0"})
            self.stock -= wanted
            self.held[placing["_id"]] = wanted
        return self.lines


class Accounts:
    """Every shop is open unless said otherwise."""

    def __init__(self, state="open"):
        self.state, self.failing, self.meanwhile = state, [], None

    def describe(self, _buyer_id, shop_ids):
        if self.meanwhile:
            self.meanwhile()
        if self.failing:
            raise self.failing.pop(0)
        shops = {shop_id: making.shop(shop_id, self.state) for shop_id in shop_ids}
        return shops, {each["account_id"]: "o" + each["account_id"] for each in shops.values()}


class House:
    """The orders service of one world, called as its server and its worker would."""

    def __init__(self, settings):
        self.counter = Counter()
        self.client = MongoClient(settings.mongo_uri, tz_aware=True, event_listeners=[self.counter])
        self.database = mongo.database(self.client, settings, "orders")
        mongo.declare(self.database, COLLECTIONS)
        self.store = Store(self.database)
        presence = Presence("orders", "test", "worker")
        self.intake = Intake("orders", self.database, HANDLERS, presence)
        self.timers = Timers("orders", self.database, TIMERS, presence)

    def close(self):
        """Hang up, and forget how far the clock was moved."""
        self.client.close()
        clock.reset()

    def place(self, key="k1", catalog=None, accounts=None, body="b", **changed):
        cause = Cause(f"cmd:{key}", body)
        return commands.place(
            self.store, catalog or Catalog(), accounts or Accounts(), cause, making.BUYER, making.asked(**changed)
        )

    def hear(self, event_type, data, number=1):
        """Deliver an event as its service would send it."""
        entity = f"elsewhere:{event_type}:{number}"
        fact = Fact(event_type, data)
        envelope = envelopes.pack(fact, entity=entity, subject="x", sequence=number, causation="", traceparent="")
        name = next(handler.name for handler in HANDLERS if handler.event_type == event_type)
        attempt = Attempt(self.intake.handlers[name], envelope, envelopes.unpack(envelope))
        return self.intake.deliver(attempt)

    def pay(self, placed, payment_id="pay_1", number=1):
        shares = placed.checkout["shares"]
        data = {
            "checkout_id": placed.checkout["_id"],
            "payment_id": payment_id,
            "transaction_id": "42",
            "amount": sum(share["amount"] for share in shares),
            "shares": shares,
            "paid_at": clock.business(),
        }
        return self.hear("jishi.payments.payment.succeeded.v1", data, number)

    def order(self, placed, position=0):
        return self.store.order(placed.checkout["shares"][position]["order_id"])

    def checkouts(self):
        """All that came to an end, with or without orders."""
        rows = self.store.checkouts.rows.find({})
        return [row if "state" in row else each for row in rows for each in row["checkouts"]]

    def told(self, document):
        """The events a document promised, by their last words."""
        return [event["type"].split(".")[-2] for event in self.events(document)]

    def events(self, document):
        """The events a document promised."""
        return promised(self.store.database, document)

    def later(self, **span):
        """Move the business clock on and run the timers that are due; answers how many did something.

        The note that a checkout was being placed does, when it gives the checkout up.
        """
        clock.see(clock.offset_ms() + int(timedelta(**span).total_seconds() * 1000))
        noted, given_up = self._notes()
        fired = self.timers.sweep()
        left, more = self._notes()
        return fired - (noted - left) + (more - given_up)

    def _notes(self):
        waiting = self.store.database["placings"].count_documents({"due_at": {"$exists": True}})
        return waiting, sum(found["state"] == "abandoned" for found in self.checkouts())

    def at_once(self, *calls):
        """Make the calls at the same time; returns when all have ended."""
        barrier = threading.Barrier(len(calls), timeout=20)
        threads = [threading.Thread(target=lambda call=call: (barrier.wait(), call())) for call in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def two_shops():
    """A catalog whose lines are of two shops."""
    return Catalog(making.reserved(), making.reserved(sku="s2", shop="shop_2", price=700))
