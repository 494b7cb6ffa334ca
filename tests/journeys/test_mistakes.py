"""What a newcomer gets wrong at the API is answered with the field, what is wrong, and the way out."""

import pytest

from services.cli.demo.trade import ADDRESS

FILE = {"file": ("products.csv", b"external_id,title,price\n", "text/csv")}
CSV = {"format": "jishi-csv"}
LONG = "a" * 9000
"""More than a line of gRPC's metadata holds when it is told back."""
LINE = {"product_id": LONG, "sku_id": LONG, "quantity": 1}
OTHER_FILE = {"file": ("notes.txt", b"some notes\n", "text/csv")}


@pytest.fixture
def callers(api, shop, buyer):
    return {
        "nobody": api,
        "wrong": api.as_caller("wrong"),
        "cut": api.as_caller(shop.api.token[:-5]),
        "merchant": shop.api,
        "buyer": buyer.api,
    }


@pytest.mark.parametrize(
    ("caller", "call", "sent", "status", "words"),
    [
        ("nobody", "GET /v1/products", {}, 401, "needs an access token: send `Authorization: Bearer <token>`; POST /v1/oau"),
        ("wrong", "GET /v1/products", {}, 401, "not one of ours, or was cut: send it whole as `Authorization: Bearer"),
        ("cut", "GET /v1/products", {}, 401, "not one of ours, or was cut"),
        ("buyer", "GET /v1/products", {}, 403, "this call is for merchant; the token is a buyer's"),
        ("nobody", "GET /v1/shoes", {}, 404, "nothing is at /v1/shoes; GET /openapi.json lists what there is"),
        ("merchant", "PUT /v1/products", {}, 405, "this path answers GET"),
        ("merchant", "GET /v1/products", {"params": {"colour": "red"}}, 400, "colour: no such field; look at /openapi.json"),
        ("merchant", "GET /v1/products", {"params": {"state": "sold"}}, 400, "state: must be one of draft, listed, delisted"),
        ("merchant", "POST /v1/imports", {"body": CSV}, 415, "send multipart/form-data with the file in the part 'file' (curl"),
        ("merchant", "POST /v1/imports", {"form": CSV, "files": {"f": FILE["file"]}}, 400, "file: send the file as the part of"),
        ("merchant", "POST /v1/imports", {"form": {}, "files": FILE}, 400, "format: must be one of shopify-csv, jishi-csv"),
        ("merchant", "POST /v1/imports", {"form": {"format": "xml"}, "files": FILE}, 400, "format: must be one of shopify-csv"),
        ("merchant", "POST /v1/imports", {"form": {**CSV, "policy": "all"}, "files": FILE}, 400, "policy: must be one of reject_"),
        ("buyer", "POST /v1/checkouts", {"body": {"address": ADDRESS}}, 400, "lines: a checkout has 1 to 50 lines"),
        ("buyer", "POST /v1/checkouts", {"body": {"adress": ADDRESS}}, 400, "adress: no such field; look at /openapi.json"),
        ("merchant", f"GET /v1/products/{LONG}", {}, 404, "no product aaaa"),
        ("merchant", f"GET /v1/orders/{LONG}", {}, 404, "no order aaaa"),
        ("buyer", f"GET /v1/disputes/{LONG}", {}, 404, "no case aaaa"),
        ("buyer", "POST /v1/payments", {"body": {"checkout_id": LONG, "method": "native"}}, 404, "no checkout aaaa"),
        ("buyer", "POST /v1/checkouts", {"body": {"address": ADDRESS, "lines": [LINE]}}, 409, "lines[0]"),
        ("nobody", "POST /v1/oauth/token", {"form": {"grant_type": "password"}}, 400, 'grant_type: must be "client_credentials"'),
    ],
)  # fmt: skip
def test_a_mistake_is_answered_with_the_way_out(callers, caller, call, sent, status, words):
    verb, path = call.split(" ")
    answer = callers[caller].ask(verb, path, **sent)
    assert (answer.status, words in answer.body["detail"]) == (status, True), answer.body
    field = answer.body["detail"].partition(":")[0]
    if status == 400:
        assert field in [error["field"] for error in answer.body["errors"]]


def test_a_file_of_something_else_says_so_in_its_job(shop):
    from services.cli.imports import watch

    queued = shop.api.ask("POST", "/v1/imports", form=CSV, files=OTHER_FILE)
    job = watch(shop.api, queued.body["import_id"])
    assert (job["state"], job["reason"]) == ("failed", "COLUMNS_MISSING")
    assert "external_id" in job["message"]
