"""All services in one process and in one thread: their commands called directly, their events carried by the real relay and intake.

Only the payment channel is played: it says yes. What it makes are the documents that the real stack makes.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from jishi.catalog.v1 import products_pb2

from services.accounts import model as accounts
from services.broadcast.commands import following, sending
from services.broadcast.store import Store as BroadcastStore
from services.catalog.commands import bulk, products, reservations, windows
from services.catalog.model.bulk import SkuRef
from services.catalog.model.restock import StockItem
from services.catalog.store import Store as CatalogStore
from services.chassis import clock, codec, commit, mongo, subscriptions
from services.chassis.codes import Codes
from services.chassis.commit import Cause
from services.chassis.fresh import Fresh
from services.chassis.jobs import Jobs
from services.chassis.mongo import Client, Document
from services.chassis.once import Intake
from services.chassis.presence import Presence
from services.chassis.relay import Outgoing, Relay
from services.chassis.settings import Settings
from services.chassis.timers import Timers
from services.disputes import commands as disputes
from services.disputes.model import Party
from services.disputes.store import Store as DisputesStore
from services.orders import commands as orders
from services.orders import queries
from services.orders.commands.pricing import change_price
from services.orders.commands.refunding import refund_line
from services.orders.commands.vouchers import redeem
from services.orders.model.states import Known
from services.orders.model.vouchers import text
from services.orders.store import Store as OrdersStore
from services.payments import commands as payments
from services.payments import jobs
from services.payments.commands.withdrawals import request_withdrawal
from services.payments.jobs import sealing
from services.payments.jobs.withdrawals import send_withdrawal
from services.payments.model.payable import Success
from services.payments.store import Store as PaymentsStore
from services.payments.store.posting import collected
from tests.backends.deposits import paid_in

ADDRESS = {
    "receiver_name": "王芳",
    "province": "浙江省",
    "city": "杭州市",
    "zone": "西湖区",
    "address": "文三路 1 号",
    "mobile": "13800000000",
}
SERVICE = Known("service")


def openid(number: int, name: str = "o") -> str:
    """A made-up openid of the right shape."""
    return f"o{name}-{number}".ljust(28, "x")


class Channel:
    """The channel of an installation where nothing goes wrong."""

    def place(self, trade: Any) -> dict[str, str]:
        return {"code_url": f"https://pay/{trade.out_trade_no}", "cashier_url": f"https://pay/{trade.out_trade_no}"}

    bank_says = "SUCCESS"

    def refund(self, _row: Mapping[str, Any]) -> dict[str, Any]:
        return {"status": "SUCCESS"}

    def pay_out(self, _row: Mapping[str, Any]) -> dict[str, Any]:
        return {"state": self.bank_says}


class House:
    """One installation. Names of commands are short because tests tell stories with them."""

    def __init__(self, client: Client, settings: Settings) -> None:
        self.client, self.settings, self.channel, self._causes = client, settings, Channel(), 0
        self.workers = {worker.service: worker for worker in subscriptions.workers()}
        for worker in self.workers.values():
            mongo.declare(self.database(worker.service), worker.collections)
        clock.see(clock.open_sandbox(self.database("jishi")))
        self.catalog, self.orders = CatalogStore(self.database("catalog")), OrdersStore(self.database("orders"))
        self.payments, self.disputes = (
            PaymentsStore(self.database("payments")),
            DisputesStore(self.database("disputes")),
        )
        self.broadcast = BroadcastStore(self.database("broadcast"))
        self._desk = reservations.Desk(self.catalog, Fresh(0.0))
        presences = {name: Presence(name, "tests", "worker") for name in self.workers}
        self._intakes = {
            name: Intake(name, self.database(name), worker.handlers, presences[name])
            for name, worker in self.workers.items()
        }
        self._relays = {
            name: Relay(self.database(name), [], self, presences[name]) for name, worker in self.workers.items()
        }
        self._timers = {
            name: Timers(name, self.database(name), worker.timers, presences[name])
            for name, worker in self.workers.items()
        }
        self._subscriptions = subscriptions.table(self.workers.values())

    def database(self, service: str) -> mongo.Database:
        return mongo.database(self.client, self.settings, service)

    def seal(self) -> None:
        """What the jobs process does with the journal every few seconds."""
        Jobs("payments", self.database("payments"), jobs.JOBS, Presence("payments", "tests", "jobs")).stand()
        sealing.seal_all(self.payments, lambda: None)
        self.payments.sealing.update_many({}, {"$set": {"next_at": 1 << 50}})

    def cause(self) -> Cause:
        self._causes += 1
        return Cause(f"cmd:test:{self._causes}", f"h{self._causes}")

    # ------------------------------------------------------------------------------------------------------------- facts, time

    def publish(self, batch: Sequence[Outgoing]) -> None:
        """The broker: everybody who listens gets it at once."""
        for one in batch:
            body = json.dumps(one.envelope).encode()
            for found in self._subscriptions:
                if found.handler.event_type == one.envelope["type"]:
                    self._intakes[found.service].receive(found.handler.name, body)

    def settle(self) -> None:
        """Until nothing is left to do: events, retries, timers that are due, refunds and credits."""
        while sum((self._relayed(), self._fired(), self._worked())):
            pass

    def _relayed(self) -> int:
        sent = 0
        for name, worker in self.workers.items():
            for collection in worker.collections:
                sent += self._relays[name].sweep(collection.name) if collection.emits else 0
            self._intakes[name].sweep()
        return sent

    def _fired(self) -> int:
        return sum(timers.sweep() for timers in self._timers.values())

    def _worked(self) -> int:
        waiting = {"next_at": {"$gt": 0, "$lt": 1 << 62}}
        refunds = list(self.payments.refunds.find(waiting))
        for row in refunds:
            jobs.post_refund(self.payments, self.channel, row)
        for row in self.payments.credits.find(waiting):
            jobs.fold_all(self.payments, row["shop_id"], lambda: None)
        return len(refunds)

    # ---------------------------------------------------------------------------------------------------------------- merchants

    def open_shop(self, shop_id: str, account_id: str, kind: str = "service") -> None:
        account = {"_id": account_id, "kind": kind, "name": account_id, "verified": True, "payment_enabled": True}
        account |= {"warmed_up": True, "appid": f"wx{account_id}", "secrets": []}
        rows = self.database("accounts")
        commit.create(rows["official_accounts"], account, self.cause(), facts=(accounts.account_changed(account),))
        identity = {"name": "某公司", "registration_number": "91330100", "address": "杭州", "contact": "0571"}
        shop = {
            "_id": shop_id,
            "account_id": account_id,
            "name": shop_id,
            "state": "open",
            "currency": "CNY",
            "identity": identity,
        }
        commit.create(rows["shops"], shop, self.cause(), facts=(accounts.shop_changed(shop),))
        self.settle()

    def sell(
        self, shop_id: str, external_id: str, *skus: tuple[int, int], buy_limit: int = 0, fulfilment: str = ""
    ) -> list[tuple[str, str]]:
        """Put a product on sale: (price, quantity) a SKU; answers (product, sku) ids."""
        wanted = [
            {"values": [str(n)], "price": price, "quantity": quantity} for n, (price, quantity) in enumerate(skus)
        ]
        values = {"external_id": external_id, "name": external_id, "axes": ["款式"], "skus": wanted, "listed": True}
        item = codec.to_plain(
            codec.from_plain(products_pb2.ProductInput, {**values, "buy_limit": buy_limit, "fulfilment": fulfilment})
        )
        outcome = products.bulk_upsert(self.catalog, self.cause(), shop_id, [item], "", 0)
        assert not outcome.document["failed"], outcome.document["results"]
        product_id = outcome.document["results"][0]["product_id"]
        product = self.catalog.products.find_one({"_id": product_id})
        return [(product_id, sku["sku_id"]) for sku in product["listing"]["skus"]]

    def cheapen(self, shop_id: str, sku: tuple[str, str], price: int, quantity: int) -> None:
        """A flash sale for an hour."""
        ends_at = clock.business() + timedelta(hours=1)
        items = [{"sku_id": sku[1], "price": price, "quantity": quantity}]
        said = {
            "kind": "flash",
            "starts_at": None,
            "ends_at": ends_at,
            "buyer_limit": 0,
            "ship_by": None,
            "items": items,
        }
        windows.open_window(self.catalog, self.cause(), shop_id, sku[0], said)

    def presell(self, shop_id: str, sku: tuple[str, str], quantity: int, days: int) -> None:
        """A presale for an hour that promises to ship in so many days."""
        now = clock.business()
        items = [{"sku_id": sku[1], "price": 900, "quantity": quantity}]
        said = {"kind": "presale", "starts_at": None, "ends_at": now + timedelta(hours=1), "buyer_limit": 0}
        said |= {"ship_by": now + timedelta(days=days), "items": items}
        windows.open_window(self.catalog, self.cause(), shop_id, sku[0], said)

    def restock(self, shop_id: str, sku_id: str, delta: int) -> None:
        call = bulk.Bulk(self.catalog, self.cause(), shop_id)
        bulk.update_stock(call, [StockItem(SkuRef(sku_id), f"r{self._causes}", delta)])

    def ship(self, order_id: str, shop_id: str, quantity: int = 0) -> None:
        """All of it, or so many of its first line."""
        parcel = {"need_delivery": False, "delivery_company": "", "delivery_track_no": "", "is_others": False}
        lines = [{"line": 1, "quantity": quantity}] if quantity else []
        merchant = Known("merchant", shop_id, shop_id)
        orders.ship(self.orders, self.cause(), merchant, order_id, {**parcel, "lines": lines})

    def give_back(self, order: Document, quantity: int, restock: bool | None = None) -> None:
        """The merchant gives units of the first line back."""
        asked = {"order_id": order["_id"], "line": 1, "quantity": quantity, "reason": "", "restock": restock}
        refund_line(self.orders, self.cause(), Known("merchant", order["shop_id"], order["shop_id"]), asked)
        self.settle()

    def redeem(self, order: Document, voucher: int) -> None:
        """The shop scans a voucher."""
        merchant = Known("merchant", order["shop_id"], order["shop_id"])
        code = Codes(self.settings, "orders", "JV1").sign(text(order["_id"], voucher))
        redeem(self.orders, Codes(self.settings, "orders", "JV1"), self.cause(), merchant, code, "")

    def deposit(self, shop_id: str, amount: int) -> None:
        paid_in(self.payments, shop_id, amount)

    def to_the_bank(self, shop_id: str, amount: int, answer: str) -> None:
        """The shop withdraws, and the bank answers SUCCESS or FAILED."""
        account = {"holder": "某公司", "number": "6222000000001234", "bank": "招商银行"}
        asked = {"amount": amount, "account": account}
        row, _ = request_withdrawal(self.payments, self.cause(), shop_id, asked)
        self.channel.bank_says = answer
        send_withdrawal(self.payments, self.channel, row)

    # ------------------------------------------------------------------------------------------------------------------- buyers

    def reserve(self, placing: Document) -> Sequence[Mapping[str, Any]]:
        wanted = placing["_id"], placing["buyer_id"], placing["pay_by"], placing["lines"]
        outcome = reservations.reserve(self._desk, self.cause(), *wanted)
        return outcome.document["lines"]

    def describe(self, buyer_id: str, shop_ids: Sequence[str]) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        shops = {row["_id"]: row for row in self.database("accounts")["shops"].find({"_id": {"$in": list(shop_ids)}})}
        return shops, {shop["account_id"]: f"o-{buyer_id}" for shop in shops.values()}

    def place(self, buyer_id: str, *lines: tuple[tuple[str, str], int]) -> tuple[str, list[Document]]:
        """Place a checkout of ((product, sku), quantity) lines; answers its id and its orders."""
        wanted = [{"product_id": product, "sku_id": sku, "quantity": quantity} for (product, sku), quantity in lines]
        asked = {"lines": wanted, "address": ADDRESS, "notes": ""}
        placed = orders.place(self.orders, self, self, self.cause(), buyer_id, asked)
        return placed.checkout["_id"], list(placed.orders)

    def payable(self, checkout_id: str) -> Mapping[str, Any]:
        return queries.payable(self.orders, SERVICE, checkout_id)

    def attempt(self, checkout_id: str, buyer_id: str, method: str = "native") -> Success:
        """Open a payment; answers the success that the channel would tell of."""
        asked = {"checkout_id": checkout_id, "method": method}
        opened = payments.create_payment(self.payments, self, self.channel, self.cause(), buyer_id, asked)
        (one,) = (each for each in opened.payable["payments"] if each["out_trade_no"] == opened.number)
        return Success(opened.number, f"42{self._causes:026}", one["amount"], opened.payable["currency"])

    def change_price(self, order: Document, goods: int) -> None:
        """The merchant asks for less; nobody has heard of it yet."""
        merchant = Known("merchant", order["shop_id"], order["shop_id"])
        change_price(self.orders, self.cause(), merchant, order["_id"], goods, None)

    def pay(self, checkout_id: str, buyer_id: str) -> None:
        collected(self.payments, self.attempt(checkout_id, buyer_id))
        self.settle()

    def paid(self, buyer_id: str, *lines: tuple[tuple[str, str], int]) -> Document:
        """Place and pay; answers the first order."""
        checkout_id, placed = self.place(buyer_id, *lines)
        self.pay(checkout_id, buyer_id)
        return placed[0]

    def cancel(self, order: Document) -> None:
        orders.cancel(self.orders, self.cause(), Known("buyer", order["buyer_id"]), order["_id"], "")
        self.settle()

    def complete(self, order: Document) -> None:
        self.ship(order["_id"], order["shop_id"])
        orders.confirm(self.orders, self.cause(), Known("buyer", order["buyer_id"]), order["_id"])
        self.settle()

    # ----------------------------------------------------------------------------------------------------------------- disputes

    def order(self, order_id: str) -> Mapping[str, Any]:
        return queries.order(self.orders, SERVICE, order_id)

    def open_case(self, order: Document, amount: int) -> str:
        asked = {"order_id": order["_id"], "kind": "refund_only", "amount": amount, "reason": "坏了"}
        buyer = Party("buyer", order["buyer_id"], order["buyer_id"])
        case = disputes.open_case(self.disputes, self, self.cause(), buyer, asked).document
        self.settle()
        return str(case["_id"])

    def accept(self, order: Document, case_id: str) -> None:
        """The merchant agrees to the claim."""
        merchant = Party("merchant", order["shop_id"], order["shop_id"])
        disputes.accept(self.disputes, self.cause(), merchant, case_id)
        self.settle()

    def rule(self, order: Document, case_id: str, amount: int, payer: str) -> None:
        """The merchant refuses, the buyer asks the platform, which rules a partial refund."""
        merchant = Party("merchant", order["shop_id"], order["shop_id"])
        disputes.refuse(self.disputes, self.cause(), merchant, case_id, "没有坏", ["照片"])
        buyer = Party("buyer", order["buyer_id"], order["buyer_id"])
        disputes.escalate(self.disputes, self.cause(), buyer, case_id, "坏了")
        ruling = {"liability": "merchant", "remedy": "refund_partial", "amount": amount, "payer": payer}
        ruling |= {"reason_code": "damaged", "reasoning": "照片"}
        disputes.rule(self.disputes, self.cause(), Party("platform", "arbitrator"), case_id, ruling)
        self.settle()

    def withdraw(self, order: Document, case_id: str) -> None:
        buyer = Party("buyer", order["buyer_id"], order["buyer_id"])
        disputes.withdraw(self.disputes, self.cause(), buyer, case_id)
        self.settle()

    def pass_time(self, **span: float) -> None:
        """Move the sandbox's clock and run what has come due."""
        clock.see(clock.offset_ms() + int(timedelta(**span).total_seconds() * 1000))
        self.database("jishi")["clock"].update_one({"_id": "sandbox"}, {"$set": {"offset_ms": clock.offset_ms()}})
        self.settle()

    # ---------------------------------------------------------------------------------------------------------------- broadcasts

    def follow(self, account_id: str, count: int, name: str = "o") -> None:
        openids = [openid(number, name) for number in range(count)]
        following.bulk_follow(self.broadcast, self.cause(), account_id, openids, "test")

    def tag(self, account_id: str, count: int, name: str = "o") -> int:
        """A tag on the first ``count`` followers."""
        tag_id = following.create_tag(self.broadcast, self.cause(), account_id, "老客").document["tag_id"]
        openids = [openid(number, name) for number in range(count)]
        following.assign_tag(self.broadcast, self.cause(), account_id, tag_id, openids)
        return int(tag_id)

    def send(self, account_id: str, tag_id: int = 0) -> str:
        """A broadcast to all, or to a tag."""
        asked = {"to_all": not tag_id, "tag_id": tag_id, "content": {"text": "你好"}, "clientmsgid": ""}
        job = sending.send(self.broadcast, self.cause(), account_id, asked).document
        self.settle()
        return str(job["_id"])
