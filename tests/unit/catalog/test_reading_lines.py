"""JSONL: one product a line in the shape of the bulk call; errors name the line and the path."""

import json

import pytest

from services.catalog.jobs.importing.building import Context
from services.catalog.jobs.importing.reading import open_file
from services.catalog.jobs.importing.text import CELL_LIMIT, UnreadableFileError
from services.catalog.model.imports import check_options
from services.chassis.errors import Refusal
from tests.unit.catalog.laid import chunks, laid
from tests.unit.catalog.reading.opening import LIMITS, TREE


def product(external_id="p1", **more):
    return {"external_id": external_id, "name": "茶", "skus": [{"price": 100}], **more}


def lines(*products, encoding="utf-8"):
    return "".join(json.dumps(found, ensure_ascii=False) + "\n" for found in products).encode(encoding)


def opened(content, most_rows=10**6):
    return open_file(
        lambda: iter([content[i : i + 999] for i in range(0, len(content), 999)]), "jsonl", most_rows=most_rows
    )


def items(content, **how):
    found = chunks(opened(content), "jsonl", Context("CNY", TREE, LIMITS), **{"products": 200, "rows": 2000, **how})
    return [item for chunk in found for item in chunk]


def problems(content):
    return [(found.row, found.field, found.reason) for item in items(content) for found in item.problems]


def test_a_line_is_a_product_as_the_bulk_call_takes_it():
    more = {"axes": ["净含量"], "freight": {"kind": "flat", "fee": 800}, "listed": True, "detail": [{"text": "<b>好"}]}
    (item,) = items(lines(product(" p1 ", skus=[{"values": ["100g"], "price": 5800, "quantity": 3}], **more)))
    draft = item.draft
    assert (item.problems, draft.external_id, draft.axes, draft.freight.fee, draft.listed) == (
        (),
        "p1",
        ("净含量",),
        800,
        True,
    )
    assert (draft.skus[0].price, draft.skus[0].original_price, draft.skus[0].quantity) == (5800, 5800, 3)
    assert draft.detail == (("text", "<b>好"),)


def test_what_is_wrong_is_told_by_line_and_path():
    content = (
        lines(product("a"))
        + b"\n"
        + lines(product("b", skus=[{"price": 1}, {"price": "cheap"}], colour="red"))
        + b'{"external_id": "c",\n[1]\nnull\n'
        + lines(product("d", skus=[{"price": 100, "original_price": 5}]), product("a"), {"name": 5})
    )
    assert problems(content) == [
        (3, "skus[1].price", "FIELD_INVALID"),
        (3, "colour", "FIELD_INVALID"),
        (4, "", "JSON_INVALID"),
        (5, "", "JSON_INVALID"),
        (6, "", "JSON_INVALID"),
        (7, "skus[0].original_price", "PRICE_ABOVE_ORIGINAL"),
        (8, "external_id", "DUPLICATE_ITEM"),
        (9, "name", "FIELD_INVALID"),
    ]
    assert opened(content).products == opened(content).rows == 8


@pytest.mark.parametrize("wrong", [1.5, 1e3 + 0.1, "1.0", True, None, [], 2**70, float("nan")])
def test_prices_are_whole_fen_never_floats(wrong):
    content = lines(product(skus=[{"price": wrong}]))
    assert items(content)[0].draft is None


@pytest.mark.parametrize(
    ("encoding", "expected"), [("utf-8", "utf-8-sig"), ("utf-8-sig", "utf-8-sig"), ("gb18030", "gb18030")]
)
def test_encodings_are_found(encoding, expected):
    content = lines(product(name="雪纺连衣裙的名字很长"), encoding=encoding)
    assert opened(content).encoding == expected
    assert items(content)[0].draft.name == "雪纺连衣裙的名字很长"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "EMPTY_FILE"),
        (b"\n \n", "NO_PRODUCTS"),
        (b'[{"external_id": "a"}]', "NOT_JSONL"),
        (b"external_id,title,price\na,A,5\n", "NOT_JSONL"),
        (b"\x00{}", "BINARY_FILE"),
        (b"PK\x03\x04", "BINARY_FILE"),
        ("{}".encode("utf-16"), "BINARY_FILE"),
        (b"{\xff\xfe\xfd\xfc}", "UNKNOWN_ENCODING"),
        (b'{"name": "' + b"x" * CELL_LIMIT + b'"}', "LINE_TOO_LARGE"),
        (b"{}\n{}\n{}\n{}\n", "TOO_MANY_ROWS"),
    ],
)
def test_what_is_no_file_of_products_is_refused(content, reason):
    with pytest.raises(UnreadableFileError) as caught:
        opened(content, most_rows=3)
    assert caught.value.reason == reason
    assert "CSV" not in caught.value.message


def test_ten_megabytes_in_one_field_fail_their_product_only():
    assert (2, "name", "TOO_LONG") in problems(lines(product("a"), product("b", name="x" * 10**7), product("c")))
    deep = b'{"external_id": "a", "name": ' + b"[" * 5000 + b"]" * 5000 + b"}\n"
    assert problems(deep) == [(1, "", "JSON_INVALID")]


def test_chunks_are_the_same_wherever_one_begins():
    """Whichever chunk was the last one applied, what comes after it is what came after it the first time."""
    content = lines(*(product(f"p{n}", skus=[{"price": 1}] * (1 + n % 3)) for n in range(50)))
    whole = [item.external_id for item in items(content, products=7, rows=9)]
    assert whole == [f"p{n}" for n in range(50)]
    file, context = laid(opened(content), "jsonl"), Context("CNY", TREE, LIMITS)
    found = list(file.chunks(context, products=7, rows=9))
    assert max(len(chunk) for chunk, _ in found) <= 7
    for number, (_, behind) in enumerate(found, 1):
        assert list(file.chunks(context, products=7, rows=9, place=behind)) == found[number:]
    assert [item.row for item in items(content, only={4, 9})] == [4, 9]


@pytest.mark.parametrize(
    ("name", "file_name", "fix"),
    [
        ("jishi-csv", "商品.xlsx", "send it as xlsx"),
        ("xlsx", "products.CSV", "send it as shopify-csv or jishi-csv"),
        ("xlsx", "products.xls", "save it as .xlsx"),
        ("jsonl", "products.json", "save it as .jsonl"),
        ("jsonl", "a.b.csv", "send it as"),
    ],
)
def test_a_file_that_is_called_otherwise_than_its_format_is_refused(name, file_name, fix):
    with pytest.raises(Refusal) as caught:
        check_options(name, "", 0, file_name)
    assert [found.field for found in caught.value.violations] == ["file"]
    assert fix in caught.value.message


@pytest.mark.parametrize(
    ("name", "file_name"),
    [
        ("jsonl", "p.ndjson"),
        ("jsonl", "p.txt"),
        ("xlsx", "p.XLSX"),
        ("shopify-csv", "p"),
        ("jishi-csv", "p v1.0 最终"),
        ("jsonl", ".jsonl"),
    ],
)
def test_other_names_are_taken(name, file_name):
    assert check_options(name, "", 0, file_name) == "reject_failed"
