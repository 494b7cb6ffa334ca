"""What comes after an upload, through HTTP: results as a file, cancel, retry, undo, turns, exports; each once under its key, each its shop's."""

import csv
import io
import json
import time

import pytest

from services.cli.demo.catalog import product
from services.cli.imports import ENDED
from tests.backends.processes import wait_until
from tests.journeys.test_catalog import HEAD, counted, done, ended, upload
from tests.unit.catalog.test_reading_workbooks import HEAD as COLUMNS
from tests.unit.catalog.test_reading_workbooks import with_sheet, workbook

SINGLE = "{name},{name},true,Title,Default Title,{code},{stock},{price}\n"


def products(count, prefix="p", price="5.00", stock=3, bad=()):
    return HEAD + "".join(
        SINGLE.format(name=f"{prefix}{n}", code="", stock=stock, price="" if n in bad else price) for n in range(count)
    )


def send(api, content, name, **form):
    files = {"file": (name, content, "application/octet-stream")}
    return api.ask("POST", "/v1/imports", form=form, files=files)


def test_lines_and_workbooks_are_imported(shop):
    lines = "".join(
        json.dumps({"external_id": f"p{n}", "name": "茶", "skus": [{"price": 500, "quantity": 3}]}) + "\n"
        for n in range(250)
    )
    first = ended(shop.api, send(shop.api, lines, "p.jsonl", format="jsonl").body["import_id"])
    assert (first["state"], first["created"], first["kind"]) == ("completed", 250, "upload")
    book = workbook(COLUMNS, *([f"p{n}", "茶", "", "", 5, 3] for n in range(250)))
    again = ended(shop.api, send(shop.api, book, "p.xlsx", format="xlsx").body["import_id"])
    assert (again["state"], again["unchanged"]) == ("completed", 250)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (workbook(COLUMNS, ["a", "A", "", "", 5])[:-300], "BROKEN_WORKBOOK"),
        (with_sheet("", **{"xl/media/bomb.bin": bytes(20 * 2**20)}), "ZIP_BOMB"),
        (b"\x89PNG\r\n\x1a\n", "NOT_A_WORKBOOK"),
        (workbook(["name"], ["a"]), "COLUMNS_MISSING"),
    ],
)
def test_bad_workbooks_are_refused_with_their_reason(shop, content, reason):
    job = ended(shop.api, send(shop.api, content, "p.xlsx", format="xlsx").body["import_id"])
    assert (job["state"], job["reason"]) == ("failed", reason)
    assert job["message"]


def test_results_as_a_file_are_the_shops_and_safe_to_open(shop, open_shop, api, buyer):
    job = done(shop.api, products(1500, prefix="=p", bad=(3, 1400)))
    path = f"/v1/imports/{job['import_id']}/results:download"
    content = b"".join(shop.api.download(path)).decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(content, newline="")))
    assert [row["external_id"] for row in rows] == [f"'=p{n}" for n in range(1500)]
    failed = b"".join(shop.api.download(path, outcome="failed")).decode("utf-8-sig")
    assert [row["row"] for row in csv.DictReader(io.StringIO(failed))] == ["5", "1402"]
    assert open_shop("别家").api.ask("GET", path).status == 404
    assert (api.ask("GET", path).status, buyer.api.ask("GET", path).status) == (401, 403)
    assert shop.api.ask("GET", path, params={"outcome": "whatever"}).status == 400


def test_a_running_import_is_cancelled_at_its_next_chunk_and_undone_as_far_as_it_came(shop):
    import_id = upload(shop.api, products(10_000)).body["import_id"]
    path = f"/v1/imports/{import_id}"
    wait_until(lambda: shop.api.get(path)["created"] > 0, "the first chunk", seconds=60)
    first = shop.api.ask("POST", f"{path}:cancel", key="cancel")
    assert (first.status, first.body["state"]) == (200, "cancelled")
    assert shop.api.ask("POST", f"{path}:cancel", key="cancel").replayed
    job = shop.api.get(path)
    assert job["state"] == "cancelled"
    assert 0 < job["created"] < job["total"] == 10_000
    assert job["reason"] == "CANCELLED"
    listed = shop.api.get("/v1/products", page_size=1)["products"]
    assert listed, "what was applied stays"
    undo = shop.api.ask("POST", f"{path}:undo", key="undo")
    assert ended(shop.api, undo.body["import_id"])["updated"] == job["created"]
    assert shop.api.get("/v1/products", page_size=1)["products"] == []


def test_failures_are_retried_once_under_a_key_and_only_by_their_shop(shop, open_shop, api, buyer):
    shop.api.post("/v1/products:bulkUpsert", {"items": [product("owner", "主", 100, 1)]})
    owner = shop.api.get("/v1/products")["products"][0]
    taken = {**product("owner", "主", 100, 1)}
    taken["skus"] = [{**taken["skus"][0], "merchant_sku": "X"}]
    shop.api.post("/v1/products:bulkUpsert", {"items": [taken]})
    job = done(
        shop.api,
        HEAD + SINGLE.format(name="a", code="X", stock=1, price=5) + SINGLE.format(name="b", code="", stock=1, price=5),
    )
    assert counted(job) == {"state": "completed", "total": 2, "created": 1, "updated": 0, "unchanged": 0, "failed": 1}
    path = f"/v1/imports/{job['import_id']}:retry"
    assert open_shop("别家").api.ask("POST", path).status == 404
    assert (api.ask("POST", path).status, buyer.api.ask("POST", path).status) == (401, 403)
    taken["skus"][0]["merchant_sku"] = "Y"
    shop.api.post("/v1/products:bulkUpsert", {"items": [taken]})
    first = shop.api.ask("POST", path, key="again")
    assert first.status == 202
    retried = ended(shop.api, first.body["import_id"])
    assert (retried["kind"], retried["origin_import_id"], retried["created"]) == ("retry", job["import_id"], 1)
    repeated = shop.api.ask("POST", path, key="again")
    assert (repeated.replayed, repeated.body) == (True, first.body)
    assert shop.api.ask("POST", path.replace("retry", "undo"), key="again").reason != "IDEMPOTENCY_KEY_REUSED"
    none = shop.api.ask("POST", f"/v1/imports/{retried['import_id']}:retry")
    assert (none.status, none.reason) == (409, "CONDITION_UNMET")
    assert owner["external_id"] == "owner"


def test_an_undo_leaves_what_was_changed_since(shop, open_shop, api, buyer):
    done(shop.api, products(30))
    job = done(shop.api, products(40, price="6.00", stock=9))
    assert (job["created"], job["updated"]) == (10, 30)
    shown = {found["external_id"]: found for found in shop.api.get("/v1/products", page_size=100)["products"]}
    shop.api.post(f"/v1/products/{shown['p7']['product_id']}:delist")
    path = f"/v1/imports/{job['import_id']}:undo"
    assert open_shop("别家").api.ask("POST", path).status == 404
    assert (api.ask("POST", path).status, buyer.api.ask("POST", path).status) == (401, 403)
    first = shop.api.ask("POST", path, key="undo")
    undone = ended(shop.api, first.body["import_id"])
    assert (undone["kind"], undone["updated"], undone["failed"]) == ("undo", 39, 1)
    repeated = shop.api.ask("POST", path, key="undo")
    assert (repeated.replayed, repeated.body) == (True, first.body)
    assert shop.api.ask("POST", path).reason == "ALREADY_EXISTS"
    results = shop.api.get(f"/v1/imports/{undone['import_id']}/results", outcome="failed")["results"]
    assert [(row["external_id"], row["reason"]) for row in results] == [("p7", "CHANGED_SINCE")]
    after = {found["external_id"]: found for found in shop.api.get("/v1/products", page_size=100)["products"]}
    assert set(after) == {f"p{n}" for n in range(30)}
    sku = after["p3"]["skus"][0]
    assert (sku["price"], sku["on_hand"]) == (500, 3)
    assert (after["p7"]["skus"][0]["price"], after["p7"]["state"]) == (600, "delisted")
    gone = shown["p35"]["product_id"]
    assert api.ask("GET", f"/v1/products/{gone}").status == 404
    assert shop.api.get(f"/v1/products/{gone}")["product"]["state"] == "deleted"
    assert shop.api.ask("POST", f"/v1/products/{gone}:list").reason == "WRONG_STATE"


def test_a_sixth_import_waits_and_another_shop_does_not(shop, open_shop):
    other = open_shop("别家")
    big = upload(shop.api, products(10_000)).body["import_id"]
    rest = [upload(shop.api, products(600, prefix=f"s{n}-")).body["import_id"] for n in range(6)]
    began = time.monotonic()
    small = done(other.api, products(100))
    took = time.monotonic() - began
    busy = shop.api.get(f"/v1/imports/{big}")
    print(
        f"100 products of another shop beside seven imports: {took:.1f} s; the big one had {busy['created']} of 10,000"
    )
    assert (small["state"], small["created"]) == ("completed", 100)
    assert busy["state"] not in ENDED
    states = []

    def over():
        found = [job["state"] for job in shop.api.get("/v1/imports")["imports"]]
        states.append(sum(state in ("validating", "running") for state in found))
        return all(state in ENDED for state in found)

    wait_until(over, "all imports to end", seconds=100)
    assert max(states) <= 5
    assert {shop.api.get(f"/v1/imports/{job}")["created"] for job in rest} == {600}


@pytest.mark.parametrize(
    ("name", "media"), [("jishi-csv", "text/csv"), ("jsonl", "application/x-ndjson"), ("xlsx", "spreadsheetml")]
)
def test_an_export_imports_unchanged_and_is_its_shops(shop, open_shop, api, buyer, name, media):
    done(shop.api, products(300))
    first = shop.api.ask("POST", "/v1/exports", {"format": name}, key="export")
    assert first.status == 202
    repeated = shop.api.ask("POST", "/v1/exports", {"format": name}, key="export")
    assert (repeated.replayed, repeated.body) == (True, first.body)
    path = f"/v1/exports/{first.body['export_id']}"
    wait_until(lambda: shop.api.get(path)["export"]["state"] == "completed", "the export", seconds=30)
    assert shop.api.get(path)["export"]["products"] == 300
    content = b"".join(shop.api.download(f"{path}:download"))
    answer = shop.api.ask("GET", f"{path}:download")
    assert media in answer.headers["content-type"]
    suffix = {"jishi-csv": "csv", "jsonl": "jsonl", "xlsx": "xlsx"}[name]
    assert f".{suffix}" in answer.headers["content-disposition"]
    again = ended(shop.api, send(shop.api, content, f"x.{suffix}", format=name).body["import_id"])
    assert (again["total"], again["unchanged"]) == (300, 300)
    other = open_shop("别家")
    for tail in ("", ":download"):
        assert other.api.ask("GET", path + tail).status == 404
        assert (api.ask("GET", path + tail).status, buyer.api.ask("GET", path + tail).status) == (401, 403)
    assert [found["export_id"] for found in shop.api.get("/v1/exports")["exports"]] == [first.body["export_id"]]
    assert other.api.get("/v1/exports")["exports"] == []
    assert shop.api.ask("POST", "/v1/exports", {"format": "pdf"}).body["errors"][0]["field"] == "format"


def test_what_was_sold_meanwhile_is_taken_off_sale_by_an_undo(shop, buyer):
    address = {
        "receiver_name": "张三",
        "province": "广东省",
        "city": "广州市",
        "zone": "天河区",
        "address": "体育西路 1 号",
        "mobile": "13800138000",
    }
    job = done(shop.api, products(450, stock=9))
    sold = shop.api.get("/v1/products", page_size=2)["products"]
    for found in sold:
        line = {"product_id": found["product_id"], "sku_id": found["skus"][0]["sku_id"], "quantity": 4}
        buyer.api.post("/v1/checkouts", {"lines": [line], "address": address})
    undo = shop.api.post(f"/v1/imports/{job['import_id']}:undo")["import_id"]
    undone = ended(shop.api, undo)
    assert (undone["updated"], undone["failed"]) == (450, 0)
    told = shop.api.get(f"/v1/imports/{undo}/results", page_size=1000)["results"]
    assert sorted(row["external_id"] for row in told if row["reason"] == "DELISTED") == sorted(
        found["external_id"] for found in sold
    )
    for found in sold:
        after = shop.api.get(f"/v1/products/{found['product_id']}")["product"]
        assert (after["state"], after["skus"][0]["on_hand"], after["skus"][0]["reserved"]) == ("delisted", 4, 4)
    path = f"/v1/public/navigation/{shop.shop_id}"
    wait_until(
        lambda: [entry["products"] for entry in shop.api.get(path)["entries"] if entry["products"]] == [2],
        "the categories to be counted back",
    )
