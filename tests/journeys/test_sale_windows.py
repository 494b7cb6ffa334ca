"""Flash sales and presales through HTTP, over two copies of every server: exact for a crowd, at the right price, shipped when promised."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from services.cli.demo.catalog import product
from services.cli.demo.trade import ADDRESS, open_payment, pay
from tests.backends.processes import wait_until
from tests.journeys import guides


def listed(shop, name="灯", stock=50, price=1000):
    """A listed product of one SKU: (product id, SKU id)."""
    made = shop.api.post("/v1/products:bulkUpsert", {"items": [product(name, name, price, stock)]})["results"][0]
    found = shop.api.get(f"/v1/products/{made['product_id']}")["product"]
    return made["product_id"], found["skus"][0]["sku_id"]


def now_of(shop, product_id):
    """The business clock, as the change of a product tells it."""
    told = shop.api.get(f"/v1/products/{product_id}")["product"]["update_time"]
    return datetime.fromisoformat(told)


def opened(shop, product_id, sku_id, *, hours=1, price=600, quantity=5, **more):
    ends_at = now_of(shop, product_id) + timedelta(hours=hours)
    items = [{"sku_id": sku_id, "price": price, "quantity": quantity}]
    body = {"product_id": product_id, "kind": "flash", "ends_at": ends_at.isoformat(), "items": items, **more}
    return shop.api.post("/v1/sale-windows", body)["window"]


def shown(api, product_id, price):
    """The SKU as anybody sees it, once its price is ``price``."""
    found = []

    def there():
        found[:] = api.get(f"/v1/products/{product_id}")["product"]["skus"]
        return found[0]["price"] == price

    wait_until(there, f"the price to be {price}")
    return found[0]


def asked(person, product_id, sku_id, quantity=1):
    lines = [{"product_id": product_id, "sku_id": sku_id, "quantity": quantity}]
    return person.api.ask("POST", "/v1/checkouts", {"lines": lines, "address": ADDRESS})


def test_a_crowd_buys_exactly_what_the_flash_sale_has(api, shop, new_buyer):
    product_id, sku_id = listed(shop)
    window = opened(shop, product_id, sku_id, quantity=6, buyer_limit=1)
    assert (window["state"], window["items"][0]["price"]) == ("running", 600)
    assert shown(api, product_id, 600)["available"] == 6
    crowd = [new_buyer(f"买家{n}") for n in range(9)]
    with ThreadPoolExecutor(18) as pool:
        answers = list(pool.map(lambda n: (n // 2, asked(crowd[n // 2], product_id, sku_id)), range(18)))
    placed = [(buyer, answer.body["checkout"]) for buyer, answer in answers if answer.status < 300]
    refused = {answer.body["reason"] for _, answer in answers if answer.status >= 300}
    assert len(placed) == len({buyer for buyer, _ in placed}) == 6
    assert refused <= {"OUT_OF_STOCK", "BUY_LIMIT_REACHED"}
    assert {checkout["orders"][0]["lines"][0]["price"] for _, checkout in placed} == {600}
    told = shop.api.get(f"/v1/sale-windows/{window['window_id']}")["window"]
    assert (told["items"][0]["taken"], told["items"][0]["quantity"]) == (6, 6)
    shop.api.post(f"/v1/sale-windows/{window['window_id']}:cancel")
    assert shown(api, product_id, 1000)["available"] == 44
    late = asked(crowd[0], product_id, sku_id).body["checkout"]["orders"][0]["lines"][0]
    assert (late["price"], late["window_id"]) == (1000, "")


def test_a_presale_is_late_only_after_its_promised_day(shop, buyer):
    product_id, sku_id = listed(shop, stock=0)
    ship_by = now_of(shop, product_id) + timedelta(days=20)
    opened(shop, product_id, sku_id, kind="presale", price=900, hours=48, ship_by=ship_by.isoformat())
    checkout = asked(buyer, product_id, sku_id, 2).body["checkout"]
    line = checkout["orders"][0]["lines"][0]
    assert (line["price"], datetime.fromisoformat(line["ship_by"])) == (900, ship_by)
    pay(buyer.api, open_payment(buyer.api, checkout["checkout_id"]))
    path = f"/v1/orders/{checkout['orders'][0]['order_id']}"
    wait_until(lambda: shop.api.get(path)["order"]["state"] == "paid", "the order to be paid")
    assert datetime.fromisoformat(shop.api.get(path)["order"]["ship_by"]) == ship_by


def test_wrong_and_foreign_windows_are_refused(shop, open_shop, buyer):
    product_id, sku_id = listed(shop)
    body = {"product_id": product_id, "kind": "flash", "items": [{"sku_id": sku_id, "price": 1000, "quantity": 0}]}
    answer = shop.api.ask("POST", "/v1/sale-windows", body)
    assert answer.status == 400
    assert {found["field"] for found in answer.body["errors"]} == {"ends_at", "items[0].price", "items[0].quantity"}
    window = opened(shop, product_id, sku_id)
    path, other = f"/v1/sale-windows/{window['window_id']}", open_shop("别家")
    items = [{"sku_id": sku_id, "price": 600, "quantity": 9}]
    edit = {"etag": window["etag"], "ends_at": window["ends_at"], "items": items}
    assert other.api.ask("GET", path).status == 404
    assert other.api.ask("PUT", path, edit).status == 404
    assert other.api.ask("POST", f"{path}:cancel").status == 404
    assert other.api.get("/v1/sale-windows")["windows"] == []
    assert buyer.api.ask("GET", path).status == 403
    changed = shop.api.ask("PUT", path, edit).body["window"]
    assert (changed["items"][0]["quantity"], changed["etag"]) == (9, "2")
    assert shop.api.ask("PUT", path, edit).body["reason"] == "ETAG_MISMATCH"
    assert [found["window_id"] for found in shop.api.get("/v1/sale-windows")["windows"]] == [window["window_id"]]


def test_the_session_of_the_guide(stack, shop):
    listed(shop, "FLASH-1", price=19900)
    told = guides.run(guides.sessions("docs/sales.md")[0], stack, TOKEN=shop.api.token).strip().split("\n")
    price, edited, cancelled = told
    assert price == "9900"
    assert json.loads(edited)["window"]["items"][0]["quantity"] == 20
    assert json.loads(cancelled)["window"]["state"] == "cancelled"
