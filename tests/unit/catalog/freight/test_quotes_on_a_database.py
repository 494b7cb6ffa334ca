"""Quotes and reservations on a real database: what a quote says a reservation takes."""

from services.catalog.commands.reservations import Carriage
from services.catalog.queries import freight as queries
from services.chassis.regions import Place
from tests.unit.catalog.freight.templates import NEAR, RULE, carrier, change, make, refused, to, uses
from tests.unit.catalog.making import OTHER, SHOP, product

HANGZHOU = Place("浙江省", "杭州市")


def quote(house, *lines, place=HANGZHOU):
    return queries.quote(house.store, list(lines), place)


def test_a_quote_tells_each_shop_and_class_with_how_it_comes_about(house):
    ours = make(house, carrier("express", RULE, to("浙江省"), to("浙江省", "宁波市", RULE)), carrier("ems"))
    theirs = make(house, carrier("ems"), shop=OTHER)
    house.upsert(uses(ours), product("p2", freight={"kind": "flat", "fee": 60}))
    house.upsert(uses(theirs, "p3"), shop=OTHER)
    row = house.product("p3", OTHER)
    line = {"product_id": row["_id"], "sku_id": row["listing"]["skus"][0]["sku_id"], "quantity": 3}
    first, second = quote(house, house.line(2), house.line(1, "p2"), line, house.line(1, number=1))
    assert (first["shop_id"], first["currency"], second["shop_id"]) == (SHOP, "CNY", OTHER)
    assert [(found["carrier_class"], found["fee"]) for found in first["carriers"]] == [("express", 760), ("ems", 1260)]
    assert [(found["carrier_class"], found["fee"]) for found in second["carriers"]] == [("ems", 1200)]
    together, flat = first["carriers"][0]["parts"]
    assert flat == {"basis": "flat", "fee": 60, "lines": [1]}
    assert together == {
        "basis": "template",
        "fee": 700,
        "lines": [0, 3],
        "template_id": ours["template_id"],
        "template_name": "标准",
        "payer": "buyer",
        "valuation": "piece",
        "units": 3,
        "reach": "province",
        "rule": NEAR,
    }


def test_a_place_that_the_list_does_not_name_has_the_rule_of_its_province(house):
    made = make(house, carrier("express", RULE, to("甘肃省"), to("甘肃省", "兰州市", RULE)))
    house.upsert(uses(made))
    (found,) = quote(house, house.line(1), place=Place("甘肃省"))
    assert (found["carriers"][0]["fee"], found["carriers"][0]["parts"][0]["reach"]) == (500, "province")


def test_a_quote_reads_three_times_and_once_more_for_each_fifty_products(house):
    templates = [make(house) for _ in range(3)]
    items = [uses(templates[number % 3], f"p{number}") for number in range(60)]
    house.upsert(*items)
    asked = [house.line(1, f"p{number}") for number in range(60)]
    for lines in (asked[:1], asked):
        house.counter.names.clear()
        assert quote(house, *lines)[0]["carriers"]
        assert house.counter.names == ["find"] * (3 if len(lines) == 1 else 4), "products are asked for by fifty"


def test_what_cannot_be_quoted_is_refused_by_field(house):
    house.upsert(product(), product("p2", listed=False))
    for lines, place, field in (
        ([house.line(1)], Place("浙江省", "杭州"), "destination.city"),
        ([house.line(1)], Place(), "destination.province"),
        ([house.line(0)], HANGZHOU, "lines[0].quantity"),
        ([], HANGZHOU, "lines"),
        ([house.line(1)] * 101, HANGZHOU, "lines"),
        ([house.line(1), house.line(1, "p2")], HANGZHOU, "lines[1].product_id"),
        ([{**house.line(1), "sku_id": "s?"}], HANGZHOU, "lines[0].sku_id"),
        ([{**house.line(1), "product_id": "p?"}], HANGZHOU, "lines[0].product_id"),
    ):
        assert refused(quote, house, *lines, place=place).violations[0].field == field


def charged(outcome):
    return [(line["freight_fee"], line["carrier_class"]) for line in outcome.document["lines"]]


def test_a_reservation_knows_where_it_goes_and_shares_the_fee_among_its_lines(house):
    made = make(house, carrier("express", RULE, to("浙江省")), carrier("post", {**RULE, "start_fee": 7}))
    house.upsert(uses(made), product("p2", freight={"kind": "flat", "fee": 60}))
    lines = [house.line(1), house.line(1, "p2"), house.line(2, number=1)]
    there = house.reserve(*lines, carriage=Carriage(HANGZHOU))
    assert charged(there) == [(233, "express"), (60, "express"), (467, "express")]
    chosen = Carriage(HANGZHOU, [{"shop_id": SHOP, "carrier_class": "post"}])
    assert sum(fee for fee, _ in charged(house.reserve(*lines, checkout="c2", carriage=chosen))) == 207 + 60
    assert house.sound()


def test_a_reservation_that_does_not_know_where_it_goes_takes_the_rule_of_the_country_or_the_default(house):
    default = make(house, carrier("ems", NEAR), carrier("express", RULE, to("浙江省")))
    country = make(house, carrier("post"), carrier("ems", RULE, to(rule=NEAR)))
    house.upsert(uses(default), uses(country, "p2"))
    assert charged(house.reserve(house.line(2))) == [(1100, "express")]
    assert charged(house.reserve(house.line(2, "p2"), checkout="c2")) == [(600, "ems")]
    assert charged(house.reserve(house.line(1), house.line(1, "p2"), checkout="c3")) == [(500, "ems"), (500, "ems")]


def test_what_a_quote_says_a_reservation_takes(house):
    made = make(house, carrier("express", RULE, to("浙江省")), carrier("ems"))
    fees = [{"carrier_class": "express", "fee": 90}, {"carrier_class": "ems", "fee": 40}]
    house.upsert(uses(made), product("p2", freight={"kind": "carriers", "carrier_fees": fees}))
    lines = [house.line(3), house.line(2, "p2")]
    for number, offer in enumerate(quote(house, *lines)[0]["carriers"]):
        carriage = Carriage(HANGZHOU, [{"shop_id": SHOP, "carrier_class": offer["carrier_class"]}])
        taken = charged(house.reserve(*lines, checkout=f"c{number}", carriage=carriage))
        assert sum(fee for fee, _ in taken) == offer["fee"]
        assert {name for _, name in taken} == {offer["carrier_class"]}


def test_lines_that_no_class_carries_together_hold_nothing(house):
    one, other = make(house, carrier("post")), make(house, carrier("ems"))
    house.upsert(uses(one), uses(other, "p2"))
    assert quote(house, house.line(1), house.line(1, "p2"))[0]["carriers"] == []
    refusal = refused(house.reserve, house.line(1), house.line(1, "p2"))
    assert refusal.reason == "CONDITION_UNMET"
    assert [found.field for found in refusal.violations] == ["lines[0].product_id", "lines[1].product_id"]
    assert house.stock() == [(10, 0), (10, 0)]
    assert house.store.reservations.count_documents({}) == 0


def test_a_class_or_a_place_that_is_wrong_is_named(house):
    house.upsert(uses(make(house)))
    for carriage, field in (
        (Carriage(Place("浙江省", "杭州")), "destination.city"),
        (Carriage(HANGZHOU, [{"shop_id": SHOP, "carrier_class": "ems"}]), "carriers[0].carrier_class"),
        (Carriage(HANGZHOU, [{"shop_id": OTHER, "carrier_class": "ems"}]), "carriers[0].shop_id"),
        (Carriage(HANGZHOU, [{"shop_id": SHOP, "carrier_class": "express"}] * 2), "carriers[1].shop_id"),
    ):
        assert refused(house.reserve, house.line(1), carriage=carriage).violations[0].field == field
    assert house.stock() == [(10, 0), (10, 0)]


def test_the_same_checkout_keeps_its_freight_and_goes_nowhere_else(house):
    made = make(house)
    house.upsert(uses(made))
    first = house.reserve(house.line(2), carriage=Carriage(HANGZHOU))
    change(house, made, carrier("express", NEAR))
    again = house.reserve(house.line(2), carriage=Carriage(HANGZHOU))
    assert (again.replayed, charged(again)) == (True, charged(first))
    assert refused(house.reserve, house.line(2)).reason == "IDEMPOTENCY_KEY_REUSED"
    assert refused(house.reserve, house.line(2), carriage=Carriage(Place("浙江省"))).reason == "IDEMPOTENCY_KEY_REUSED"
    assert charged(house.reserve(house.line(2), checkout="c2")) == [(600, "express")]


def test_reserving_without_templates_asks_for_none_and_with_them_once(house):
    house.upsert(*(product(f"p{number}") for number in range(5)))
    house.upsert(*(uses(make(house), f"t{number}") for number in range(5)))

    def asked(lines, checkout):
        house.counter.names.clear()
        house.reserve(*lines, checkout=checkout)
        return house.counter.names.count("find")

    plain = asked([house.line(1, f"p{number}") for number in range(5)], "c1")
    assert asked([house.line(1, f"t{number}") for number in range(5)], "c2") == plain + 1
