"""Products, shops and a catalog on a real database, for the tests beside it."""

from datetime import timedelta

from pymongo import MongoClient
from pymongo.monitoring import CommandListener

from services.catalog.commands import bulk, exports, imports, products, reservations
from services.catalog.jobs import JOBS
from services.catalog.jobs.imports import run
from services.catalog.model.bulk import SkuRef
from services.catalog.model.names import names_of, product_name
from services.catalog.model.restock import StockItem
from services.catalog.queries import exports as export_queries
from services.catalog.queries import imports as import_queries
from services.catalog.reactions import HANDLERS, TIMERS
from services.catalog.store import COLLECTIONS, Store
from services.chassis import clock, mongo
from services.chassis import events as envelopes
from services.chassis.commit import Cause
from services.chassis.decisions import Fact
from services.chassis.fresh import Fresh
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
        self.names, self.filters, self.finds = [], [], []

    def started(self, event):
        self.names.append(event.command_name)
        if event.command_name == "find":
            self.finds.append((event.command["find"], dict(event.command["filter"])))
        self.filters.append(event.command.get("filter", {}))

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
        self.jobs = Jobs("catalog", self.database, JOBS, presence)
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

    def bulk(self, *, key=None, policy="", max_errors=0, shop=SHOP, body="b"):
        """A bulk call about to be made."""
        return bulk.Bulk(self.store, self.cause(key, body), shop, policy, max_errors)

    def restock(self, *deltas, key=None, shop=SHOP):
        """Deltas as (sku_id, delta, request_id): {ok, replayed, reason} for each."""
        items = [StockItem(SkuRef(sku_id), request_id, delta) for sku_id, delta, request_id in deltas]
        rows = bulk.update_stock(self.bulk(key=key, shop=shop), items).answer["results"]
        reasons = [next((problem["reason"] for problem in row.get("problems", ())), "") for row in rows]
        return [
            {"ok": not reason, "replayed": row.get("replayed", False), "reason": reason}
            for row, reason in zip(rows, reasons, strict=True)
        ]

    def queue(
        self,
        content,
        *,
        name="shopify-csv",
        policy="reject_failed",
        max_errors=0,
        dry_run=False,
        key=None,
        shop=SHOP,
        file_name="f.csv",
        fetch_images=False,
    ):
        options = imports.Options(shop, name, policy, max_errors, dry_run, file_name, fetch_images)
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

    def finish(self, import_id, shop=SHOP):
        """Run the job to its end."""
        self.work(import_id)
        return import_queries.job(self.store, shop, import_id)

    def retry(self, import_id, key=None):
        return self.finish(imports.retry_import(self.store, self.cause(key), SHOP, import_id).document["_id"])

    def undo_job(self, import_id, key=None):
        return imports.undo_import(self.store, self.cause(key), SHOP, import_id).document["_id"]

    def undo(self, import_id, key=None):
        return self.finish(self.undo_job(import_id, key))

    def queue_export(self, name, state="", shop=SHOP):
        return exports.create_export(self.store, self.cause(), shop, name, state).document["_id"]

    def export(self, name, state="", shop=SHOP):
        """The bytes of an export, and the job."""
        export_id = self.queue_export(name, state, shop)
        job = next(found for found in JOBS if found.collection == "exports")
        lease = self.jobs.claim(job, self.store.exports.find_one({"_id": export_id}), lambda: False)
        assert self.jobs.run(job, lease) == "done"
        return self.fetched(export_id, shop)

    def fetched(self, export_id, shop=SHOP):
        """The bytes of an export that is done, and the job."""
        told = export_queries.job(self.store, shop, export_id)
        pieces, place = [], 0
        while told["state"] == "completed" and place is not None:
            data, place, _ = export_queries.piece(self.store, shop, export_id, place)
            pieces.append(data)
        return b"".join(pieces), told

    def results(self, import_id, outcome=""):
        return import_queries.results(self.store, SHOP, import_id, outcome, None, 1000)[0]

    def product(self, external_id="p1", shop=SHOP):
        found = self.store.named([product_name(shop, external_id)])
        return next((self.store.products.find_one({"_id": row["product_id"]}) for row in found.values()), None)

    def stock(self, external_id="p1"):
        """What there is of each SKU of the product, in its order."""
        row = self.product(external_id)
        found = self.store.stock_of([row])
        return [(found[sku["sku_id"]]["on_hand"], found[sku["sku_id"]]["reserved"]) for sku in row["listing"]["skus"]]

    def line(self, quantity=1, external_id="p1", number=0):
        row = self.product(external_id)
        return {"product_id": row["_id"], "sku_id": row["listing"]["skus"][number]["sku_id"], "quantity": quantity}

    def reserve(self, *lines, checkout="c1", buyer="b1", carriage=reservations.UNKNOWN):
        pay_by = clock.business() + timedelta(minutes=30)
        return reservations.reserve(self.desk, self.cause(), checkout, buyer, pay_by, list(lines), carriage)

    def move(self, product_id, state, shop=SHOP):
        """上架, 下架."""
        act = {"listed": products.put_on_sale, "delisted": products.take_off_sale}[state]
        return act(self.store, self.cause(), shop, product_id)

    def reprice(self, external_id, price):
        """A new price of the product's first SKU."""
        sku_id = self.product(external_id)["listing"]["skus"][0]["sku_id"]
        return bulk.update_prices(self.bulk(), [bulk.Price(SkuRef(sku_id), price)])

    def hear(self, event_type, data, *, subject="x", number=None, handler=""):
        """Deliver an event as its service would send it."""
        self.number += 1
        fact = Fact(event_type, data)
        sequence = number or self.number
        entity = f"elsewhere:{event_type}:{sequence}"
        envelope = envelopes.pack(fact, entity=entity, subject=subject, sequence=sequence, causation="", traceparent="")
        return self.deliver(envelope, handler)

    def deliver(self, envelope, name=""):
        """To the handler of this name, or the first of the event's type."""
        name = name or next(handler.name for handler in HANDLERS if handler.event_type == envelope["type"])
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

    def returned(self, *lines, return_id="rf-o1-m1", checkout="c1", order="o1", shop=SHOP, number=None):
        data = {"order_id": order, "checkout_id": checkout, "shop_id": shop, "return_id": return_id}
        return self.hear("jishi.orders.order.goods_returned.v1", {**data, "lines": list(lines)}, number=number)

    def told(self, collection="chunks"):
        """The events that wait to be sent."""
        return [event for row in self.database[collection].find({}) for event in row.get("outbox", ())]

    def later(self, **span):
        """Move the business clock on and run the timers that are due."""
        clock.see(clock.offset_ms() + int(timedelta(**span).total_seconds() * 1000))
        return self.timers.sweep()

    def sound(self):
        """initial + Σ movements = on_hand; Σ held lines = reserved; available = on_hand − reserved ≥ 0, for every SKU; what a window has sold likewise."""
        moved, held, taken = {}, {}, {}
        rows = [
            *(found for row in self.store.movements.find({}) for found in row.get("movements", (row,))),
            *(found for chunk in self.store.chunks.find({}) for found in chunk["movements"]),
        ]
        for row in rows:
            moved[row["sku_id"]] = moved.get(row["sku_id"], 0) + row["delta"]
        for reservation in self.store.reservations.find({}):
            for line in reservation["lines"]:
                part, kind = reservation["parts"].get(line["shop_id"]), line.get("window", {}).get("kind")
                back = reservation.get("back", {}).get(line["sku_id"], 0)
                if part == "held" and kind != "presale":
                    held[line["sku_id"]] = held.get(line["sku_id"], 0) + line["quantity"]
                if kind and part in ("held", "sold", "returned"):
                    unit = f"{line['window_id']}:{line['sku_id']}"
                    taken[unit] = taken.get(unit, 0) + line["quantity"] - back
        for row in self.store.stock.find({}):
            identity = row["_id"]
            assert row["initial"] + moved.get(identity, 0) == row["on_hand"], identity
            assert held.get(identity, 0) == row["reserved"], identity
            assert row["available"] == row["on_hand"] - row["reserved"] >= 0, identity
        for row in self.store.window_units.find({}):
            assert taken.get(row["_id"], 0) == row["taken"] == row["quantity"] - row["left"], row
            assert row["left"] >= 0, row
        named = (names_of(product) for product in self.store.products.find({}))
        assert {row["_id"]: row for row in self.store.names.find({})} == {
            name: row for names in named for name, row in names.items()
        }, "each product is found by its names, and no name finds anything else"
        return True
