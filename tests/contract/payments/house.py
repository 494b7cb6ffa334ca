"""Payments on a real database, with a real channel process that pays, notifies and refunds."""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

from services.chassis import clock, commit, events, ids, mongo
from services.chassis.commit import Cause
from services.chassis.decisions import Change, Fact
from services.chassis.errors import Refusal
from services.chassis.once import Intake, Result
from services.chassis.presence import Presence
from services.payments import commands, jobs, queries
from services.payments.provider import Channel
from services.payments.store import COLLECTIONS, Store
from services.payments.worker import WORKER
from tests.backends.letters import promised
from tests.backends.processes import wait_until

BUYER = "user_1"
OPENID = "o-of-the-buyer"
SHOP = "shop_1"


@dataclass
class OrdersTold:
    """What orders would answer: checkouts by id."""

    checkouts: dict[str, dict[str, Any]] = field(default_factory=dict)

    def payable(self, checkout_id: str) -> Mapping[str, Any]:
        if checkout_id not in self.checkouts:
            raise Refusal("NOT_FOUND", checkout_id)
        return self.checkouts[checkout_id]


class Door:
    """The address that the channel tells of payments and refunds; ``open_to`` answers status and body."""

    def __init__(self):
        self.open_to = None
        self.arrived: list[tuple[dict[str, str], bytes, int]] = []
        door = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, answer = door.take(dict(self.headers), body)
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, headers, body):
        status, answer = self.open_to(headers, body) if self.open_to else (503, b"")
        self.arrived.append((headers, body, status))
        return status, answer


class House:
    """Payments with everybody around it."""

    def __init__(self, world, process, door):
        address = {"base_url": door.url, "channel_url": process.url, "data_dir": process.data}
        self.settings = world.settings.model_copy(update=address)
        self.database = world.database("payments")
        mongo.declare(self.database, COLLECTIONS)
        self.store = Store(self.database)
        self.channel = Channel(self.settings)
        self.orders = OrdersTold()
        self.intake = Intake("payments", self.database, WORKER.handlers, Presence("payments", "test", "worker"))
        self.http = httpx.Client(timeout=20)
        self.sequence = 0
        self.door = door
        door.open_to = self.receive

    def receive(self, headers, body):
        try:
            reply = commands.receive(self.store, self.channel, headers, body)
        except Refusal as refusal:
            return 409, refusal.message.encode()
        return reply.status, reply.body

    # ------------------------------------------------------------------------------------------------------- the others

    def checkout(self, *amounts: int, minutes: int = 30) -> str:
        checkout_id = ids.new_id("checkout")
        shares = [
            {"order_id": ids.order_id(), "shop_id": SHOP, "amount": amount, "openid": OPENID} for amount in amounts
        ]
        self.orders.checkouts[checkout_id] = {
            "checkout_id": checkout_id,
            "buyer_id": BUYER,
            "currency": "CNY",
            "amount": sum(amounts),
            "pay_by": clock.business() + timedelta(minutes=minutes),
            "state": "awaiting_payment",
            "shares": shares,
        }
        return checkout_id

    def order_ids(self, checkout_id: str) -> list[str]:
        return [share["order_id"] for share in self.orders.checkouts[checkout_id]["shares"]]

    def hear(self, event_type: str, checkout_id: str = "", *, again: bool = False, **data: Any) -> Result:
        """Another service's event arrives; ``again``: the last one once more."""
        if not again:
            self.sequence += 1
        told = {"checkout_id": checkout_id, "shop_id": SHOP, **data}
        subject = checkout_id or SHOP
        envelope = events.pack(
            Fact(event_type, told),
            entity=f"x:{subject}",
            subject=subject,
            sequence=self.sequence,
            causation="",
            traceparent="",
        )
        name = next(one.name for one in WORKER.handlers if one.event_type == event_type)
        return self.intake.receive(name, json.dumps(envelope).encode())

    def shop(self) -> None:
        told = {"account_id": "a", "name": "茶铺", "state": "open", "currency": "CNY"}
        assert self.hear("jishi.accounts.shop.changed.v1", **told) is Result.APPLIED

    def complete(self, checkout_id: str, order_id: str) -> Result:
        return self.hear("jishi.orders.order.completed.v1", checkout_id, order_id=order_id, commission_bp=60)

    # ------------------------------------------------------------------------------------------------------ what it does

    def create(self, checkout_id: str, method: str = "native", key: str = "", body: str = "body") -> dict[str, Any]:
        cause = Cause(f"cmd:{key or ids.secret()}", body)
        asked = {"checkout_id": checkout_id, "method": method}
        made = commands.create_payment(self.store, self.orders, self.channel, cause, BUYER, asked)
        return {**queries.payment_view(made.payable, made.number), "replayed": made.replayed}

    def pay(self, payment: Mapping[str, Any], **how: Any) -> httpx.Response:
        return self.http.post(payment["cashier_url"] + "/pay", json={"payer": BUYER, **how})

    def paid(self, *amounts: int) -> str:
        checkout_id = self.checkout(*amounts)
        assert self.pay(self.create(checkout_id)).status_code == 200
        self.until(checkout_id, "paid")
        return checkout_id

    def until(self, checkout_id: str, state: str) -> None:
        wait_until(lambda: self.store.payable(checkout_id)["state"] == state, f"{checkout_id} {state}")

    def send_refunds(self) -> None:
        """What the jobs process does with refunds that are due."""
        for row in list(self.store.refunds.find({"next_at": {"$gt": 0, "$lte": clock.wall_ms()}})):
            jobs.post_refund(self.store, self.channel, row)

    def inquire(self, checkout_id: str) -> None:
        """What the jobs process does with a payable whose timer came."""
        commit.change(
            self.store.payables,
            checkout_id,
            Cause(f"tmr:{ids.secret()}"),
            lambda _: Change(set={"next_at": clock.wall_ms()}),
        )
        jobs.inquire(self.store, self.channel, self.store.payable(checkout_id), lambda: None)

    def outbox(self, *rows: Any) -> list[dict[str, Any]]:
        return [event for row in rows for event in promised(self.store.database, row)]

    def balances(self) -> dict[str, int]:
        _, purse = queries.balance(self.store, SHOP)
        return {"available": purse.available, "deposit": purse.deposit, "held": sum(purse.held.values())}

    def close(self) -> None:
        self.door.server.shutdown()
        self.door.server.server_close()
        self.http.close()
        self.channel.close()

    def check(self) -> None:
        rows, balanced = queries.trial_balance(self.store)
        assert balanced, rows
