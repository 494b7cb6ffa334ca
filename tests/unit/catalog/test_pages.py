"""Every page of the catalog bounds its query on both sides: the embedded database scans a whole index where one side is open."""

from services.catalog.commands.groups import create_group
from services.catalog.queries import exports, freight, groups, imports, products, shelves
from services.catalog.queries.images import Pictures
from services.chassis.fresh import Fresh
from tests.unit.catalog.freight.templates import make
from tests.unit.catalog.making import SHOP, product

LOWER, UPPER = {"$gt", "$gte"}, {"$lt", "$lte"}
CSV = "Handle,Title,Published,Variant Inventory Qty,Variant Price\np{0},商品,true,5,9.90\n"


def half_ranges(condition, path=""):
    """The fields of a filter, at any depth, that are bounded on one side only."""
    if isinstance(condition, list):
        return [found for part in condition for found in half_ranges(part, path)]
    if not isinstance(condition, dict):
        return []
    halves = [path] if bool(LOWER & set(condition)) != bool(UPPER & set(condition)) else []
    return halves + [found for name, part in condition.items() for found in half_ranges(part, f"{path}.{name}")]


def is_range(condition):
    return isinstance(condition, dict) and bool((LOWER | UPPER) & set(condition))


def asked(house, ask):
    """The filters of every question that the database gets while ``ask`` walks through its pages."""
    house.counter.filters.clear()
    after, pages = None, 0
    while True:
        _, after = ask(after)
        pages += 1
        if after is None:
            break
    assert pages > 1, "a list of one page shows little"
    return list(house.counter.filters)


def test_half_a_range_is_seen():
    assert half_ranges({"shop_id": "s", "position": {"$gt": "", "$lt": "~"}}) == []
    assert half_ranges({"position": {"$lt": "~"}}) == [".position"]
    assert half_ranges({"$or": [{"a": {"$gte": 1, "$lt": 2}}, {"b": {"$gte": 1}}]}) == [".$or.b"]


def test_no_page_of_a_list_asks_for_half_a_range(house):
    house.upsert(*(product(f"p{n}", listed=True) for n in range(5)))
    jobs = [house.do_import(CSV.format(n)) for n in range(3)]
    for name in ("jsonl", "jishi-csv", "xlsx"):
        house.export(name)
    templates = [make(house, name=f"模板{n}") for n in range(3)]
    category = house.product()["listing"]["category_id"]
    wanted = [{"state": state, "category_id": number} for state in ("", "listed") for number in (0, category)]
    walks = [
        *(lambda after, filters=filters: products.products(house.store, SHOP, filters, after, 2) for filters in wanted),
        lambda after: imports.jobs(house.store, SHOP, after, 2),
        lambda after: exports.jobs(house.store, SHOP, after, 2),
        lambda after: freight.templates(house.store, SHOP, after, 2),
    ]
    for walk in walks:
        filters = asked(house, walk)
        assert any(is_range(part) for condition in filters for part in condition.values()), "the page is a range"
        assert [half_ranges(condition) for condition in filters] == [[]] * len(filters)
    assert len(jobs) == len(templates) == 3


def test_other_questions_of_the_catalog_ask_for_no_half_range_either(house):
    rows = "".join(f"p{n},商品,true,5,9.90\n" for n in range(45))
    job = house.do_import(f"{CSV.splitlines()[0]}\n{rows}")
    create_group(house.store, house.cause(), SHOP, "新品", [house.product("p1")["_id"]])
    filters = asked(house, lambda after: imports.results(house.store, SHOP, job["import_id"], "", after, 20))
    house.counter.filters.clear()
    groups.groups(house.store, SHOP, None, 20)
    shelves.shelves(house.store, SHOP, None, 20)
    products.product(house.store, house.product("p1")["_id"], SHOP, Pictures("http://shop.test", Fresh(0.0)))
    house.retry(house.do_import(f"{CSV}p8,,true,5,9.90\n".format(9))["import_id"])
    house.undo(job["import_id"])
    for state in ("", "listed"):
        house.export("jsonl", state)
    filters += house.counter.filters
    assert [half_ranges(condition) for condition in filters] == [[]] * len(filters)
