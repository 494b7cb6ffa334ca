"""A real channel process on the session's database, a merchant that signs, and a shop's notification address."""

import contextlib
import json
import os
import secrets
import signal
import sys
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from pymongo import MongoClient

from services.chassis import channel_signing as signing
from services.chassis import clock
from tests.backends.processes import PATIENCE_S, ServerProcess, free_port, wait_until

ROOT = Path(__file__).parents[3]


def now_s():
    return clock.wall_ms() // 1000


@dataclass
class Told:
    """One notification as it arrived."""

    headers: dict
    body: bytes
    id: str = ""
    event_type: str = ""
    resource: dict = field(default_factory=dict)


class Shop:
    """Where notifications arrive: every test takes a path of its own, and may refuse the first few."""

    def __init__(self, merchant):
        self.merchant = merchant
        self.arrived = defaultdict(list)
        self.refuse = defaultdict(int)
        shop = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(shop.take(self.path, Told(dict(self.headers), body)))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, path, told):
        merchant = self.merchant()
        signing.check_answer(merchant.platform_key, merchant.platform_serial, told.headers, told.body, now_s=now_s())
        body = json.loads(told.body)
        told.id, told.event_type = body["id"], body["event_type"]
        told.resource = json.loads(signing.open_sealed(merchant.apiv3_key, body["resource"]))
        self.arrived[path].append(told)
        if self.refuse[path] > 0:
            self.refuse[path] -= 1
            return 500
        return 204

    def wait(self, path, count):
        wait_until(lambda: len(self.arrived[path]) >= count, f"{count} notifications at {path}")
        return self.arrived[path]


class Channel:
    """The process, and both of its doors."""

    def __init__(self, folder, mongo_uri, *, embedded, scale="0.02"):
        self.prefix = f"t{secrets.token_hex(4)}_"
        self.mongo_uri = mongo_uri
        self.data = folder / "data"
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        environment = {
            **os.environ,
            "MONGO_URI": mongo_uri,
            "JISHI_EMBEDDED": str(embedded).lower(),
            "JISHI_DB_PREFIX": self.prefix,
            "JISHI_DATA_DIR": str(self.data),
            "JISHI_CHANNEL_LISTEN": f"127.0.0.1:{port}",
            "JISHI_CHANNEL_URL": self.url,
            "JISHI_CHANNEL_RETRY_SCALE": scale,
            "PYTHONPATH": str(ROOT),
        }
        folder.mkdir(parents=True, exist_ok=True)
        self.process = ServerProcess([sys.executable, "-m", "services.channel"], environment, folder / "channel.log")
        self.http = httpx.Client(base_url=self.url, timeout=20)
        self.shop = Shop(self.merchant)

    def start(self):
        self.process.start()
        self.process.wait_ready(self.answers, seconds=PATIENCE_S)

    def answers(self):
        try:
            return self.http.get("/healthz").status_code == 200
        except httpx.HTTPError:
            return False

    def kill(self):
        self.process.signal_group(signal.SIGKILL)

    def stop(self):
        self.process.signal_group(signal.SIGTERM)
        self.shop.server.shutdown()
        self.shop.server.server_close()
        self.http.close()
        with MongoClient(self.mongo_uri) as client:
            client.drop_database(f"{self.prefix}channel")

    def merchant(self):
        return signing.read_credential(self.data / "channel" / "merchant")

    def call(self, method, target, body=None):
        """One signed request; every answer's signature is checked."""
        merchant = self.merchant()
        content = b"" if body is None else json.dumps(body).encode()
        authorization = signing.authorize(merchant, method, target, content, now_s=now_s())
        headers = {"Authorization": authorization, "Content-Type": "application/json"}
        answer = self.http.request(method, target, content=content, headers=headers)
        signing.check_answer(
            merchant.platform_key, merchant.platform_serial, answer.headers, answer.content, now_s=now_s()
        )
        return answer

    def new(self, total=1000, **over):
        """Parameters of a trade of its own, told to a path of its own (``/<out_trade_no>``)."""
        number = f"T{secrets.token_hex(12)}"
        return {
            "appid": "wx0000000000000001",
            "mchid": self.merchant().mchid,
            "description": "龙井茶 250g",
            "out_trade_no": number,
            "notify_url": f"{self.shop.url}/{number}",
            "amount": {"total": total, "currency": "CNY"},
            "payer": {"openid": "oBuyer"},
            **over,
        }

    def place(self, asked, kind="jsapi"):
        return self.call("POST", f"/v3/pay/transactions/{kind}", asked)

    def placed(self, total=1000):
        """A new trade: (its parameters, prepay_id)."""
        asked = self.new(total)
        return asked, self.place(asked).json()["prepay_id"]

    def pay(self, prepay_id, **how):
        return self.http.post(f"/cashier/{prepay_id}/pay", json=how)

    def paid(self, total=1000):
        """A new trade, paid; its parameters."""
        asked, prepay_id = self.placed(total)
        assert self.pay(prepay_id, payer="oBuyer").status_code == 200
        return asked

    def query(self, number):
        return self.call("GET", f"/v3/pay/transactions/out-trade-no/{number}?mchid={self.merchant().mchid}")

    def close(self, number):
        body = {"mchid": self.merchant().mchid}
        return self.call("POST", f"/v3/pay/transactions/out-trade-no/{number}/close", body)

    def refund(self, asked, fen, number="", **over):
        body = {
            "out_trade_no": asked["out_trade_no"],
            "out_refund_no": number or f"R{secrets.token_hex(8)}",
            "notify_url": asked["notify_url"],
            "amount": {"refund": fen, "total": asked["amount"]["total"], "currency": "CNY"},
            **over,
        }
        return self.call("POST", "/v3/refund/domestic/refunds", body)


@pytest.fixture(scope="module")
def channel(tmp_path_factory, mongo_uri, database_is_embedded):
    """One channel for the module; trades know nothing of each other, so each test makes its own."""
    yield from _running(Channel(tmp_path_factory.mktemp("channel"), mongo_uri, embedded=database_is_embedded))


@pytest.fixture
def own_channel(tmp_path, mongo_uri, database_is_embedded):
    """A channel that a test may kill."""
    yield from _running(Channel(tmp_path, mongo_uri, embedded=database_is_embedded))


def _running(one):
    try:
        one.start()
        yield one
    finally:
        with contextlib.suppress(OSError):
            one.stop()
