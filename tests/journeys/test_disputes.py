"""维权 through HTTP on the whole stack: claims before and after settlement, silence, second thoughts, second persons."""

from datetime import timedelta

import httpx
import pytest

from services.cli import world
from services.cli.clocks import advance
from services.cli.demo.trade import Goods, balance, open_payment, order, pay, place
from tests.backends.processes import wait_until

DAY_S = 86_400
RULING = {
    "liability": "merchant",
    "remedy": "refund_full",
    "payer": "merchant",
    "reason_code": "NOT_AS_DESCRIBED",
    "reasoning": "实物与描述不符,支持买家仅退款",
}


@pytest.fixture
def supervisor(admin):
    """The API as a supervisor: the second person of large rulings."""
    return admin.as_caller(world.staff(admin, "supervisor", "supervisor"))


@pytest.fixture
def bought(shop, buyer):
    """``bought(price)``: the id of an order of one product, paid and shipped."""
    made = []

    def make(price: int) -> str:
        made.append(Goods(shop.api, f"claimed-{len(made)}", price, 5))
        checkout = place(buyer.api, [made[-1].line()])
        pay(buyer.api, open_payment(buyer.api, checkout["checkout_id"]))
        order_id = checkout["orders"][0]["order_id"]
        wait_until(lambda: order(buyer.api, order_id)["state"] == "paid", "the order to be paid")
        shop.api.post(f"/v1/orders/{order_id}:ship", {"need_delivery": False})
        return order_id

    return make


def opened(buyer, order_id: str, amount: int = 0) -> str:
    body = {"order_id": order_id, "kind": "refund_only", "amount": amount, "reason": "灯不亮"}
    case_id = buyer.api.post("/v1/disputes", body)["case"]["case_id"]
    wait_until(lambda: order(buyer.api, order_id)["in_dispute"], "the order to be in dispute")
    return case_id


def queued(shop, buyer, case_id: str) -> None:
    shop.api.post(f"/v1/disputes/{case_id}:refuse", {"reason": "出厂检验合格", "evidence": ["质检单"]})
    buyer.api.post(f"/v1/disputes/{case_id}:escalate", {"reason": "请平台介入"})


def case_of(caller, case_id: str) -> dict:
    return caller.get(f"/v1/disputes/{case_id}")["case"]


def until_closed(buyer, case_id: str, state: str) -> dict:
    wait_until(lambda: case_of(buyer.api, case_id)["state"] == state, f"the case to be {state}")
    case = case_of(buyer.api, case_id)
    wait_until(lambda: not order(buyer.api, case["order_id"])["in_dispute"], "the order to leave the dispute")
    return case


def test_before_settlement_the_platform_rules_and_escrow_pays(shop, buyer, arbitrator, bought):
    order_id = bought(15_000)
    case_id = opened(buyer, order_id)
    assert buyer.api.ask("POST", f"/v1/orders/{order_id}:confirm").reason == "WRONG_STATE"
    assert arbitrator.ask("POST", f"/v1/disputes/{case_id}:rule", RULING).reason == "WRONG_STATE"
    queued(shop, buyer, case_id)
    assert case_id in {row["case_id"] for row in arbitrator.get("/v1/disputes", state="platform_queued")["cases"]}
    ruled = arbitrator.ask("POST", f"/v1/disputes/{case_id}:rule", RULING, key=f"rule-{case_id}")
    assert ruled.body["case"]["state"] == "executing"
    case = until_closed(buyer, case_id, "closed_refund_full")
    again = arbitrator.ask("POST", f"/v1/disputes/{case_id}:rule", RULING, key=f"rule-{case_id}")
    assert (again.status, again.replayed) == (200, True)
    assert (case["refunded"], case["claim"], case["evidence"]) == (15_000, 15_000, ["质检单"])
    assert [step["action"] for step in case["timeline"]] == ["open", "refuse", "escalate", "rule", "refunded"]
    assert order(buyer.api, order_id)["refund_state"] == "refunded"
    found = balance(shop.api, shop.shop_id)
    assert (found["available"], found["held"]) == (0, 0)


def test_after_settlement_the_hold_and_the_deposit_pay(shop, buyer, arbitrator, bought):
    asked = shop.api.post(f"/v1/shops/{shop.shop_id}/deposits", {"amount": 100_000})
    assert httpx.post(asked["cashier_url"] + "/pay", json={"payer": "me"}).status_code == 200
    wait_until(lambda: balance(shop.api, shop.shop_id)["deposit"] == 100_000, "the deposit")
    order_id = bought(15_000)
    buyer.api.post(f"/v1/orders/{order_id}:confirm")
    wait_until(lambda: balance(shop.api, shop.shop_id)["available"] > 0, "the settlement")
    settled = balance(shop.api, shop.shop_id)["available"]
    case_id = opened(buyer, order_id)
    wait_until(lambda: balance(shop.api, shop.shop_id)["held"] == 15_000, "the claim to be held")
    queued(shop, buyer, case_id)
    arbitrator.post(f"/v1/disputes/{case_id}:rule", RULING)
    until_closed(buyer, case_id, "closed_refund_full")
    assert order(buyer.api, order_id)["refunded"] == 15_000

    def money() -> tuple[int, int, int]:
        found = balance(shop.api, shop.shop_id)
        return found["available"], found["held"], found["deposit"]

    wait_until(
        lambda: money() == (0, 0, 100_000 - (15_000 - settled)), "the commission's part to come from the deposit"
    )


def test_a_claim_taken_back_frees_what_was_held(shop, buyer, bought):
    order_id = bought(15_000)
    buyer.api.post(f"/v1/orders/{order_id}:confirm")
    wait_until(lambda: balance(shop.api, shop.shop_id)["available"] > 0, "the settlement")
    settled = balance(shop.api, shop.shop_id)["available"]
    case_id = opened(buyer, order_id, 10_000)
    wait_until(lambda: balance(shop.api, shop.shop_id)["held"] == 10_000, "the claim to be held")
    buyer.api.post(f"/v1/disputes/{case_id}:withdraw")
    until_closed(buyer, case_id, "closed_withdrawn")
    wait_until(lambda: balance(shop.api, shop.shop_id)["available"] == settled, "the hold to be freed")
    assert balance(shop.api, shop.shop_id)["held"] == 0


def test_a_merchant_who_is_silent_for_two_days_has_agreed(admin, shop, buyer, bought):
    order_id = bought(9_900)
    case_id = opened(buyer, order_id, 5_000)
    advance(admin, 2 * DAY_S + 60)
    case = until_closed(buyer, case_id, "closed_refund_full")
    assert (case["refunded"], case["ruling"]["reason_code"]) == (5_000, "merchant_silent")
    assert order(buyer.api, order_id)["refund_state"] == "partially_refunded"
    assert shop.api.ask("POST", f"/v1/disputes/{case_id}:refuse", {"reason": "迟", "evidence": ["x"]}).status == 409


def test_a_large_ruling_takes_two_people_and_waits_for_the_appeal(admin, shop, buyer, arbitrator, supervisor, bought):
    order_id = bought(250_000)
    case_id = opened(buyer, order_id)
    queued(shop, buyer, case_id)
    ruled = arbitrator.post(f"/v1/disputes/{case_id}:rule", RULING)["case"]
    assert ruled["state"] == "wait_second_person"
    assert arbitrator.ask("POST", f"/v1/disputes/{case_id}:confirmRuling").status == 403
    send_back(shop, arbitrator, supervisor, case_id)
    assert arbitrator.post(f"/v1/disputes/{case_id}:rule", RULING)["case"]["state"] == "wait_second_person"
    confirmed = supervisor.post(f"/v1/disputes/{case_id}:confirmRuling")["case"]
    assert confirmed["state"] == "adjudicated"
    assert confirmed["ruling"]["confirmed_by"]
    assert case_of(shop.api, case_id)["ruling"]["confirmed_by"] == ""
    assert buyer.api.ask("POST", f"/v1/disputes/{case_id}:acceptRuling").status == 403
    advance(admin, int(timedelta(days=7).total_seconds()) + 60)
    assert until_closed(buyer, case_id, "closed_refund_full")["refunded"] == 250_000


def send_back(shop, arbitrator, supervisor, case_id: str) -> None:
    """The supervisor disagrees with the ruling; what was rejected is told to the platform only."""
    path, why = f"/v1/disputes/{case_id}:rejectRuling", {"reason": "请先看签收照片"}
    assert arbitrator.ask("POST", path, why).status == 403
    assert shop.api.ask("POST", path, why).status == 403
    assert [error["field"] for error in supervisor.ask("POST", path).body["errors"]] == ["reason"]
    first, again = (supervisor.ask("POST", path, why, key=f"reject-{case_id}") for _ in range(2))
    assert (first.body["case"]["state"], "ruling" in first.body["case"]) == ("platform_queued", False)
    assert (again.replayed, again.body) == (True, first.body)
    assert supervisor.ask("POST", path, why).reason == "WRONG_STATE"
    (kept,) = case_of(arbitrator, case_id)["rejected_rulings"]
    assert (kept["reason"], kept["ruling"]["amount"], bool(kept["rejected_by"])) == ("请先看签收照片", 250_000, True)
    seen = case_of(shop.api, case_id)
    assert seen["rejected_rulings"] == []
    assert (seen["timeline"][-1]["action"], seen["timeline"][-1]["actor_id"]) == ("reject_ruling", "")


def test_what_is_not_yours_is_not_there_and_what_is_wrong_is_named(
    shop, open_shop, buyer, new_buyer, arbitrator, bought
):
    order_id = bought(9_900)
    stranger = new_buyer("别人")
    body = {"order_id": order_id, "kind": "refund_only", "reason": "灯不亮"}
    assert stranger.api.ask("POST", "/v1/disputes", body).status == 404
    for wrong, field in (
        ({"kind": "exchange"}, "kind"),
        ({"amount": 9_901}, "amount"),
        ({"reason": " "}, "reason"),
    ):
        answer = buyer.api.ask("POST", "/v1/disputes", {**body, **wrong})
        assert (answer.status, [error["field"] for error in answer.body["errors"]]) == (400, [field])
    case_id = opened(buyer, order_id)
    twice = buyer.api.ask("POST", "/v1/disputes", body)
    assert (twice.status, twice.reason, twice.body["case_id"]) == (409, "ALREADY_EXISTS", case_id)
    for caller in (stranger.api, open_shop("别家").api):
        assert caller.ask("GET", f"/v1/disputes/{case_id}").status == 404
        assert caller.get("/v1/disputes")["cases"] == []
    assert open_shop("又一家").api.ask("POST", f"/v1/disputes/{case_id}:accept").status == 404
    refusal = shop.api.ask("POST", f"/v1/disputes/{case_id}:refuse", {"reason": "没有"})
    assert [error["field"] for error in refusal.body["errors"]] == ["evidence"]
    assert arbitrator.ask("GET", "/v1/disputes").body["errors"][0]["field"] == "state"
    assert [row["case_id"] for row in shop.api.get("/v1/disputes", state="wait_merchant")["cases"]] == [case_id]
    seen = case_of(shop.api, case_id)
    assert (seen["buyer_id"], seen["timeline"][0]["actor_id"]) == ("", "")
    assert seen["order"]["lines"][0]["product_version"] >= 1
    accepted = shop.api.post(f"/v1/disputes/{case_id}:accept")["case"]
    assert accepted["state"] == "executing"
    assert until_closed(buyer, case_id, "closed_refund_full")["refunded"] == 9_900
