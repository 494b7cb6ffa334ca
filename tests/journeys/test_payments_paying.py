"""Through HTTP: scanned by the buyer, scanned by a till, given up."""

import httpx

from services.cli.demo.trade import Goods, open_payment, pay, place
from tests.backends.processes import wait_until


def placed(buyer, goods):
    return place(buyer.api, [goods.line()])["checkout_id"]


def test_a_qr_code_is_shown_given_up_and_a_till_scans_the_buyers_code(buyer, new_buyer, shop):
    checkout_id = placed(buyer, Goods(shop.api, "mug", 4_500, 5))
    payment = open_payment(buyer.api, checkout_id)
    path = f"/v1/payments/{payment['payment_id']}"
    assert b"".join(buyer.api.download(f"{path}/code")).startswith(b"\x89PNG")
    assert b"<svg" in b"".join(buyer.api.download(f"{path}/code", format="svg"))
    stranger = new_buyer("别人").api
    assert stranger.ask("GET", f"{path}/code").status == stranger.ask("POST", f"{path}:close").status == 404
    assert buyer.api.post(f"{path}:close")["payment"]["state"] == "closed"
    assert buyer.api.ask("GET", f"{path}/code").reason == "WRONG_STATE"
    assert pay(buyer.api, payment).body["code"] == "ORDERCLOSED"
    channel = payment["cashier_url"].partition("/cashier/")[0]
    code = httpx.post(f"{channel}/paycodes", json={"payer": "me"}).json()["auth_code"]
    body = {"checkout_id": checkout_id, "method": "micropay", "auth_code": "99"}
    refused = buyer.api.ask("POST", "/v1/payments", body)
    assert (refused.status, refused.body["errors"][0]["field"]) == (400, "auth_code")
    paid = buyer.api.ask("POST", "/v1/payments", {**body, "auth_code": code}, key="scan")
    again = buyer.api.ask("POST", "/v1/payments", {**body, "auth_code": code}, key="scan")
    assert (paid.status, paid.body["payment"]["state"]) == (201, "paid")
    assert (again.body, again.replayed) == (paid.body, True)
    seen = f"/v1/checkouts/{checkout_id}"
    wait_until(lambda: buyer.api.get(seen)["checkout"]["state"] == "paid", "the checkout to be paid")
    assert buyer.api.ask("POST", f"/v1/payments/{paid.body['payment']['payment_id']}:close").reason == "ALREADY_PAID"


def test_a_merchants_till_scans_and_reverses(buyer, shop, open_shop):
    cup = Goods(shop.api, "till-cup", 150_000, 5)
    checkout_id = placed(buyer, cup)
    channel = open_payment(buyer.api, placed(buyer, cup))["cashier_url"].partition("/cashier/")[0]

    def code():
        return httpx.post(f"{channel}/paycodes", json={"payer": "a guest"}).json()["auth_code"]

    body, other = {"checkout_id": checkout_id, "method": "micropay"}, open_shop("别家")
    assert other.api.ask("POST", "/v1/payments", {**body, "auth_code": code()}).status == 404
    assert shop.api.ask("POST", "/v1/payments", {**body, "method": "native"}).status == 403
    both = place(buyer.api, [cup.line(), Goods(other.api, "till-tea", 100, 5).line()])["checkout_id"]
    refused = shop.api.ask("POST", "/v1/payments", {**body, "checkout_id": both, "auth_code": code()})
    assert (refused.status, refused.reason) == (409, "CONDITION_UNMET")

    shown = code()
    waits = shop.api.ask("POST", "/v1/payments", {**body, "auth_code": shown}, key="till-1")
    assert (waits.status, waits.body["payment"]["state"]) == (201, "open"), "the guest types a password"
    path = f"/v1/payments/{waits.body['payment']['payment_id']}"
    assert other.api.ask("GET", path).status == other.api.ask("POST", f"{path}:reverse").status == 404
    first, again = (shop.api.ask("POST", f"{path}:reverse", key="reverse-1") for _ in range(2))
    assert (first.body["payment"]["state"], again.body, again.replayed) == ("closed", first.body, True)
    assert httpx.post(f"{channel}/paycodes/{shown}/confirm").json()["code"] == "ORDERCLOSED"

    shown = code()
    payment = shop.api.post("/v1/payments", {**body, "auth_code": shown})["payment"]
    assert httpx.post(f"{channel}/paycodes/{shown}/confirm").json()["trade_state"] == "SUCCESS"
    told = shop.api.post(f"/v1/payments/{payment['payment_id']}:query")["payment"]
    assert (told["state"], told["payer"]) == ("paid", "a guest")
    seen = f"/v1/checkouts/{checkout_id}"
    wait_until(lambda: buyer.api.get(seen)["checkout"]["state"] == "paid", "the checkout to be paid")
    assert shop.api.ask("POST", f"/v1/payments/{payment['payment_id']}:reverse").reason == "ALREADY_PAID"


def test_a_wallet_is_topped_up_spent_on_two_shops_and_refunded_into(buyer, open_shop):
    topup = buyer.api.post("/v1/wallet/topups", {"amount": 10_000, "method": "native"})["topup"]
    assert httpx.post(topup["cashier_url"] + "/pay", json={"payer": "me"}).status_code == 200
    wait_until(lambda: buyer.api.get("/v1/wallet")["wallet"]["balance"] == 10_000, "the top-up")
    lines = [Goods(open_shop(name).api, "cup", 3_000, 5).line() for name in ("甲", "乙")]
    checkout_id = place(buyer.api, lines)["checkout_id"]
    body = {"checkout_id": checkout_id, "method": "wallet"}
    paid = buyer.api.ask("POST", "/v1/payments", body, key="wallet")
    assert (paid.status, paid.body["payment"]["state"]) == (201, "paid")
    assert buyer.api.ask("POST", "/v1/payments", body, key="wallet").body == paid.body
    seen = f"/v1/checkouts/{checkout_id}"
    wait_until(lambda: buyer.api.get(seen)["checkout"]["state"] == "paid", "the checkout to be paid")
    order_id = buyer.api.get(seen)["checkout"]["orders"][0]["order_id"]
    buyer.api.post(f"/v1/orders/{order_id}:cancel", {"reason": "不要了"})
    wait_until(lambda: buyer.api.get("/v1/wallet")["wallet"]["balance"] == 7_000, "the refund")
    told = buyer.api.get("/v1/wallet/movements")["movements"]
    assert [(one["kind"], one["amount"]) for one in told] == [("topup", 10_000), ("collect", -6_000), ("refund", 3_000)]
    short = place(buyer.api, [lines[1], {**lines[1], "quantity": 2}])["checkout_id"]
    refused = buyer.api.ask("POST", "/v1/payments", {"checkout_id": short, "method": "wallet"})
    assert (refused.status, refused.reason) == (409, "INSUFFICIENT_FUNDS")
