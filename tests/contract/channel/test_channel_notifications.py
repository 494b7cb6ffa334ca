"""Notifications: retried, twice, late, held, given up; and what a kill -9 leaves behind."""

import json
import stat

from services.chassis import channel_signing as signing
from tests.backends.processes import wait_until


def notices(channel, prepay_id):
    return channel.http.get(f"/cashier/{prepay_id}").json()["notifications"]


def delivered(channel, prepay_id):
    """Every notification was taken and recorded as such."""
    return all(one["state"] == "delivered" for one in notices(channel, prepay_id))


def test_a_refused_notification_comes_again_with_the_same_id(channel):
    asked, prepay_id = channel.placed()
    path = f"/{asked['out_trade_no']}"
    channel.shop.refuse[path] = 2
    channel.pay(prepay_id, payer="oBuyer")
    arrived = channel.shop.wait(path, 3)
    assert len({one.id for one in arrived}) == 1
    assert len({one.headers["Wechatpay-Nonce"] for one in arrived}) == 3
    wait_until(lambda: delivered(channel, prepay_id), "the delivery to be recorded")
    assert notices(channel, prepay_id)[0]["attempts"] == 3


def test_a_notification_comes_as_often_as_the_buyer_says(channel):
    asked, prepay_id = channel.placed()
    channel.pay(prepay_id, payer="oBuyer", notify={"copies": 3})
    channel.shop.wait(f"/{asked['out_trade_no']}", 3)
    wait_until(lambda: delivered(channel, prepay_id), "three deliveries to be recorded")
    assert len(channel.shop.arrived[f"/{asked['out_trade_no']}"]) == 3


def test_a_held_notification_waits_for_its_release(channel):
    asked, prepay_id = channel.placed()
    path = f"/{asked['out_trade_no']}"
    channel.pay(prepay_id, payer="oBuyer", notify={"hold": True})
    other = channel.paid()
    channel.shop.wait(f"/{other['out_trade_no']}", 1)
    assert channel.shop.arrived[path] == []
    assert notices(channel, prepay_id)[0]["state"] == "held"
    assert channel.query(asked["out_trade_no"]).json()["trade_state"] == "SUCCESS"
    channel.http.post(f"/cashier/{prepay_id}/release")
    channel.shop.wait(path, 1)
    wait_until(lambda: delivered(channel, prepay_id), "the delivery to be recorded")
    assert channel.http.post(f"/cashier/{prepay_id}/release").json()["notifications"] == notices(channel, prepay_id)


def test_a_late_notification_keeps_its_plan_through_a_late_success(channel):
    asked, prepay_id = channel.placed()
    how = {"outcome": "userpaying", "settle_seconds": 0.05, "notify": {"hold": True}}
    assert channel.pay(prepay_id, payer="oBuyer", **how).status_code == 202
    number = asked["out_trade_no"]
    wait_until(lambda: channel.query(number).json()["trade_state"] == "SUCCESS", "the late success")
    assert channel.shop.arrived[f"/{number}"] == []
    channel.http.post(f"/cashier/{prepay_id}/release")
    channel.shop.wait(f"/{number}", 1)


def test_a_shop_that_does_not_answer_is_asked_again(channel):
    asked = channel.new(notify_url="http://127.0.0.1:9/nobody")
    prepay_id = channel.place(asked).json()["prepay_id"]
    channel.pay(prepay_id, payer="oBuyer")
    wait_until(lambda: notices(channel, prepay_id)[0]["attempts"] >= 2, "a second attempt")
    assert notices(channel, prepay_id)[0]["error"]


def test_what_was_due_is_told_after_kill_9(own_channel):
    channel = own_channel
    asked, prepay_id = channel.placed()
    later, later_prepay_id = channel.placed()
    # Held and refused: neither can be told before the kill.
    channel.pay(prepay_id, payer="oBuyer", notify={"hold": True})
    channel.shop.refuse[f"/{later['out_trade_no']}"] = 1
    channel.pay(later_prepay_id, payer="oBuyer")
    channel.shop.wait(f"/{later['out_trade_no']}", 1)
    before = {path.name: path.read_bytes() for path in (channel.data / "channel" / "merchant").iterdir()}
    channel.kill()
    channel.start()
    channel.shop.wait(f"/{later['out_trade_no']}", 2)
    channel.http.post(f"/cashier/{prepay_id}/release")
    (told,) = channel.shop.wait(f"/{asked['out_trade_no']}", 1)
    assert told.resource["out_trade_no"] == asked["out_trade_no"]
    assert {path.name: path.read_bytes() for path in (channel.data / "channel" / "merchant").iterdir()} == before
    assert channel.place(asked).json()["code"] == "ORDERPAID"


def test_keys_are_the_owners_alone(own_channel):
    files = [path for path in (own_channel.data / "channel").rglob("*") if path.is_file()]
    assert {path.name for path in files} == {
        "platform_private.pem",
        "merchant_public.pem",
        "apiv3.key",
        "merchant.json",
        "merchant_private.pem",
        "platform_public.pem",
    }
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    told = json.loads((own_channel.data / "channel" / "merchant" / "merchant.json").read_text())
    assert told["base_url"] == own_channel.url
    assert len(told["apiv3_key"]) == 32
    assert signing.read_credential(own_channel.data / "channel" / "merchant").mchid == told["mchid"]


def test_while_the_database_is_away_the_channel_says_so(tmp_path, database_is_embedded):
    if not database_is_embedded:
        import pytest

        pytest.skip("starts a database of its own to kill, which is the embedded one")
    from tests.backends.secantus import SecantusServer
    from tests.contract.channel.conftest import Channel

    database = SecantusServer(tmp_path / "database")
    database.start()
    channel = Channel(tmp_path / "channel", database.uri, embedded=True)
    try:
        channel.start()
        asked, prepay_id = channel.placed()
        database.kill()
        refused = channel.place(channel.new())
        assert (refused.status_code, refused.json()["code"]) == (500, "SYSTEM_ERROR")
        assert channel.http.get("/healthz").status_code == 503
        database.start()
        wait_until(channel.answers, "the channel to find its database again")
        assert channel.pay(prepay_id, payer="oBuyer").status_code == 200
        channel.shop.wait(f"/{asked['out_trade_no']}", 1)
    finally:
        channel.stop()
        database.stop()
