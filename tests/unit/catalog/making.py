"""Products, shops and a catalog on a real database, for the tests beside it."""

from datetime import timedelta

from pymongo import MongoClient
from pymongo.monitoring import CommandListener

from services.catalog.commands import imports, products, reservations
from services.catalog.jobs.imports import run
from services.catalog.queries import imports as import_queries
from services.catalog.reactions import HANDLERS, TIMERS
from services.catalog.store import COLLECTIONS, Store
from services.catalog.store.fresh import Fresh
from services.chassis import clock, mongo
from services.chassis import events as envelopes
from services.chassis.commit import Cause
from services.chassis.decisions import Fact
from services.chassis.jobs import Jobs
from services.chassis.once import Attempt, Intake
from services.chassis.presence import Presence
from services.chassis.reacting import Job
from services.chassis.timers import Timers

SHOP, OTHER = "shop_1", "shop_2"


def sku(*values, **more):
    return {
        "values": list(values),
        "price": 1000,
        "original_price": 0,
        "merchant_sku": "",
        "barcode": "",
        "image": "",
        "weight_g": 100,
        "volume_cm3": 0,
        "quantity": 10,
        **more,
    }


def product(external_id="p1", **more):
    """A product as bulkUpsert sends it."""
    return {
        "external_id": external_id,
        "name": f"商品 {external_id}",
        "category_id": 0,
        "images": ["https://img.example.com/1.jpg"],
        "detail": [{"text": "好", "image": ""}],
        "properties": [],
        "axes": ["颜色"],
        "skus": [sku("红"), sku("蓝", price=2000)],
        "buy_limit": 0,
        "listed": True,
        **more,
    }


class Counter(CommandListener):
    """What a client sends, from when it is told to listen."""

    def __init__(self):
        self.names, self.filters = [], []

    def started(self, event):
        self.names.append(event.command_name)
        self.filters.append(event.command.get("filter", {}))

    def bounds(self, ask):
        """The operators that the question ``ask`` puts on the position."""
        self.filters.clear()
        ask()
        (asked,) = self.filters
        return set(asked["position"])

    def succeeded(self, event):
        pass

    def failed(self, event):
        pass


class House:
    """The catalog of one world, called as its server, its worker and its jobs process would."""

    def __init__(self, world):
        self.counter = Counter()
        self.client = MongoClient(world.settings.mongo_uri, tz_aware=True, event_listeners=[self.counter])
        self.database = mongo.database(self.client, world.settings, "catalog")
        mongo.declare(self.database, COLLECTIONS)
        self.store = Store(self.database)
        presence = Presence("catalog", "test", "worker")
        self.intake = Intake("catalog", self.database, HANDLERS, presence)
        self.timers = Timers("catalog", self.database, TIMERS, presence)
        self.jobs = Jobs("catalog", self.database, (Job("imports", "import", run),), presence)
        self.desk = reservations.Desk(self.store, Fresh(0.0))
        self.number = 0
        for shop_id in (SHOP, OTHER):
            self.open_shop(shop_id)

    def open_shop(self, shop_id, state="open", currency="CNY"):
        self.number += 1
        identity = {"name": "某公司", "registration_number": "1", "address": "x", "contact": "y"}
        shop = {
            "shop_id": shop_id,
            "account_id": f"a_{shop_id}",
            "name": "店",
            "state": state,
            "currency": currency,
            "identity": identity,
        }
        return self.hear("jishi.accounts.shop.changed.v1", shop, subject=shop_id)

    def cause(self, key=None, body="b"):
        self.number += 1
        return Cause(f"cmd:{key or self.number}", body)

    def upsert(self, *items, key=None, policy="reject_failed", max_errors=0, shop=SHOP, body="b"):
        return products.bulk_upsert(self.store, self.cause(key, body), shop, list(items), policy, max_errors)

    def restock(self, *deltas, key=None, shop=SHOP):
        items = [products.Delta(*delta) for delta in deltas]
        return products.bulk_update_stock(self.store, self.cause(key), shop, items).answer

    def queue(
        self, content, *, name="shopify-csv", policy="reject_failed", max_errors=0, dry_run=False, key=None, shop=SHOP
    ):
        options = imports.Options(shop, name, policy, max_errors, dry_run, "f.csv")
        content = content.encode() if isinstance(content, str) else content
        pieces = iter([content[i : i + 5000] for i in range(0, len(content), 5000)])
        return imports.create_import(self.store, self.cause(key), options, pieces)

    def work(self, import_id, give_up=lambda: False):
        """One lease of the jobs process on the import."""
        row = self.store.imports.find_one({"_id": import_id})
        job = Job("imports", "import", run)
        lease = self.jobs.claim(job, row, give_up)
        return self.jobs.run(job, lease)

    def do_import(self, content, **how):
        queued = self.queue(content, **how)
        self.work(queued.document["_id"])
        return import_queries.job(self.store, how.get("shop", SHOP), queued.document["_id"])

    def product(self, external_id="p1", shop=SHOP):
        return self.store.products.find_one({"external_key": f"{shop}/{external_id}"})

    def stock(self, external_id="p1"):
        """What there is of each SKU of the product, in its order."""
        row = self.product(external_id)
        found = self.store.stock_of([row["_id"]])
        return [(found[sku["sku_id"]]["on_hand"], found[sku["sku_id"]]["reserved"]) for sku in row["listing"]["skus"]]

    def line(self, quantity=1, external_id="p1", number=0):
        row = self.product(external_id)
        return {"product_id": row["_id"], "sku_id": row["listing"]["skus"][number]["sku_id"], "quantity": quantity}

    def reserve(self, *lines, checkout="c1", buyer="b1"):
        pay_by = clock.business() + timedelta(minutes=30)
        return reservations.reserve(self.desk, self.cause(), checkout, buyer, pay_by, list(lines))

    def hear(self, event_type, data, *, subject="x", number=None):
        """Deliver an event as its service would send it."""
        self.number += 1
        fact = Fact(event_type, data)
        sequence = number or self.number
        entity = f"elsewhere:{event_type}:{sequence}"
        envelope = envelopes.pack(fact, entity=entity, subject=subject, sequence=sequence, causation="", traceparent="")
        return self.deliver(envelope)

    def deliver(self, envelope):
        name = next(handler.name for handler in HANDLERS if handler.event_type == envelope["type"])
        return self.intake.deliver(Attempt(self.intake.handlers[name], envelope, envelopes.unpack(envelope)))

    def paid(self, *lines, checkout="c1", order="o1", shop=SHOP, number=None):
        data = {"order_id": order, "checkout_id": checkout, "shop_id": shop, "buyer_id": "b1", "lines": list(lines)}
        return self.hear("jishi.orders.order.paid.v1", data, number=number)

    def closed(self, *lines, checkout="c1", order="o1", shop=SHOP, was_paid=False, number=None):
        data = {
            "order_id": order,
            "checkout_id": checkout,
            "shop_id": shop,
            "was_paid": was_paid,
            "reason": "x",
            "lines": list(lines),
        }
        return self.hear("jishi.orders.order.closed.v1", data, number=number)

    def told(self, collection="chunks"):
        """The events that wait to be sent."""
        return [event for row in self.database[collection].find({}) for event in row.get("outbox", ())]

    def later(self, **span):
        """Move the business clock on and run the timers that are due."""
        clock.see(clock.offset_ms() + int(timedelta(**span).total_seconds() * 1000))
        return self.timers.sweep()

    def sound(self):
        """initial + Σ movements = on_hand; Σ held lines = reserved; available = on_hand − reserved ≥ 0, for every SKU."""
        moved, held = {}, {}
        rows = [
            *(found for row in self.store.movements.find({}) for found in row.get("movements", (row,))),
            *(found for chunk in self.store.chunks.find({}) for found in chunk["movements"]),
        ]
        for row in rows:
            moved[row["sku_id"]] = moved.get(row["sku_id"], 0) + row["delta"]
        for reservation in self.store.reservations.find({}):
            for line in reservation["lines"]:
                if reservation["parts"].get(line["shop_id"]) == "held":
                    held[line["sku_id"]] = held.get(line["sku_id"], 0) + line["quantity"]
        for row in self.store.stock.find({}):
            identity = row["_id"]
            assert row["initial"] + moved.get(identity, 0) == row["on_hand"], identity
            assert held.get(identity, 0) == row["reserved"], identity
            assert row["available"] == row["on_hand"] - row["reserved"] >= 0, identity
        return True
