"""Products that use freight templates on a real database, whoever changes what meanwhile."""

import contextlib
import threading

import pytest

from services.catalog.commands import bulk
from services.catalog.model.freight import template_key
from services.catalog.queries import freight as queries
from services.catalog.queries import imports as import_queries
from services.chassis.errors import Refusal
from tests.unit.catalog.freight.templates import carrier, change, delete, make, problems, refused, uses
from tests.unit.catalog.making import SHOP, product, sku


def test_a_product_uses_a_template_that_is_there(house):
    made = make(house)
    outcome = house.upsert(uses(made), uses({"template_id": 5}, "p2"))
    assert (outcome.document["created"], outcome.document["failed"]) == (1, 1)
    assert problems(outcome) == [("freight.template_id", "FREIGHT_TEMPLATE_UNKNOWN")]
    assert house.product()["freight_key"] == template_key(SHOP, made["template_id"])
    assert house.product()["listing"]["freight"] == {"kind": "template", "fee": 0, "template_id": made["template_id"]}
    assert house.upsert(uses(made)).document["unchanged"] == 1


def test_the_template_of_a_product_can_be_changed_and_left(house):
    first, second = make(house), make(house)
    house.upsert(uses(first))
    house.upsert(uses(second))
    assert house.product()["freight_key"] == template_key(SHOP, second["template_id"])
    delete(house, first)
    house.upsert(uses(second, name="新名"))
    house.upsert(product(freight={"kind": "flat", "fee": 5}))
    assert "freight_key" not in house.product()
    assert house.product()["listing_version"] == 4
    delete(house, second)


@pytest.mark.parametrize(("valuation", "field"), [("weight", "weight_g"), ("volume", "volume_cm3")])
def test_a_sku_says_what_its_template_counts(house, valuation, field):
    made = make(house, valuation=valuation)
    skus = [sku("红", weight_g=5, volume_cm3=5), sku("蓝", weight_g=0, volume_cm3=0)]
    assert problems(house.upsert(uses(made, skus=skus))) == [(f"skus[1].{field}", "MEASURE_MISSING")]
    skus = [sku("红", **{field: 5}), sku("蓝", **{field: 1})]
    assert house.upsert(uses(made, skus=skus)).document["created"] == 1


def test_what_products_use_is_not_deleted_and_they_are_named_with_the_fix(house):
    made = make(house)
    house.upsert(*(uses(made, f"p{number}") for number in range(7)))
    refusal = refused(delete, house, made)
    assert (refusal.reason, refusal.violations[0].field) == ("CONDITION_UNMET", "template_id")
    named = [row["_id"] for row in house.store.products.find({}) if row["_id"] in refusal.message]
    assert len(named) == 5
    assert "(商品 p0)" in refusal.message
    assert refusal.message.endswith("and more; give them another freight first")
    house.store.products.update_many({"external_id": {"$ne": "p3"}}, {"$set": {"state": "deleted"}})
    (still,) = refused(delete, house, made).info["product_ids"].split()
    assert still == house.product("p3")["_id"]
    house.upsert(product("p3"))
    delete(house, made)


def test_a_deleted_product_uses_no_template_any_more(house):
    made = make(house)
    house.upsert(uses(made, listed=False))
    call = bulk.Bulk(house.store, house.cause(), SHOP)
    assert bulk.delete(call, [bulk.product_ref({"product_id": "", "external_id": "p1"})]).answer["deleted"] == 1
    (gone,) = house.store.products.find({})
    assert (gone["state"], "freight_key" in gone) == ("deleted", False)
    assert house.store.template_users(made["_id"], 5) == []
    delete(house, made)


def test_what_a_template_counts_stays_while_products_use_it(house):
    made = make(house)
    house.upsert(uses(made))
    refusal = refused(change, house, made, valuation="weight")
    assert (refusal.reason, refusal.violations[0].field) == ("CONDITION_UNMET", "valuation")
    changed = change(house, made, carrier("ems"), valuation="piece").document
    house.upsert(product())
    assert change(house, changed, valuation="weight").document["valuation"] == "weight"


def test_who_uses_a_template_is_asked_only_when_it_matters(house, monkeypatch):
    made = make(house)
    house.upsert(uses(made))
    monkeypatch.setattr(house.store, "template_users", None)
    assert change(house, made, carrier("ems")).document["version"] == 2


@pytest.mark.parametrize("act", [delete, lambda house, made: change(house, made, valuation="weight")])
def test_a_product_that_begins_to_use_it_meanwhile_wins(house, monkeypatch, act):
    """Between looking for users and writing, a product comes: the write must not go through."""
    made = make(house)
    users = house.store.template_users

    def slowly(key, most):
        found = users(key, most)
        house.upsert(uses(made))
        return found

    monkeypatch.setattr(house.store, "template_users", slowly)
    assert refused(act, house, made).reason == "VERSION_CONFLICT"
    monkeypatch.setattr(house.store, "template_users", users)
    assert refused(act, house, made).reason == "CONDITION_UNMET"
    assert queries.template(house.store, SHOP, made["template_id"])["valuation"] == "piece"


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (delete, ("freight.template_id", "FREIGHT_TEMPLATE_UNKNOWN")),
        (lambda house, made: change(house, made, valuation="volume"), ("skus[0].volume_cm3", "MEASURE_MISSING")),
    ],
)
def test_a_template_that_goes_or_counts_otherwise_meanwhile_wins_over_a_product(house, monkeypatch, act, told):
    """Between reading the template and writing the product, the template changes: the product is judged again."""
    made = make(house)
    read, left = house.store.templates, [act]

    def slowly(shop_id, wanted):
        found = read(shop_id, wanted)
        if left:
            left.pop()(house, made)
        return found

    monkeypatch.setattr(house.store, "templates", slowly)
    assert told in problems(house.upsert(uses(made)))
    assert house.product() is None


def test_products_and_a_deletion_racing_leave_no_product_without_its_template(house):
    for number in range(6):
        made = make(house)
        outcomes = []

        def put(made=made, number=number, outcomes=outcomes):
            outcomes.append(house.upsert(uses(made, f"r{number}"), key=f"race{number}").document)

        thread = threading.Thread(target=put)
        thread.start()
        with contextlib.suppress(Refusal):
            delete(house, made)
        thread.join(30)
        (outcome,) = outcomes
        gone = house.store.freight_templates.find_one({"_id": made["_id"]})["state"] == "deleted"
        assert outcome["created"] == (not gone), (gone, outcome)


CSV = "external_id,title,price,axis1,value1,weight_g,freight_template\n"


def failures(house, job):
    rows, _ = import_queries.results(house.store, SHOP, job["import_id"], "failed", None, 100)
    return [(row["row"], row["external_id"], row["field"], row["reason"]) for row in rows]


@pytest.mark.parametrize("how", [{}, {"dry_run": True}, {"policy": "reject_all"}])
def test_a_file_names_a_template_and_is_told_by_row_and_column(house, how):
    made = make(house, valuation="weight")
    number = made["template_id"]
    rows = f"a,A,5,颜色,红,10,{number}\na,,5,,蓝,,\nb,B,5,,,10,{number}\nc,C,5,,,10,12345\n"
    job = house.do_import(CSV + rows, name="jishi-csv", **how)
    assert failures(house, job) == [
        (3, "a", "weight_g", "MEASURE_MISSING"),
        (5, "c", "freight_template", "FREIGHT_TEMPLATE_UNKNOWN"),
    ]
    assert (house.product("b") is not None) == (not how)
    row = house.store.freight_templates.find_one({"_id": made["_id"]})
    assert (row["attached"], row["version"]) == (int(not how), 1)


def test_a_file_imported_again_changes_nothing_and_touches_no_template(house):
    made = make(house)
    content = CSV + "".join(f"p{number},P,5,,,10,{made['template_id']}\n" for number in range(50))
    assert house.do_import(content, name="jishi-csv")["created"] == 50
    row = house.store.freight_templates.find_one({})
    assert row["attached"] == 3, "once a chunk"
    assert house.do_import(content, name="jishi-csv")["unchanged"] == 50
    assert house.store.freight_templates.find_one({}) == row
    assert house.do_import(content.replace("P,5", "P,6"), name="jishi-csv")["updated"] == 50
    assert house.store.freight_templates.find_one({}) == row


def test_many_calls_that_begin_to_use_one_template_at_once_all_do(house):
    made = make(house)
    outcomes = []

    def put(number):
        outcomes.append(
            house.upsert(*(uses(made, f"{number}-{item}") for item in range(20)), key=f"k{number}").document
        )

    threads = [threading.Thread(target=put, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [outcome["created"] for outcome in outcomes] == [20] * 6
    assert house.store.freight_templates.find_one({})["attached"] == 6
    assert refused(delete, house, made).reason == "CONDITION_UNMET"
