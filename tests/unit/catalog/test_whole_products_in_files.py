"""Whatever a product holds goes out to a file, in again unchanged, and back by an undo: freight, assurances, retired categories."""

import json

import pytest

from services.catalog.commands import bulk, categories
from services.catalog.model.bulk import ProductRef
from services.catalog.model.freight import template_key
from services.catalog.model.imports import FORMATS
from services.catalog.queries import products as queries
from services.chassis.errors import Refusal
from services.cli.audit.catalog import freight as audited
from tests.unit.catalog.freight.templates import change, delete, make
from tests.unit.catalog.imports.files import counts
from tests.unit.catalog.making import SHOP, product, sku
from tests.unit.catalog.test_categories import ADMIN, DRESS
from tests.unit.catalog.test_exports_on_a_database import FORMATS as FILES
from tests.unit.catalog.test_reading_workbooks import workbook
from tests.unit.catalog.test_versions import EVERYTHING


class World:
    """The catalog's database, as the audit asks for it."""

    def __init__(self, house):
        self.found = house.store.database

    def database(self, _service):
        return self.found


def clean(house):
    """Whether the audit finds every product with its template."""
    return [found for found in audited(World(house)) if found is not None] == []


def by_template(template):
    return {"kind": "template", "template_id": template["template_id"]}


def filled(house):
    """Products with every kind of freight and assurance."""
    carriers = [{"carrier_class": name, "fee": fee} for name, fee in (("post", 0), ("express", 800))]
    house.upsert(
        product("template", freight=by_template(make(house, valuation="weight"))),
        product("carriers", freight={"kind": "carriers", "carrier_fees": carriers}),
        product("flat", freight={"kind": "flat", "fee": 0}),
        product("assured", **EVERYTHING),
        product("odd", certificates=[{"kind": "a;b=c", "file_hash": "0" * 64}], terms={"warranty": True}),
        product("plain"),
        product("gone", listed=False),
    )
    bulk.delete(house.bulk(), [ProductRef(external_id="gone")])


@pytest.mark.parametrize(("name", "file_name"), FILES)
def test_an_export_holds_freight_and_assurances_and_comes_back_unchanged(house, name, file_name):
    filled(house)
    before = {row["_id"]: (row["listing"], row["state"], row.get("freight_key")) for row in house.store.products.find()}
    stock = list(house.store.stock.find({}).sort("_id", 1))
    content, job = house.export(name)
    assert (job["state"], job["products"]) == ("completed", 6), "deleted products are not in it"
    again = house.do_import(content, name=name, file_name=file_name)
    assert counts(again) == (6, 0, 0, 6, 0), house.results(again["import_id"], "failed")
    after = {row["_id"]: (row["listing"], row["state"], row.get("freight_key")) for row in house.store.products.find()}
    assert (before, stock) == (after, list(house.store.stock.find({}).sort("_id", 1)))
    for row in list(house.store.products.find({"state": {"$ne": "deleted"}})):  # the same products, said anew
        house.store.products.update_one({"_id": row["_id"]}, {"$set": {"listing.name": "别的", "source.digest": ""}})
    assert counts(house.do_import(content, name=name, file_name=file_name)) == (6, 0, 6, 0, 0)
    assert before == {
        row["_id"]: (row["listing"], row["state"], row.get("freight_key")) for row in house.store.products.find()
    }
    assert house.sound()
    assert clean(house)


HEADER = ["external_id", "title", "price", "category", "freight_template", "weight_g"]


def as_file(name, rows):
    """Rows under ``HEADER`` as a file of the format ``name``."""
    if name == "xlsx":
        return workbook(HEADER, *rows)
    if name == "jishi-csv":
        return "\n".join(",".join(row) for row in [HEADER, *rows])
    return "\n".join(
        json.dumps(
            {
                "external_id": key,
                "name": title,
                "category_id": int(category or 0),
                "skus": [{"price": round(float(price) * 100), "weight_g": int(weight or 0)}],
                **({"freight": {"kind": "template", "template_id": int(template)}} if template else {}),
            }
        )
        for key, title, price, category, template, weight in rows
    )


@pytest.mark.parametrize(("name", "file_name"), FILES)
def test_what_only_the_shop_can_judge_is_told_by_the_names_of_the_format(house, name, file_name):
    assert set(FORMATS) == {"shopify-csv", *(each for each, _ in FILES)}
    template = str(make(house, valuation="weight")["template_id"])
    categories.retire(house.store, house.cause(), ADMIN, DRESS, "过时", retired=True)
    rows = [
        ["a", "A", "1", str(DRESS), "", ""],
        ["b", "B", "1", "", "7", "5"],
        ["c", "C", "1", "", template, ""],
        ["d", "D", "1", "", template, "5"],
    ]
    first = 1 if name == "jsonl" else 2
    job = house.do_import(as_file(name, rows), name=name, file_name=file_name)
    assert counts(job) == (4, 1, 0, 0, 3)
    told = [(row["row"], row["field"], row["reason"]) for row in house.results(job["import_id"], "failed")]
    paths = ("category_id", "freight.template_id", "skus[0].weight_g")
    fields = paths if name == "jsonl" else ("category", "freight_template", "weight_g")
    reasons = ("CATEGORY_RETIRED", "FREIGHT_TEMPLATE_UNKNOWN", "MEASURE_MISSING")
    assert told == [(first + n, field, reason) for n, (field, reason) in enumerate(zip(fields, reasons, strict=True))]


def test_two_lines_that_want_one_code_are_told_apart_before_anything_is_written(house):
    line = {"skus": [{"price": 100, "merchant_sku": "M"}]}
    content = "\n".join(json.dumps({"external_id": key, "name": key, **line}) for key in ("a", "b"))
    job = house.do_import(content, name="jsonl", file_name="p.jsonl", policy="reject_all")
    assert job["state"] == "failed"
    (told,) = house.results(job["import_id"], "failed")
    assert (told["row"], told["field"], told["reason"]) == (2, "skus[0].merchant_sku", "MERCHANT_SKU_TAKEN")


# ---------------------------------------------------------------------------------------------------------------------- undo


def undone(house, *items):
    """The products of these items changed by a file, and the way back: {external_id: reason}."""
    content = "\n".join(json.dumps({**item, "detail": []}) for item in items)
    job = house.do_import(content, name="jsonl", file_name="p.jsonl")
    assert counts(job)[2] == len(items), house.results(job["import_id"])

    def back():
        rows = house.results(house.undo(job["import_id"])["import_id"])
        assert house.sound()
        assert clean(house)
        return {row["external_id"]: row["reason"] for row in rows}

    return back


def content_of(house):
    """What a merchant says of each product, and how it is found by its freight template."""
    fields = ("listing", "state", "source", "freight_key")
    return {row["external_id"]: {name: row.get(name) for name in fields} for row in house.store.products.find({})}


def test_an_undo_puts_back_freight_and_assurances(house):
    first, second = make(house), make(house)
    house.upsert(
        product("keeps", freight=by_template(first)),
        product("changes", freight=by_template(first)),
        product("leaves", freight=by_template(first)),
        product("comes"),
        product("assured", **EVERYTHING),
    )
    was = content_of(house)
    back = undone(
        house,
        product("keeps", freight=by_template(first), name="新"),
        product("changes", freight=by_template(second)),
        product("leaves", freight={"kind": "flat", "fee": 900}),
        product("comes", freight=by_template(second)),
        product("assured", freight=by_template(second)),
    )
    assert set(back().values()) == {"RESTORED"}
    assert content_of(house) == was
    assert was["comes"]["freight_key"] is None
    assert was["leaves"]["freight_key"] == template_key(SHOP, first["template_id"])
    delete(house, second)
    with pytest.raises(Refusal, match="CONDITION_UNMET"):
        delete(house, first)


def test_a_product_does_not_go_back_to_a_template_that_is_not_there_or_counts_otherwise(house):
    gone, counting = make(house), make(house)
    house.upsert(
        product("a", freight=by_template(gone)),
        product("b", freight=by_template(counting), skus=[sku("红", weight_g=0)]),
        product("c", freight=by_template(counting)),
    )
    back = undone(house, product("a"), product("b", skus=[sku("红")]), product("c"))
    delete(house, gone)
    change(house, counting, valuation="weight")
    assert back() == {"a": "FREIGHT_TEMPLATE_UNKNOWN", "b": "MEASURE_MISSING", "c": "RESTORED"}
    assert [house.product(name)["listing"]["freight"]["kind"] for name in "abc"] == ["free", "free", "template"]


def test_a_template_that_goes_while_an_undo_is_written_wins(house, monkeypatch):
    template = make(house)
    house.upsert(product("a", freight=by_template(template)))
    back = undone(house, product("a"))
    read, left = type(house.store).templates, [template]

    def reading(store, shop_id, wanted):
        found = read(store, shop_id, list(wanted))
        if left:
            delete(house, left.pop())
        return found

    monkeypatch.setattr(type(house.store), "templates", reading)
    assert back() == {"a": "FREIGHT_TEMPLATE_UNKNOWN"}
    assert not left


def test_a_product_that_an_import_made_lets_its_template_go_with_its_undo(house):
    template = make(house)
    item = product("a", freight=by_template(template))
    job = house.do_import(json.dumps({**item, "detail": []}), name="jsonl", file_name="p.jsonl")
    with pytest.raises(Refusal, match="CONDITION_UNMET"):
        delete(house, template)
    house.undo(job["import_id"])
    delete(house, template)
    row = house.store.products.find_one({"external_id": "a"})
    assert (row["state"], "freight_key" in row) == ("deleted", False)
    listed, _ = queries.products(house.store, SHOP, {"state": "deleted", "category_id": 0}, None, 9)
    assert [found["external_id"] for found in listed] == ["a"], "as any deleted product"
    assert clean(house)


def test_only_versions_that_were_on_sale_are_for_everybody_after_an_undo(house):
    house.upsert(product("draft", listed=False), product("sold"), product("off"))
    house.upsert(product("off", listed=False))
    back = undone(
        house, product("draft", name="新"), product("sold", name="新"), product("off", name="新", listed=True)
    )
    assert set(back().values()) == {"RESTORED"}

    def visible(external_id):
        row, found = house.product(external_id), []
        for number in range(1, row["listing_version"] + 1):
            try:
                found.append(queries.version(house.store, row["_id"], number, "", any_shop=False)["name"])
            except Refusal:
                found.append(None)
        return row["state"], found

    assert visible("sold") == ("listed", ["商品 sold", "新", "商品 sold"])
    assert visible("off") == ("delisted", ["商品 off", "新", None]), "the third was never on sale"
    assert visible("draft") == ("draft", ["新", None]), "the first was never on sale, and is the last"


def test_a_product_goes_back_into_a_category_that_retired_meanwhile(house):
    house.upsert(product("a", category_id=DRESS))
    back = undone(house, product("a"))
    categories.retire(house.store, house.cause(), ADMIN, DRESS, "过时", retired=True)
    assert back() == {"a": "RESTORED"}
    assert house.product("a")["listing"]["category_id"] == DRESS


def test_a_sku_that_an_undo_brings_back_knows_what_was_said_of_its_stock(house):
    house.upsert(product("a", skus=[sku("红"), sku("蓝")]))
    back = undone(house, product("a", skus=[sku("蓝"), sku("绿", quantity=4)]))
    house.reserve(house.line(3, "a", 0))
    house.paid(house.line(3, "a", 0))
    assert back() == {"a": "RESTORED"}
    assert house.stock("a") == [(10, 0), (7, 0)]
    assert house.upsert(product("a", skus=[sku("红"), sku("蓝")])).document["unchanged"] == 1
    assert house.upsert(product("a", skus=[sku("红"), sku("蓝"), sku("绿", quantity=4)])).document["updated"] == 1
    assert house.stock("a") == [(10, 0), (7, 0), (4, 0)]
    assert house.sound()
