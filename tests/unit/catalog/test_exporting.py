"""Exports: whatever a product holds, what is written reads back as the same product, and is safe to open."""

import contextlib
import csv
import io
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.catalog.jobs.exporting import writing
from services.catalog.jobs.exporting.writing import Sheet, UnwritableError, part_writer
from services.catalog.jobs.importing.building import Context
from services.catalog.jobs.importing.reading import open_file
from services.catalog.model.assurances import Assurances, Certificate, Location, Terms
from services.catalog.model.freight import CARRIERS, Freight
from services.catalog.model.products import ProductDraft, SkuDraft, listing, validate
from tests.examples import examples
from tests.unit.catalog.laid import chunks
from tests.unit.catalog.reading.opening import LIMITS, TREE

FORMATS = ("jishi-csv", "jsonl", "xlsx")
MEAN = st.sampled_from(
    [
        "=1+1",
        "+86",
        "-5",
        "@x",
        "'=x",
        "''",
        "'",
        "[a]",
        "[]",
        '["x"]',
        "a;b",
        "a=b",
        "；",
        "<b>&amp;",
        "1.0",
        "007",
        "true",
        "_x000D_",
        '"',
        ",",
    ]
)
TEXT = (
    st.one_of(MEAN, st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12))
    .map(str.strip)
    .filter(bool)
)
LINES = st.one_of(TEXT, st.lists(TEXT, min_size=2, max_size=3).map("\n".join))
URL = st.sampled_from(["https://x/1.jpg", "https://x/a|b.jpg", "//x/'=.jpg", 'https://x/?a=1&amp;b=%20"<'])
BLOCK = st.one_of(st.tuples(st.just("text"), LINES), st.tuples(st.just("image"), URL))
AXES = st.sampled_from([(), ("颜色",), ("=规格", "尺码"), ("a", "b", "c")])
FEE = st.integers(0, 10**6)
FREIGHT = st.one_of(
    st.just(Freight()),
    FEE.map(lambda fee: Freight("flat", fee)),
    st.lists(st.tuples(st.sampled_from(CARRIERS), FEE), min_size=1, unique_by=lambda fee: fee[0]).map(
        lambda fees: Freight("carriers", carrier_fees=tuple(fees))
    ),
    st.integers(1, 2**31 - 1).map(lambda number: Freight("template", template_id=number)),
)
MAYBE = st.one_of(st.just(""), TEXT)
ASSURANCES = st.builds(
    Assurances,
    st.builds(Terms, st.booleans(), st.booleans(), st.booleans()),
    st.builds(Location, MAYBE, MAYBE, MAYBE, MAYBE),
    st.lists(st.builds(Certificate, TEXT, st.sampled_from(["0" * 64, "f1" * 32])), max_size=3).map(tuple),
)
CATEGORIES = st.sampled_from([TREE.uncategorised, 538010001, 538070001])


@st.composite
def drafts(draw, key):
    axes = draw(AXES)
    values = draw(st.lists(st.tuples(*(TEXT for _ in axes)), min_size=1, max_size=3 if axes else 1, unique=True))
    count = st.integers(0, 10**6)
    skus = []
    for n, value in enumerate(values):
        price = draw(st.integers(1, 10**10))
        code = draw(st.one_of(st.just(""), TEXT.map(lambda text, n=n: f"{text}{key}-{n}")))
        skus.append(
            SkuDraft(
                value,
                price,
                price + draw(count),
                draw(count),
                code,
                draw(st.one_of(st.just(""), TEXT)),
                draw(st.one_of(st.just(""), URL)),
                draw(count),
                draw(count),
            )
        )
    return ProductDraft(
        external_id=f"{draw(TEXT)}{key}",
        name=draw(TEXT),
        category_id=draw(CATEGORIES),
        skus=tuple(skus),
        axes=axes,
        images=tuple(draw(st.lists(URL, max_size=3))),
        detail=tuple(draw(st.lists(BLOCK, max_size=3))),
        properties=tuple(draw(st.lists(st.tuples(TEXT, LINES), max_size=3))),
        buy_limit=draw(st.integers(0, 99)),
        freight=draw(FREIGHT),
        assurances=draw(ASSURANCES),
    )


def stored(draft, number, state="draft"):
    """The product and its stock as the database holds them."""
    seen = listing(draft, f"p{number}")
    product = {
        "_id": f"p{number}",
        "external_id": draft.external_id,
        "currency": "CNY",
        "state": state,
        "listing": seen,
    }
    stock = {shown["sku_id"]: {"on_hand": sku.quantity} for sku, shown in zip(draft.skus, seen["skus"], strict=True)}
    return product, stock


def written(file_format, *products):
    """Each product as a part of its own, as an export that is killed after every one of them has it."""
    parts = []
    for number, (product, stock) in enumerate(products or [(None, None)]):
        part = io.BytesIO()
        with contextlib.closing(part_writer(file_format, part, TREE, begins=not number)) as file:
            if product is not None:
                file.add(product, stock)
            file.finish()
        parts.append(part.getvalue())
    if file_format != "xlsx":
        return b"".join(parts)
    out = io.BytesIO()
    with contextlib.closing(Sheet(out)) as book:
        for rows in parts:
            book.put(rows)
        book.finish()
    return out.getvalue()


def read(content, file_format):
    file = open_file(lambda: iter([content]), file_format, most_rows=10**6)
    found = [
        item
        for chunk in chunks(file, file_format, Context("CNY", TREE, LIMITS), products=200, rows=2000)
        for item in chunk
    ]
    file.close()
    return found


@settings(max_examples=examples(150), deadline=None)
@given(st.data(), st.sampled_from(FORMATS))
def test_what_is_written_reads_back_as_it_was(data, file_format):
    wanted = [data.draw(drafts(n)) for n in range(data.draw(st.integers(1, 3)))]
    wanted = [draft for draft in wanted if not validate(draft, TREE, LIMITS)]
    if not wanted:
        return
    products = [stored(draft, n) for n, draft in enumerate(wanted)]
    found = read(written(file_format, *products), file_format)
    assert [item.problems for item in found] == [()] * len(wanted)
    assert [stored(item.draft, n) for n, item in enumerate(found)] == products


def plain(**more):
    return ProductDraft("a", "A", TREE.uncategorised, (SkuDraft((), 1990, 1990, 3),), **more)


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize(("state", "listed"), [("draft", (None, False)), ("listed", (True,)), ("delisted", (False,))])
def test_the_state_is_told(file_format, state, listed):
    (item,) = read(written(file_format, stored(plain(), 1, state)), file_format)
    assert item.draft.listed in listed


def test_no_cell_is_a_formula():
    evil = ProductDraft(
        "=HYPERLINK(1)", "@SUM(A1)", TREE.uncategorised, (SkuDraft(("-2+3",), 1990, 1990, 3, "+1", "\t=1"),), ("=x",)
    )
    content = written("jishi-csv", stored(evil, 1)).decode("utf-8-sig")
    for row in csv.reader(io.StringIO(content, newline="")):
        assert not [cell for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    sheet = zipfile.ZipFile(io.BytesIO(written("xlsx", stored(evil, 1)))).read("xl/worksheets/sheet1.xml").decode()
    assert "<f>" not in sheet
    assert "hyperlink" not in sheet
    assert "'=HYPERLINK(1)" in sheet


def test_prices_are_numbers_in_a_sheet_and_exact():
    sheet = zipfile.ZipFile(io.BytesIO(written("xlsx", stored(plain(), 1)))).read("xl/worksheets/sheet1.xml").decode()
    assert "<v>19.9</v>" in sheet
    assert "<v>3</v>" in sheet


def test_what_a_sheet_cannot_hold_is_refused(monkeypatch):
    long = stored(plain(detail=(("text", "x" * 40_000),)), 1)
    with pytest.raises(UnwritableError) as caught:
        written("xlsx", long)
    assert (caught.value.reason, "description of a" in caught.value.message) == ("CELL_TOO_LONG", True)
    assert read(written("jishi-csv", long), "jishi-csv")[0].draft.detail == (("text", "x" * 40_000),)
    monkeypatch.setattr(writing, "SHEET_ROWS", 3)
    with pytest.raises(UnwritableError) as caught:
        written("xlsx", *(stored(plain(), n) for n in range(3)))
    assert caught.value.reason == "TOO_MANY_ROWS"
