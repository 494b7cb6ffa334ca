"""The older door, knocked at by wechatpy's own client; what is placed there is told in signed XML."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from wechatpy.exceptions import WeChatPayException
from wechatpy.pay import WeChatPay

from services.chassis import channel_signing_v2 as v2
from tests.backends.processes import wait_until

TAKEN = b"<xml><return_code>SUCCESS</return_code><return_msg>OK</return_msg></xml>"
APPID = "wx0000000000000001"


class OldShop:
    """An address that answers in XML; the first answers are what ``answers`` holds."""

    def __init__(self):
        self.arrived, self.answers = [], []
        shop = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                shop.arrived.append(self.rfile.read(int(self.headers["Content-Length"])))
                answer = shop.answers.pop(0) if shop.answers else TAKEN
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/notified"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def old_shop():
    shop = OldShop()
    yield shop
    shop.close()


@pytest.fixture
def key(channel):
    told = json.loads((channel.data / "channel" / "merchant" / "merchant.json").read_text(encoding="utf-8"))
    return told["api_key"]


@pytest.fixture
def client(channel, key):
    client = WeChatPay(APPID, key, channel.merchant().mchid)
    client.API_BASE_URL = f"{channel.url}/"
    return client


def placed(client, shop, number, total=1280, **more):
    return client.order.create("NATIVE", "龙井 <茶>", total, shop.url, out_trade_no=number, **more)


def test_a_trade_is_placed_paid_told_queried_and_refunded(channel, client, key, old_shop):
    number = "V2-0000001"
    told = placed(client, old_shop, number)
    assert placed(client, old_shop, number)["prepay_id"] == told["prepay_id"], "the same parameters enter again"
    with pytest.raises(WeChatPayException) as refused:
        placed(client, old_shop, number, total=1281)
    assert refused.value.errcode == "INVALID_REQUEST"
    assert client.order.query(out_trade_no=number)["trade_state"] == "NOTPAY"
    old_shop.answers.append(b"<xml><return_code>FAIL</return_code></xml>")
    assert channel.pay(told["prepay_id"], payer="oBuyer").status_code == 200
    wait_until(lambda: len(old_shop.arrived) >= 2, "a second notification after a FAIL")
    for body in old_shop.arrived:
        heard = client.parse_payment_result(body)
        assert (heard["out_trade_no"], heard["total_fee"], heard["result_code"]) == (number, 1280, "SUCCESS")
    v2.verify(v2.from_xml(old_shop.arrived[0]), key)
    with pytest.raises(WeChatPayException) as refused:
        placed(client, old_shop, number)
    assert refused.value.errcode == "ORDERPAID"
    back = client.refund.apply(1280, 280, "R-0000001", out_trade_no=number, notify_url=old_shop.url)
    assert client.refund.apply(1280, 280, "R-0000001", out_trade_no=number)["refund_id"] == back["refund_id"]
    assert client.refund.query(out_refund_no="R-0000001")["refund_status_0"] == "SUCCESS"
    wait_until(lambda: len(old_shop.arrived) >= 3, "the refund's notification")
    sealed = v2.from_xml(old_shop.arrived[-1])["req_info"]
    assert b"<out_refund_no>R-0000001</out_refund_no>" in v2.open_sealed(key, sealed)
    assert client.order.query(out_trade_no=number)["trade_state"] == "REFUND"


def test_a_till_scans_asks_and_reverses(channel, client):
    def code(**how):
        return channel.http.post("/paycodes", json={"payer": "oGuest", **how}).json()["auth_code"]

    def scan(number, auth_code, total=1280):
        return client.micropay.create("龙井", total, auth_code, client_ip="127.0.0.1", out_trade_no=number)

    paid = scan("V2-TILL-01", shown := code())
    assert (paid["trade_type"], paid["openid"], paid["total_fee"]) == ("MICROPAY", "oGuest", "1280")
    assert scan("V2-TILL-01", shown)["transaction_id"] == paid["transaction_id"], "asked again with the same parameters"
    for auth_code, why in (
        (shown, "AUTHCODEEXPIRE"),
        ("99", "AUTH_CODE_INVALID"),
        (code(outcome="userpaying"), "USERPAYING"),
    ):
        with pytest.raises(WeChatPayException) as refused:
            scan(f"V2-TILL-{why[:8]}", auth_code)
        assert refused.value.errcode == why
    waits = "V2-TILL-USERPAYI"
    assert client.micropay.query(out_trade_no=waits)["trade_state"] == "USERPAYING"
    assert client.order.reverse(out_trade_no=waits)["recall"] == "N"
    assert client.micropay.query(out_trade_no=waits)["trade_state"] == "REVOKED"
    assert client.order.reverse(transaction_id=paid["transaction_id"])["recall"] == "N"
    assert client.micropay.query(out_trade_no="V2-TILL-01")["trade_state"] == "REVOKED"


def test_hmac_is_answered_and_told_in_hmac(channel, key, old_shop):
    fields = {"appid": APPID, "mch_id": channel.merchant().mchid, "sign_type": v2.HMAC_SHA256, "body": "茶"}
    fields |= {"out_trade_no": "V2-0000002", "total_fee": "100", "notify_url": old_shop.url, "trade_type": "NATIVE"}
    body = v2.to_xml(v2.signed(fields, key, v2.HMAC_SHA256))
    answer = v2.from_xml(channel.http.post("/pay/unifiedorder", content=body).content)
    v2.verify(answer, key, v2.HMAC_SHA256)
    channel.pay(answer["prepay_id"], payer="oBuyer")
    wait_until(lambda: old_shop.arrived, "the notification")
    told = v2.from_xml(old_shop.arrived[0])
    assert told["sign_type"] == v2.HMAC_SHA256
    v2.verify(told, key)


def test_a_trade_is_closed_and_what_is_not_there_or_forged_is_refused(channel, client, key, old_shop):
    placed(client, old_shop, "V2-0000003")
    client.order.close("V2-0000003")
    assert client.order.query(out_trade_no="V2-0000003")["trade_state"] == "CLOSED"
    for number, call in (
        ("V2-0000003", placed),
        ("V2-NOTHERE", lambda *_: client.order.query(out_trade_no="V2-NOTHERE")),
    ):
        with pytest.raises(WeChatPayException) as refused:
            call(client, old_shop, number)
        assert refused.value.errcode in ("ORDERCLOSED", "ORDERNOTEXIST")
    stranger = WeChatPay(APPID, key[::-1], channel.merchant().mchid)
    stranger.API_BASE_URL = client.API_BASE_URL
    with pytest.raises(WeChatPayException) as refused:
        placed(stranger, old_shop, "V2-0000004")
    assert refused.value.return_code == "FAIL"
    evil = b'<!DOCTYPE xml [<!ENTITY x SYSTEM "file:///etc/hostname">]><xml><mch_id>&x;</mch_id></xml>'
    assert v2.from_xml(channel.http.post("/pay/orderquery", content=evil).content)["return_code"] == "FAIL"
    fields = {"appid": APPID, "mch_id": channel.merchant().mchid, "bill_date": "20140603"}
    bill = channel.http.post("/pay/downloadbill", content=v2.to_xml(v2.signed(fields, key))).text
    assert bill.startswith("交易时间,")
