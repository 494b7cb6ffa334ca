"""The sessions of docs/payments.md, run as they stand there."""

import json
from datetime import datetime

from services.chassis.calendar import day
from services.cli.demo.trade import Goods, open_payment, pay, place
from tests.backends.processes import wait_until
from tests.journeys import guides

GUIDE = "docs/payments.md"


def test_the_bills_of_the_guide_add_up(stack, buyer, shop, tmp_path):
    goods = Goods(shop.api, "tea", 12_800, 5)
    checkout_id = place(buyer.api, [goods.line()])["checkout_id"]
    pay(buyer.api, open_payment(buyer.api, checkout_id))
    path = f"/v1/checkouts/{checkout_id}"
    wait_until(lambda: buyer.api.get(path)["checkout"]["state"] == "paid", "the checkout to be paid")
    today = day(datetime.fromisoformat(buyer.api.get("/v1/orders")["orders"][0]["created_at"]))
    names = {"SHOP": shop.shop_id, "DAY": today, "TOKEN": shop.api.token}
    told, *flow = guides.run(guides.sessions(GUIDE)[1], stack, tmp_path, **names).splitlines()
    bill = json.loads(told)
    assert bill["opening"] + sum(row["amount"] for row in bill["rows"]) == bill["closing"] == 12_800
    assert flow[-1] == "`1,`1,`128.00,`0,`0.00"


def test_the_session_of_the_guide_pays_as_it_says(stack, buyer, shop, tmp_path):
    checkout_id = place(buyer.api, [Goods(shop.api, "tea", 12_800, 5).line()])["checkout_id"]
    names = {"TOKEN": buyer.api.token, "CHECKOUT": checkout_id}
    told = guides.run(guides.sessions(GUIDE)[0], stack, tmp_path, **names).split("\n")
    assert told[:-1] == ["小店", "BANK_ERROR", "closed", "SUCCESS", "paid", "paid", "7200"]
    assert (tmp_path / "code.png").read_bytes().startswith(b"\x89PNG")
