"""How the facade reads and writes the small things: numbers, names of the merchant's own, paths of fields."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.errors import REASONS
from services.gateway.facade import express, groups, shelves
from services.gateway.facade.answers import CODES, HELD, Declined, Listing, renamed
from services.gateway.facade.categories import Offered, own
from services.gateway.facade.products import reading
from services.gateway.facade.reader import Reader, as_number

OFFERED = Offered([{"id": 7, "name": "颜色", "values": [{"id": 70, "name": "红色"}, {"id": 71, "name": "2014"}]}])


@given(name=st.text(min_size=1), value=st.text(min_size=1))
def test_any_name_of_the_merchants_own_is_read_as_it_was_written(name, value):
    ((axis, written),) = reading.pairs(f"{own(name)}:{own(value)}".replace("\n", "")) or ((own(name), own(value)),)
    if name.strip() == name and value.strip() == value and "\n" not in name + value:
        assert (OFFERED.name(axis), OFFERED.value(name, written)) == (name, value)


def test_names_and_numbers_of_what_is_offered_mean_the_same_and_unknown_numbers_nothing():
    assert [OFFERED.name(written) for written in ("7", "颜色", "$颜色", "8")] == ["颜色", "颜色", "颜色", None]
    assert [OFFERED.value("颜色", written) for written in ("70", "2014", "$38", "38")] == ["红色", "2014", "38", None]


def test_an_attribute_is_written_by_number_as_soon_as_one_of_its_values_is_offered():
    assert OFFERED.axis("颜色", ["红色", "雾霾蓝"]) == ("7", {"红色": "70", "雾霾蓝": "$雾霾蓝"})
    assert OFFERED.axis("颜色", ["红"]) == ("$颜色", {"红": "$红"})
    assert OFFERED.axis("款式", ["红色"]) == ("$款式", {"红色": "$红色"})


@pytest.mark.parametrize(
    ("value", "number"),
    [(3, 3), ("9", 9), (" 9 ", 9), ("-3", -3), ("30.0", 30), (30.0, 30), (True, 1)]
    + [(wrong, None) for wrong in ("", "x", "3.5", 3.5, "٣", "²", "9" * 30, 1e300, float("nan"), [], {}, "-")],
)
def test_whole_numbers_come_in_many_clothes(value, number):
    assert as_number(value) == number


def test_everything_wrong_is_told_at_once_and_once():
    call = Reader({"a": "x", "b": [], "c": {"d": -1}})
    for _ in range(2):
        call.number("a")
        call.text("b")
        call.child("c").number("d")
    with pytest.raises(Declined) as refused:
        call.check()
    assert [part.split(":")[0] for part in refused.value.message.split("; ")] == ["a", "b", "c.d"]


@pytest.mark.parametrize(
    ("names", "path", "wire"),
    [
        (reading.PATHS, "images[0]", "product_base.main_img"),
        (reading.PATHS, "images[3]", "product_base.img[2]"),
        (reading.PATHS, "skus[2].original_price", "sku_list[2].ori_price"),
        (reading.PATHS, "skus[2].weight_g", "sku_list[2].weight_g"),
        (reading.PATHS, "properties[1].value", "product_base.property[1].vid"),
        (reading.PATHS, "freight.carrier_fees[1].fee", "delivery_info.express[1].price"),
        (express.PATHS, "carriers[1].destinations[2].rule.step_fee", "delivery_template.TopFee[1].Custom[2].AddFees"),
        (express.PATHS, "carriers[1].destinations[2].city", "delivery_template.TopFee[1].Custom[2].DestCity"),
        (express.PATHS, "carriers[1].default_rule.start_units", "delivery_template.TopFee[1].Normal.StartStandards"),
        (groups.PATHS, "product_ids[4]", "group_detail.product_list[4]"),
        (shelves.PATHS, "modules[1].count", "shelf_data.module_infos[1].group_info.filter.count"),
        (shelves.PATHS, "modules[1].groups[0].image", "shelf_data.module_infos[1].group_infos.groups[0].img"),
    ],
)
def test_fields_of_the_house_are_told_by_their_old_names(names, path, wire):
    assert renamed(path, names) == wire


def test_every_reason_of_the_house_has_a_code_and_no_rule_of_the_trade_makes_an_sdk_repeat_itself():
    assert REASONS.keys() <= CODES.keys()
    repeated = {name for name, code in CODES.items() if code in (-1, 40001, 40014, 42001, 45009)}
    assert repeated == {"UNAUTHENTICATED", "TOKEN_EXPIRED", "API_DAILY_QUOTA"}


def listed(*steps):
    """What a client reads of a list whose pages are these; a step that is an exception is raised."""

    async def pages():
        for step in steps:
            if isinstance(step, Exception):
                raise step
            yield step

    async def sent():
        listing = await Listing.begun("rows", pages())
        return b"".join([piece async for piece in listing.pieces()])

    return json.loads(asyncio.run(sent()))


def test_a_list_that_breaks_late_is_whole_json_that_says_so_and_one_that_breaks_early_is_only_that():
    away = Declined("UNAVAILABLE", "the catalog is away")
    assert listed([1, 2], [], [3]) == {"errcode": 0, "errmsg": "success", "rows": [1, 2, 3]}
    assert listed() == {"errcode": 0, "errmsg": "success", "rows": []}
    with pytest.raises(Declined):
        listed([1], away)
    many = list(range(HELD))
    assert listed(many, [7]) == {"errcode": 0, "errmsg": "success", "rows": [*many, 7]}
    for broken, code in ((away, CODES["UNAVAILABLE"]), (KeyError("x"), CODES["INTERNAL"])):
        told = listed(many, [7], broken)
        assert (told["errcode"], told["rows"]) == (code, [*many, 7])
        assert told["errmsg"] != "success"
