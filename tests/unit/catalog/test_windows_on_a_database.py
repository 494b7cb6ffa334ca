"""Sale windows: another price for a while, so many units and not one more, and everything as before when they are over."""

from datetime import timedelta

from services.catalog.commands import windows as commands
from services.catalog.queries import products, windows
from services.catalog.queries.images import Pictures
from services.chassis import clock
from services.chassis.fresh import Fresh
from tests.unit.catalog.making import OTHER, SHOP, product, sku
from tests.unit.catalog.test_stock_on_a_database import refused, together


def said(house, *items, kind="flash", begin=0, hours=2, buyer_limit=0, ship_by=None, external_id="p1"):
    """A window as its merchant says it; ``items``: (number of the SKU, price, quantity); ``begin`` and ``ship_by`` in hours from now."""
    now = clock.business()
    skus = house.product(external_id)["listing"]["skus"]
    return {
        "kind": kind,
        "starts_at": now + timedelta(hours=begin),
        "ends_at": now + timedelta(hours=begin + hours),
        "buyer_limit": buyer_limit,
        "ship_by": ship_by and now + timedelta(hours=ship_by),
        "items": [{"sku_id": skus[n]["sku_id"], "price": price, "quantity": quantity} for n, price, quantity in items],
    }


def opened(house, *items, key=None, shop=SHOP, product_id=None, **how):
    """A new window."""
    product_id = product_id or house.product(how.get("external_id", "p1"))["_id"]
    return commands.open_window(house.store, house.cause(key), shop, product_id, said(house, *items, **how)).document


def seen(house, shop=""):
    """(price, available) of each SKU as anybody sees it, or its merchant."""
    pictures = Pictures("http://x", Fresh(0.0))
    shown = products.product(house.store, house.product()["_id"], shop, pictures)
    return [(found["price"], found["available"]) for found in shown["skus"]]


def counted(house, window):
    """(taken, quantity) of each SKU of the window."""
    found = windows.window(house.store, SHOP, window["_id"])
    return [(item["taken"], item["quantity"]) for item in found["items"]]


def test_a_flash_sale_begins_sells_at_its_price_and_ends_by_itself(house):
    house.upsert(product())
    window = opened(house, (0, 600, 4), begin=1)
    assert seen(house) == [(1000, 10), (2000, 10)]
    assert house.reserve(house.line(1), checkout="before").document["lines"][0]["price"] == 1000
    house.later(hours=1)
    assert seen(house) == [(600, 4), (2000, 10)]
    assert seen(house, SHOP) == [(1000, 4), (2000, 10)]
    first, second = house.reserve(house.line(3), house.line(1, number=1), checkout="in").document["lines"]
    assert (first["price"], first["original_price"], first["window_id"]) == (600, 1000, window["_id"])
    assert (second["price"], "window_id" in second) == (2000, False)
    assert counted(house, window) == [(3, 4)]
    refusal = refused(house.reserve, house.line(2), checkout="more")
    assert (refusal.reason, refusal.violations[0].message) == ("OUT_OF_STOCK", "only 1 left in this sale; take fewer")
    house.later(hours=2)
    assert seen(house)[0] == (1000, 10)  # the backstop has let go both reservations
    assert house.reserve(house.line(2), checkout="after").document["lines"][0]["price"] == 1000
    assert windows.window(house.store, SHOP, window["_id"])["state"] == "ended"
    assert house.sound()


def test_a_sale_never_sells_more_than_the_stock_and_its_quantity_comes_back(house):
    house.upsert(product(skus=[sku("红", quantity=3)]))
    window = opened(house, (0, 600, 5))
    assert seen(house) == [(600, 3)]
    assert refused(house.reserve, house.line(4)).reason == "OUT_OF_STOCK"
    house.reserve(house.line(2), checkout="closes")
    house.reserve(house.line(1), checkout="pays")
    house.closed(house.line(2), checkout="closes")
    house.paid(house.line(1), checkout="pays", order="o2")
    assert counted(house, window) == [(1, 5)]
    house.closed(house.line(1), checkout="pays", order="o2", was_paid=True)
    assert counted(house, window) == [(0, 5)]
    assert house.stock() == [(3, 0)]
    assert house.sound()


def test_a_presale_sells_what_is_not_there_and_promises_a_day(house):
    house.upsert(product(skus=[sku("红", quantity=0), sku("蓝")]))
    window = opened(house, (0, 900, 5), kind="presale", hours=48, ship_by=240)
    assert seen(house) == [(900, 5), (1000, 10)]
    line = house.reserve(house.line(4)).document["lines"][0]
    assert (line["price"], line["ship_by"]) == (900, window["ship_by"])
    assert refused(house.reserve, house.line(2), checkout="c2").reason == "OUT_OF_STOCK"
    house.paid(house.line(4))
    assert (house.stock(), counted(house, window)) == ([(0, 0), (10, 0)], [(4, 5)])
    house.restock((house.line()["sku_id"], 7, "arrived"))
    assert seen(house)[0] == (900, 1)
    house.later(hours=49)
    assert seen(house)[0] == (1000, 7)
    house.closed(house.line(4), was_paid=True)
    assert (house.stock()[0], counted(house, window)) == ((7, 0), [(0, 5)])
    assert house.sound()


def test_a_late_payment_takes_its_unit_again_or_is_told_that_it_is_gone(house):
    house.upsert(product(skus=[sku("红")]))
    window = opened(house, (0, 600, 2), hours=5)
    house.reserve(house.line(1), checkout="late")
    house.later(minutes=61)
    assert counted(house, window) == [(0, 2)]
    house.paid(house.line(1), checkout="late")
    assert counted(house, window) == [(1, 2)]
    house.reserve(house.line(1), checkout="later")
    house.later(minutes=61)
    house.reserve(house.line(1), checkout="last", buyer="b2")
    house.paid(house.line(1), checkout="later", order="o2")
    (event,) = house.told("reservations")
    assert (event["type"], event["data"]["order_id"]) == ("jishi.catalog.reservation.failed.v1", "o2")
    assert counted(house, window) == [(2, 2)]
    assert house.sound()


def test_a_limit_of_the_window_counts_all_its_skus_and_only_in_it(house):
    house.upsert(product(buy_limit=5))
    opened(house, (0, 600, 9), (1, 700, 9), buyer_limit=2)
    house.reserve(house.line(1), checkout="c1")
    refusal = refused(house.reserve, house.line(1), house.line(1, number=1), checkout="c2")
    assert (refusal.reason, len(refusal.violations)) == ("BUY_LIMIT_REACHED", 2)
    house.reserve(house.line(1, number=1), checkout="c3")
    house.reserve(house.line(2), checkout="c4", buyer="b2")
    house.later(hours=2)
    house.reserve(house.line(5), checkout="c5", buyer="b3")
    assert house.sound()


def test_windows_of_one_sku_never_overlap_whoever_asks_at_once(house):
    house.upsert(product())
    opened(house, (0, 600, 1), begin=2, hours=2)
    refusal = refused(opened, house, (0, 500, 1), begin=3)
    assert (refusal.reason, refusal.violations[0].field) == ("CONDITION_UNMET", "starts_at")
    opened(house, (0, 500, 1), begin=4)
    opened(house, (1, 500, 1), begin=2)
    opened(house, (0, 500, 1), begin=0, hours=1)
    found = together(6, lambda n: opened(house, (0, 400 + n, 1), begin=20))
    assert sum(one == "CONDITION_UNMET" for one in found) == 5
    assert house.store.windows.count_documents({}) == house.store.window_units.count_documents({}) == 5


def test_wrong_windows_are_refused_by_field(house):
    house.upsert(product())
    wrong = said(house, (0, 1000, 0), (0, 600, 1), begin=1, hours=0, buyer_limit=-1, ship_by=1)
    product_id = house.product()["_id"]
    refusal = refused(commands.open_window, house.store, house.cause(), SHOP, product_id, wrong)
    fields = {"ends_at", "ship_by", "items[0].price", "items[0].quantity", "items[1].sku_id", "buyer_limit"}
    assert {found.field for found in refusal.violations} == fields
    refusal = refused(opened, house, (0, 900, 1), kind="presale", hours=5, ship_by=4)
    assert [found.field for found in refusal.violations] == ["ship_by"]
    assert refused(opened, house, (0, 600, 1), hours=24 * 61).violations[0].field == "ends_at"
    assert refused(opened, house, (0, 600, 1), begin=24 * 181).violations[0].field == "starts_at"
    assert refused(opened, house, (0, 600, 1), shop=OTHER).reason == "NOT_FOUND"
    assert refused(opened, house, (0, 600, 1), product_id="p-unknown").reason == "NOT_FOUND"
    assert house.store.windows.count_documents({}) == 0


def test_asking_twice_makes_one_window_and_answers_as_the_first_time(house):
    house.upsert(product())
    window = opened(house, (0, 600, 3), key="same")
    edit(house, window, (0, 600, 5))
    again = commands.open_window(
        house.store, house.cause("same"), SHOP, house.product()["_id"], said(house, (0, 600, 3))
    )
    assert again.replayed
    assert (again.document["items"], again.document["version"]) == (window["items"], 1)
    assert house.store.windows.count_documents({}) == 1


def edit(house, window, *items, key=None, etag=None, shop=SHOP, **changes):
    """Replace the terms of a window."""
    row = house.store.windows.find_one({"_id": window["_id"]})
    wanted = {**row, "items": said(house, *items)["items"], **changes}
    etag = str(row["version"]) if etag is None else etag
    return commands.update_window(house.store, house.cause(key), shop, window["_id"], etag, wanted)


def test_what_buyers_can_see_of_a_window_stays(house):
    house.upsert(product())
    window = opened(house, (0, 600, 3), begin=1)
    moved = edit(house, window, (0, 500, 4), buyer_limit=2).document
    assert (moved["items"][0]["price"], moved["version"]) == (500, 2)
    house.later(hours=1)
    house.reserve(house.line(2))
    refusal = refused(edit, house, window, (0, 400, 4), buyer_limit=3)
    assert {found.field for found in refusal.violations} == {"buyer_limit", "items[0].price"}
    assert refused(edit, house, window, (1, 500, 4)).violations[0].field == "items"
    assert refused(edit, house, window, (0, 500, 1)).violations[0].field == "items[0].quantity"
    assert refused(edit, house, window, (0, 500, 4), etag="1").reason == "ETAG_MISMATCH"
    assert refused(edit, house, window, (0, 500, 4), etag="").reason == "INVALID_ARGUMENT"
    assert refused(edit, house, window, (0, 500, 4), shop=OTHER).reason == "NOT_FOUND"
    first = edit(house, window, (0, 500, 2), key="fewer", ends_at=window["ends_at"] + timedelta(hours=1))
    again = edit(house, window, (0, 500, 2), key="fewer", ends_at=window["ends_at"] + timedelta(hours=1))
    assert (again.replayed, again.document["version"]) == (True, first.document["version"])
    assert refused(house.reserve, house.line(1), checkout="c2", buyer="b2").reason == "OUT_OF_STOCK"
    assert (counted(house, window), house.sound()) == ([(2, 2)], True)
    house.later(hours=3)
    assert refused(edit, house, window, (0, 500, 9)).reason == "WRONG_STATE"


def test_a_cancelled_window_sells_nothing_more_and_keeps_what_it_sold(house):
    house.upsert(product())
    window = opened(house, (0, 600, 3))
    house.reserve(house.line(1))
    assert refused(commands.cancel_window, house.store, house.cause(), OTHER, window["_id"]).reason == "NOT_FOUND"
    first = commands.cancel_window(house.store, house.cause("stop"), SHOP, window["_id"])
    assert commands.cancel_window(house.store, house.cause("stop"), SHOP, window["_id"]).replayed
    assert not commands.cancel_window(house.store, house.cause(), SHOP, window["_id"]).changed
    assert first.document["state"] == "cancelled"
    assert seen(house)[0] == (1000, 9)
    house.paid(house.line(1))
    assert house.reserve(house.line(1), checkout="c2").document["lines"][0]["price"] == 1000
    assert counted(house, window) == [(1, 3)]
    opened(house, (0, 500, 3))
    assert house.sound()
    ended = opened(house, (1, 500, 3), hours=1)
    house.later(hours=1)
    assert refused(commands.cancel_window, house.store, house.cause(), SHOP, ended["_id"]).reason == "WRONG_STATE"


def test_a_reservation_that_read_the_old_terms_reads_again(house, monkeypatch):
    house.upsert(product())
    window = opened(house, (0, 600, 3))
    read, cancelled = house.desk.store.products_by_id, []

    def overtaken(product_ids):
        rows = read(product_ids)
        if not cancelled:
            cancelled.append(commands.cancel_window(house.store, house.cause(), SHOP, window["_id"]))
        return rows

    monkeypatch.setattr(house.desk.store, "products_by_id", overtaken)
    assert house.reserve(house.line(1)).document["lines"][0]["price"] == 1000
    assert (counted(house, window), house.sound()) == ([(0, 3)], True)


def test_a_window_sells_exactly_its_units_to_a_crowd_with_limits(house):
    house.upsert(product(skus=[sku("红", quantity=100)]))
    window = opened(house, (0, 600, 20), buyer_limit=1)
    line = house.line()
    found = together(60, lambda n: house.reserve(line, checkout=f"c{n}", buyer=f"b{n // 2}"))
    sold = [one for one in found if not isinstance(one, str)]
    assert len(sold) == 20
    assert {one for one in found if isinstance(one, str)} <= {"OUT_OF_STOCK", "BUY_LIMIT_REACHED"}
    assert len({one.document["buyer_id"] for one in sold}) == 20
    assert counted(house, window) == [(20, 20)]
    assert house.sound()


def test_windows_are_listed_newest_first_page_by_page(house):
    house.upsert(product(), product("p2"))
    made = [opened(house, (0, 600, 1), begin=10 * n) for n in range(3)]
    other = opened(house, (0, 600, 1), external_id="p2")
    page, last = windows.windows(house.store, SHOP, "", None, 3)
    assert [row["window_id"] for row in page] == [row["_id"] for row in (other, *made[:0:-1])]
    rest, end = windows.windows(house.store, SHOP, "", last, 3)
    assert ([row["window_id"] for row in rest], end) == ([made[0]["_id"]], None)
    mine, _ = windows.windows(house.store, SHOP, house.product("p2")["_id"], None, 3)
    assert [row["window_id"] for row in mine] == [other["_id"]]
    assert windows.windows(house.store, OTHER, "", None, 3) == ([], None)
