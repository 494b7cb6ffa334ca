"""A buyer's address book, and what is said beside the goods when an order is placed, on a real database."""

import pytest

from services.chassis import regions
from services.chassis.commit import Cause
from services.chassis.errors import Refusal
from services.orders.commands import addresses
from services.orders.model import addresses as model
from services.orders.queries import addresses as queries
from tests.unit.orders import making
from tests.unit.orders.house import Catalog, House, two_shops

COMPANY = {"kind": "company", "title": "某某科技有限公司", "tax_number": "91350100m000100y43"}


@pytest.fixture
def house(memory_world):
    found = House(memory_world.settings)
    yield found
    found.close()


def add(house, key, *, is_default=False, buyer=making.BUYER, **changed):
    address = {**making.ADDRESS, **changed}
    return addresses.add(house.store, Cause(f"cmd:{key}", "b"), buyer, address, is_default=is_default).answer


def refusal(attempt):
    with pytest.raises(Refusal) as caught:
        attempt()
    return caught.value


def names(house, buyer=making.BUYER):
    return [(row["address"]["receiver_name"], row["is_default"]) for row in queries.book(house.store, buyer)]


def test_the_first_is_the_default_until_another_is_or_it_is_deleted(house):
    assert names(house) == []
    home = add(house, "a", receiver_name="家")["address_id"]
    office = add(house, "b", receiver_name="公司", is_default=True)["address_id"]
    assert names(house) == [("公司", True), ("家", False)]
    addresses.make_default(house.store, Cause("cmd:c"), making.BUYER, home)
    assert names(house) == [("家", True), ("公司", False)]
    told = addresses.delete(house.store, Cause("cmd:d"), making.BUYER, home).answer
    assert (told, names(house)) == ({"default_address_id": office}, [("公司", True)])
    assert addresses.delete(house.store, Cause("cmd:d"), making.BUYER, home).replayed
    addresses.delete(house.store, Cause("cmd:e"), making.BUYER, office)
    assert names(house) == []


def test_a_repetition_adds_once_and_a_book_has_fifty_at_most(house):
    first = add(house, "k0")
    house.at_once(*[lambda key=key: add(house, f"k{key % 25}", zone=f"{key}") for key in range(1, 50)])
    assert len(queries.book(house.store, making.BUYER)) == 25
    for key in range(25, 50):
        add(house, f"k{key}")
    full = refusal(lambda: add(house, "k50"))
    assert (full.reason, full.info["limit"]) == ("CONDITION_UNMET", "50")
    assert add(house, "k0") == first


def test_a_change_needs_what_was_read_and_nobody_touches_anothers(house):
    address_id = add(house, "a")["address_id"]

    def change(key, etag, buyer=making.BUYER, **changed):
        text = {**making.ADDRESS, **changed}
        return addresses.change(house.store, Cause(f"cmd:{key}"), buyer, address_id, etag, text).answer

    assert change("b", "1", zone="越秀区")["etag"] == "2"
    assert refusal(lambda: change("c", "1")).reason == "ETAG_MISMATCH"
    assert refusal(lambda: change("d", "")).violations[0].field == "etag"
    found = refusal(lambda: change("e", "2", province="广东", city="", mobile="x"))
    assert [each.field for each in found.violations] == ["address.city", "address.mobile", "address.province"]
    found = refusal(lambda: change("e", "2", city="杭州市"))
    assert found.violations[0].message == '"杭州市" belongs to 浙江省, not to 广东省'
    found = refusal(lambda: change("e", "2", city="广州"))
    assert found.violations[0].message == '"广州" is not in the list, did you mean 广州市?'
    tries = [
        lambda who: change("f", "2", buyer=who),
        lambda who: addresses.delete(house.store, Cause("cmd:g"), who, address_id),
        lambda who: addresses.make_default(house.store, Cause("cmd:h"), who, address_id),
        lambda who: queries.one(house.store, who, address_id),
    ]
    add(house, "other", buyer="usr_3")
    for stranger in ("usr_2", "usr_3"):
        for attempt in tries:
            assert refusal(lambda act=attempt, who=stranger: act(who)).reason == "NOT_FOUND"
    assert queries.one(house.store, making.BUYER, address_id)["address"]["zone"] == "越秀区"


def test_a_city_that_the_list_lacks_goes_by_its_province():
    places = regions.load()
    for province, city, charged in (
        ("甘肃省", "天水市", ""),
        ("甘肃省", "兰州市", "兰州市"),
        ("浙江省", "杭州市", "杭州市"),
    ):
        address = {**making.ADDRESS, "province": province, "city": city}
        assert model.wrong("", address, 200, places) == []
        assert model.destination(address, places) == {"province": province, "city": charged}


def test_an_order_keeps_the_address_it_was_placed_with(house):
    address_id = add(house, "a")["address_id"]
    asked = {"address": None, "address_id": address_id}
    house.counter.names.clear()
    placed = house.place("k", **asked)
    assert house.counter.names == ["find", "bulkWrite", "bulkWrite", "commitTransaction"], "the book, the placing"
    addresses.delete(house.store, Cause("cmd:d"), making.BUYER, address_id)
    assert house.order(placed)["address"] == making.ADDRESS
    assert house.place("k", **asked).replayed
    gone = refusal(lambda: house.place("k2", **asked))
    both = refusal(lambda: house.place("k3", address_id=address_id))
    assert [each.violations[0].field for each in (gone, both)] == ["address_id", "address_id"]


def test_notes_and_invoice_reach_the_shops_they_are_for(house):
    notes = [{"shop_id": "shop_2", "notes": "请写贺卡"}]
    placed = house.place("k", catalog=two_shops(), notes="请包好", shop_notes=notes, invoice=COMPANY)
    assert [house.order(placed, n)["notes"] for n in (0, 1)] == ["请包好", "请写贺卡"]
    assert house.order(placed, 1)["invoice"] == {**COMPANY, "tax_number": "91350100M000100Y43"}
    nobody = refusal(lambda: house.place("k2", catalog=Catalog(), shop_notes=notes))
    assert nobody.violations[0].field == "shop_notes[0].shop_id"
    twice = refusal(lambda: house.place("k3", catalog=two_shops(), shop_notes=[*notes, *notes]))
    assert twice.violations[0].field == "shop_notes[1].shop_id"


@pytest.mark.parametrize(
    ("invoice", "fields"),
    [
        ({**COMPANY, "tax_number": "91350100M000100Y44"}, ["invoice.tax_number"]),
        ({**COMPANY, "tax_number": ""}, ["invoice.tax_number"]),
        ({**COMPANY, "tax_number": "91350100M00010OY43"}, ["invoice.tax_number"]),
        ({"kind": "personal", "title": "张三", "tax_number": "1"}, ["invoice.tax_number"]),
        ({"kind": "", "title": " ", "tax_number": ""}, ["invoice.kind", "invoice.title"]),
        ({"kind": "personal", "title": "张三", "tax_number": ""}, []),
        ({**COMPANY, "tax_number": "440100123456789"}, []),
    ],
)
def test_what_an_invoice_must_say(house, invoice, fields):
    if not fields:
        assert house.order(house.place(invoice=invoice))["invoice"]["title"] == invoice["title"]
        return
    assert [each.field for each in refusal(lambda: house.place(invoice=invoice)).violations] == fields
