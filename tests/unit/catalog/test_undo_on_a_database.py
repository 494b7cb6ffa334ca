"""What comes after an import: cancel, retry of what failed, undo of what was applied, and turns."""

import pytest

from services.catalog.commands.imports import cancel_import, retry_import, undo_import
from services.catalog.commands.products import take_off_sale
from services.catalog.model import imports as rules
from services.catalog.model.names import own_part
from services.catalog.queries import imports as queries
from services.catalog.queries import products as product_queries
from services.chassis import clock
from services.chassis.errors import Refusal
from tests.unit.catalog.imports.files import HEAD, counts, csv
from tests.unit.catalog.making import OTHER, SHOP, product, sku

CONTENT = ("state", "listing", "source", "ever_listed")


def content(house):
    """What a merchant says of each product, and its stock."""
    codes = {row["sku_id"]: own_part(row["_id"]) for row in house.store.names.find({"sku_id": {"$gt": ""}})}
    stock = {row["_id"]: (row["on_hand"], row["reserved"], codes.get(row["_id"])) for row in house.store.stock.find({})}
    return {
        row["external_id"]: (
            {name: row[name] for name in CONTENT},
            [stock[found["sku_id"]] for found in row["listing"]["skus"]],
        )
        for row in house.store.products.find({"state": {"$ne": "deleted"}})
    }


def reasons(house, job):
    return [(row["external_id"], row["outcome"], row["reason"]) for row in house.results(job["import_id"])]


# --------------------------------------------------------------------------------------------------------------------- retry


def test_a_retry_goes_through_what_failed_only(house):
    house.upsert(product("owner", skus=[sku("红", merchant_sku="M30")]))
    rows = "".join(
        f"p{n},P,true,尺码,S,{'M30' if n == 30 else ''},1,{'' if n == 7 else 5}\np{n},,,,L,,2,6\n" for n in range(45)
    )
    first = house.do_import(HEAD + rows)
    assert (first["state"], counts(first)) == ("completed", (45, 43, 0, 0, 2))
    again = house.retry(first["import_id"])
    assert (again["state"], again["kind"], again["origin_import_id"]) == ("completed", "retry", first["import_id"])
    assert (again["rows"], counts(again)) == (90, (2, 0, 0, 0, 2))
    house.upsert(product("owner", skus=[sku("红")]))
    mended = house.retry(first["import_id"])
    assert counts(mended) == (2, 1, 0, 0, 1)
    assert [
        (row["row"], row["external_id"], row["reason"]) for row in house.results(mended["import_id"], "failed")
    ] == [(16, "p7", "REQUIRED")]
    last = house.retry(mended["import_id"])
    assert counts(last) == (1, 0, 0, 0, 1)
    assert house.stock("p30") == [(1, 0), (2, 0)]
    assert house.sound()


def test_a_retry_is_one_under_its_key_and_refused_where_there_is_nothing_to_do(house):
    failed = house.do_import(csv(3, bad=(1,)))
    first = retry_import(house.store, house.cause("k"), SHOP, failed["import_id"])
    again = retry_import(house.store, house.cause("k"), SHOP, failed["import_id"])
    assert (again.replayed, again.document["_id"]) == (True, first.document["_id"])
    with pytest.raises(Refusal, match="WRONG_STATE"):
        retry_import(house.store, house.cause(), SHOP, first.document["_id"])
    house.work(first.document["_id"])
    with pytest.raises(Refusal, match="NOT_FOUND"):
        retry_import(house.store, house.cause(), OTHER, failed["import_id"])
    fine = house.do_import(csv(1))
    dry = house.do_import(csv(3, bad=(1,)), dry_run=True)
    rejected = house.do_import(csv(3, bad=(1,)), policy="reject_all")
    for job, why in ((fine, "no product"), (dry, "dry run"), (rejected, "nothing of")):
        with pytest.raises(Refusal, match=why):
            retry_import(house.store, house.cause(), SHOP, job["import_id"])
    house.store.import_files.delete_many({})
    with pytest.raises(Refusal, match="not kept"):
        retry_import(house.store, house.cause(), SHOP, failed["import_id"])


# ---------------------------------------------------------------------------------------------------------------------- undo


def test_an_undo_puts_every_product_back_to_what_it_was(house):
    house.do_import(csv(45))
    was = content(house)
    job = house.do_import(csv(50, price="12.00", stock=8, bad=(3,)))
    assert counts(job) == (50, 5, 44, 0, 1)
    undone = house.undo(job["import_id"])
    assert (undone["state"], undone["kind"], counts(undone)) == ("completed", "undo", (49, 0, 49, 0, 0))
    assert content(house) == was
    listed, _ = product_queries.products(house.store, SHOP, {"state": "", "category_id": 0}, None, 99)
    assert {row["external_id"] for row in listed} == {f"p{n}" for n in range(45)}
    told = reasons(house, undone)
    assert told[0] == ("p49", "updated", "DELETED")
    assert ("p0", "updated", "RESTORED") in told
    assert house.sound()
    again = house.do_import(csv(50, price="12.00", stock=8))
    assert counts(again) == (50, 5, 45, 0, 0), "what was undone can be imported again"
    assert house.sound()


def test_what_was_changed_since_is_a_conflict_and_stays(house):
    house.upsert(product("a"), product("b"), product("c"))
    lines = "external_id,title,price\na,A2,5\nb,B2,5\nc,C2,5\nnew,N,5\nnewer,N,5\n"
    job = house.do_import(lines, name="jishi-csv")
    house.upsert(product("b", name="手改"))
    take_off_sale(house.store, house.cause(), SHOP, house.product("c")["_id"])
    house.upsert(product("new", name="手改"))
    undone = house.undo(job["import_id"])
    assert counts(undone) == (5, 0, 2, 0, 3)
    assert reasons(house, undone) == [
        ("newer", "updated", "DELETED"),
        ("new", "failed", "CHANGED_SINCE"),
        ("c", "failed", "CHANGED_SINCE"),
        ("b", "failed", "CHANGED_SINCE"),
        ("a", "updated", "RESTORED"),
    ]
    assert [house.product(name)["listing"]["name"] for name in ("a", "b", "c", "new")] == [
        "商品 a",
        "手改",
        "C2",
        "手改",
    ]
    assert house.product("newer") is None
    assert [row["external_id"] for row in house.results(undone["import_id"], "failed")] == ["new", "c", "b"]
    assert house.sound()


def test_stock_goes_back_by_what_the_import_moved_and_never_below_what_buyers_hold(house):
    house.do_import(csv(3, stock=5))
    job = house.do_import(csv(3, stock=9, price="12.00"))
    house.reserve(house.line(2, "p0"))
    house.paid(house.line(2, "p0"))
    house.reserve(house.line(7, "p1"), checkout="c2")
    house.restock((house.line(1, "p2")["sku_id"], 10, "r"))
    undone = house.undo(job["import_id"])
    assert counts(undone) == (3, 0, 3, 0, 0)
    assert house.stock("p0") == [(3, 0), (5, 0)], "9 - 2 sold - 4 that the import brought"
    assert house.stock("p1") == [(7, 7), (5, 0)], "only 2 were not held"
    assert house.stock("p2") == [(15, 0), (5, 0)], "what came otherwise stays"
    (told,) = [row for row in house.results(undone["import_id"]) if row.get("reason") == "STOCK_HELD"]
    assert (told["external_id"], told["field"]) == ("p1", "stock")
    assert "2 are held" in told["message"]
    moved = list(house.store.movements.find({"kind": "undone"}))
    assert {row["_id"] for row in moved} == {f"undo:{job['import_id']}:{row['sku_id']}" for row in moved}
    assert len(moved) == 6
    assert house.sound()


def test_an_undo_gives_back_what_the_import_took(house):
    house.do_import(csv(1, stock=9))
    job = house.do_import(csv(1, stock=2))
    house.undo(job["import_id"])
    assert house.stock("p0") == [(9, 0), (9, 0)]
    assert house.sound()


def test_a_new_product_that_buyers_hold_or_bought_is_taken_off_sale_not_deleted(house):
    job = house.do_import(csv(4, stock=5))
    house.reserve(house.line(2, "p0"))
    house.reserve(house.line(1, "p1"), checkout="c2")
    house.paid(house.line(1, "p1"), checkout="c2", order="o2")
    house.reserve(house.line(1, "p2"), checkout="c3")
    house.paid(house.line(1, "p2"), checkout="c3", order="o3")
    house.closed(house.line(1, "p2"), checkout="c3", order="o3", was_paid=True)
    identity = house.product("p2")["_id"]
    undone = house.undo(job["import_id"])
    found = {(name, reason) for name, _, reason in reasons(house, undone)}
    assert {("p0", "DELISTED"), ("p1", "DELISTED"), ("p2", "DELETED"), ("p3", "DELETED")} <= found
    assert (house.product("p0")["state"], house.stock("p0")) == ("delisted", [(2, 2), (0, 0)])
    assert (house.product("p1")["state"], house.stock("p1")) == ("delisted", [(0, 0), (0, 0)])
    assert house.product("p2") is None
    gone = house.store.products.find_one({"_id": identity})
    assert gone["state"] == "deleted"
    assert product_queries.version(house.store, identity, 1, "", any_shop=False)["name"] == "商品2", (
        "the order of p2 still shows it"
    )
    house.closed(house.line(2, "p0"))
    assert house.sound()


def test_a_variant_that_another_import_brought_and_buyers_hold_keeps_its_product_from_deletion(house):
    first = house.do_import(HEAD + "p1,P,true,尺码,S,,1,5\n")
    second = house.do_import(HEAD + "p1,P,true,尺码,S,,1,5\np1,,,,L,,2,6\n")
    house.reserve(house.line(number=1))
    assert reasons(house, house.undo(second["import_id"]))[0][1:] == ("updated", "RESTORED")
    assert reasons(house, house.undo(first["import_id"]))[0] == ("p1", "updated", "DELISTED")
    assert house.sound()


def test_variants_and_merchant_skus_go_back_too(house):
    house.upsert(product("a", skus=[sku("红", merchant_sku="X"), sku("蓝", merchant_sku="Y", quantity=4)]))
    house.upsert(product("b", skus=[sku("红", merchant_sku="Z")]))
    was = content(house)
    others = ["".join(f"{name}{n},O,,,5,,\n" for n in range(20)) for name in ("x", "y")]
    head = "external_id,title,axis1,value1,price,stock,merchant_sku\n"
    rows = ["a,A,颜色,红,5,10,Y\na,,,绿,5,7,\n", others[0], "b,B,颜色,红,5,10,X\n", others[1], "c,C,颜色,红,5,3,Z\n"]
    job = house.do_import(head + "".join(rows), name="jishi-csv")
    assert (job["updated"], job["created"], job["failed"]) == (2, 41, 0)
    green = house.line(1, "a", 1)["sku_id"]
    undone = house.undo(job["import_id"])
    assert counts(undone) == (43, 0, 43, 0, 0)
    assert content(house) == was
    assert house.store.stock.find_one({"_id": green})["on_hand"] == 0
    assert house.sound()


def test_a_merchant_sku_that_another_product_has_now_is_a_conflict(house):
    house.upsert(product("a", skus=[sku("红", merchant_sku="X")]))
    job = house.do_import("external_id,title,price\na,A,5\n", name="jishi-csv")
    house.upsert(product("b", skus=[sku("红", merchant_sku="X")]))
    undone = house.undo(job["import_id"])
    assert reasons(house, undone) == [("a", "failed", "MERCHANT_SKU_TAKEN")]
    assert house.product("a")["listing"]["name"] == "A"


def test_orders_still_show_the_version_that_an_undo_took_back(house):
    house.do_import(csv(1))
    job = house.do_import(csv(1, price="12.00"))
    house.undo(job["import_id"])
    row = house.product("p0")
    assert row["listing_version"] == 3
    shown = [
        product_queries.version(house.store, row["_id"], n, "", any_shop=False)["skus"][0]["price"] for n in (1, 2, 3)
    ]
    assert shown == [990, 1200, 990]


def test_imports_are_undone_one_after_another_down_to_nothing(house):
    first = house.do_import(csv(25))
    second = house.do_import(csv(25, price="12.00"))
    third = house.do_import(csv(25, price="13.00", stock=9))
    assert counts(house.undo(third["import_id"])) == (25, 0, 25, 0, 0)
    assert counts(house.undo(second["import_id"])) == (25, 0, 25, 0, 0)
    assert house.stock("p0") == [(5, 0), (5, 0)]
    assert counts(house.undo(first["import_id"])) == (25, 0, 25, 0, 0)
    assert content(house) == {}
    assert house.sound()


def test_categories_are_counted_back(house):
    job = house.do_import(csv(25))
    house.undo(job["import_id"])
    for event in house.told() * 2:
        house.deliver(event)
    assert list(house.store.shop(SHOP)["categories"].values()) == [0]


def test_an_import_is_undone_once_and_only_where_there_is_something(house):
    job = house.do_import(csv(2))
    first = undo_import(house.store, house.cause("k"), SHOP, job["import_id"])
    assert undo_import(house.store, house.cause("k"), SHOP, job["import_id"]).replayed
    with pytest.raises(Refusal, match=f"ALREADY_EXISTS.*{first.document['_id']}"):
        undo_import(house.store, house.cause(), SHOP, job["import_id"])
    with pytest.raises(Refusal, match="goes on to its end"):
        cancel_import(house.store, house.cause(), SHOP, first.document["_id"])
    with pytest.raises(Refusal, match="WRONG_STATE"):
        undo_import(house.store, house.cause(), SHOP, first.document["_id"])
    undone = house.finish(first.document["_id"])
    with pytest.raises(Refusal, match="NOT_FOUND"):
        undo_import(house.store, house.cause(), OTHER, job["import_id"])
    house.do_import(csv(2))
    nothing = house.do_import(csv(2))
    dry = house.do_import(csv(2, price="12.00"), dry_run=True)
    for other, why in ((nothing, "changed nothing"), (dry, "changed nothing"), (undone, "undo itself")):
        with pytest.raises(Refusal, match=why):
            undo_import(house.store, house.cause(), SHOP, other["import_id"])
    with pytest.raises(Refusal, match="undo"):
        retry_import(house.store, house.cause(), SHOP, undone["import_id"])


def test_a_cancelled_import_is_undone_as_far_as_it_came(house):
    identity = house.queue(csv(90)).document["_id"]
    house.work(identity, lambda: house.store.products.count_documents({}) > 0)
    cancel_import(house.store, house.cause(), SHOP, identity)
    applied = queries.job(house.store, SHOP, identity)["created"]
    assert 0 < applied < 90
    assert counts(house.undo(identity)) == (applied, 0, applied, 0, 0)
    assert content(house) == {}


def test_what_is_not_kept_any_more_cannot_be_put_back(house):
    house.do_import(csv(2))
    job = house.do_import(csv(3, price="12.00"))
    house.store.befores.delete_many({})
    undone = house.undo(job["import_id"])
    assert reasons(house, undone) == [("p2", "updated", "DELETED"), ("p1", "failed", "GONE"), ("p0", "failed", "GONE")]


# --------------------------------------------------------------------------------------------------------------------- turns


def test_a_sixth_import_of_a_shop_waits_for_the_oldest(house):
    jobs = [house.queue(csv(60, prefix=f"s{n}-")).document["_id"] for n in range(7)]
    other = house.queue(csv(20), shop=OTHER).document["_id"]

    def states():
        return [queries.job(house.store, SHOP, identity)["state"] for identity in jobs]

    def begin(identity):
        house.work(identity, lambda: house.store.imports.find_one({"_id": identity})["next_chunk"] > 0)

    queued = clock.wall_ms()
    for identity in (jobs[6], jobs[5], *jobs[:5]):
        begin(identity)
    assert states() == ["running"] * 5 + ["queued"] * 2
    sixth = house.store.imports.find_one({"_id": jobs[5]})
    assert sixth["next_at"] > queued
    assert "claim" not in sixth
    assert house.finish(other, OTHER)["state"] == "completed", "another shop does not wait"
    house.work(jobs[6])
    house.work(jobs[3])
    house.work(jobs[6])
    assert states() == ["running"] * 3 + ["completed", "running"] + ["queued"] * 2, "the older one goes first"
    house.work(jobs[5])
    cancel_import(house.store, house.cause(), SHOP, jobs[0])
    house.work(jobs[6])
    assert states() == ["cancelled", "running", "running", "completed", "running", "completed", "completed"]
    assert house.store.imports.count_documents({"working_for": SHOP}) == 3


def test_turns_are_told_in_milliseconds():
    assert [rules.turn(older, 5) for older in (0, 4, 5, 6, 500)] == [0, 0, 500, 1000, 5000]
