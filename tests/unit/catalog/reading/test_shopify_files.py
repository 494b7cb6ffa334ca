"""Product files in Shopify's columns: rows, prices, encodings, and every refusal with its reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.catalog.jobs.importing import cells
from services.catalog.jobs.importing.building import Context
from services.catalog.jobs.importing.text import CELL_LIMIT, UnreadableFileError
from tests.unit.catalog.laid import laid
from tests.unit.catalog.reading.opening import HEAD, LIMITS, SHIRT, TREE, items, opened, problems


def test_rows_of_a_handle_become_one_product():
    (shirt,) = items(HEAD + SHIRT)
    draft = shirt.draft
    assert (draft.external_id, draft.name, draft.axes, draft.listed) == ("shirt", "Shirt", ("Size",), True)
    assert [(sku.values, sku.price, sku.original_price, sku.quantity) for sku in draft.skus] == [
        (("S",), 1000, 1000, 3),
        (("M",), 1100, 1250, 4),
    ]
    assert draft.images == ("https://example.com/1.jpg",)
    assert draft.detail == (("text", "Soft"),)
    assert draft.category_id == TREE.uncategorised


def test_title_default_title_is_a_single_specification():
    (item,) = items(HEAD + "cup,Cup,,false,Title,Default Title,,,,1,5,,\n")
    assert item.draft.axes == ()
    assert [sku.values for sku in item.draft.skus] == [()]
    assert item.draft.listed is False


def test_rows_that_hold_only_an_image_add_it():
    (item,) = items(HEAD + SHIRT + "shirt,,,,,,,,,,,,https://example.com/2.jpg\n")
    assert item.draft.images == ("https://example.com/1.jpg", "https://example.com/2.jpg")
    assert len(item.draft.skus) == 2


def test_what_was_sold_beyond_the_stock_leaves_nothing_on_hand():
    (item,) = items(HEAD + "cup,Cup,,true,Title,Default Title,,,,-3,5,,\n")
    assert item.draft.skus[0].quantity == 0


def test_images_stand_in_the_order_of_their_positions():
    head = "Handle,Title,Variant Price,Image Src,Image Position\n"
    (item,) = items(head + "a,A,1,https://example.com/2.jpg,2\na,,,https://example.com/1.jpg,1\n")
    assert item.draft.images == ("https://example.com/1.jpg", "https://example.com/2.jpg")


def test_the_newer_template_and_any_letter_case_are_known():
    head = "URL HANDLE,title,Description,Published on online store,Status,Option1 name,Option1 value,SKU,Inventory quantity,Price,Compare-at price,Product image URL\n"
    (item,) = items(head + "a,A,text,TRUE,Active,Color,Red,A-1,7,9.90,19.90,\n")
    assert item.draft.skus[0].merchant_sku == "A-1"
    assert (item.draft.skus[0].price, item.draft.skus[0].original_price, item.draft.listed) == (990, 1990, True)
    (item,) = items(head + "a,A,text,TRUE,draft,Color,Red,A-1,7,9.90,19.90,\n")
    assert item.draft.listed is False


def test_a_bad_row_fails_its_whole_product_and_only_it():
    found = items(
        HEAD
        + SHIRT
        + "cup,Cup,,true,Size,S,,,,1,cheap,,\ncup,,,,,M,,,,1,5,,\nhat,Hat,,true,Title,Default Title,,,,1,5,,\n"
    )
    assert [(item.external_id, item.draft is not None) for item in found] == [
        ("shirt", True),
        ("cup", False),
        ("hat", True),
    ]
    (problem,) = found[1].problems
    assert (problem.row, problem.field, problem.reason) == (4, "Variant Price", "PRICE_INVALID")
    assert "19.90" in problem.message


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("a,A,,true,Size,S,,,,1,,,", (2, "Variant Price", "REQUIRED")),
        ("a,A,,true,Size,S,,,,1,-5,,", (2, "Variant Price", "PRICE_INVALID")),
        ("a,A,,true,Size,S,,,,1,1e3,,", (2, "Variant Price", "PRICE_INVALID")),
        ("a,A,,true,Size,S,,,,1,9.999,,", (2, "Variant Price", "PRICE_NOT_EXACT")),
        ("a,A,,true,Size,S,,,,1,0,,", (2, "Variant Price", "OUT_OF_RANGE")),
        ("a,A,,true,Size,S,,,,1,9,8,", (2, "Variant Compare At Price", "PRICE_ABOVE_ORIGINAL")),
        ("a,A,,true,Size,S,,,,1.5,9,,", (2, "Variant Inventory Qty", "NUMBER_INVALID")),
        ("a,A,,true,Size,S,,,,many,9,,", (2, "Variant Inventory Qty", "NUMBER_INVALID")),
        ("a,A,,maybe,Size,S,,,,1,9,,", (2, "Published", "SWITCH_INVALID")),
        ("a,,,true,Size,S,,,,1,9,,", (2, "Title", "REQUIRED")),
        (",A,,true,Size,S,,,,1,9,,", (2, "Handle", "REQUIRED")),
        ("a,A,,true,,S,,,,1,9,,", (2, "Option1 Name", "OPTION_NAME_MISSING")),
        ("a,A,,true,Size,S,Color,,,1,9,,", (2, "Option1 Value", "OPTION_VALUE_MISSING")),
        ("a,A,,true,Size,S,Size,S,,1,9,,", (2, "Option1 Name", "AXIS_INVALID")),
        ("a,A,,true,Size,S,,,,1,9,,javascript:alert(1)", (2, "Image Src", "URL_INVALID")),
        ("a,A,,true,Size,S,,,,1,9,,,extra", (2, "Handle", "TOO_MANY_CELLS")),
        ("a,A,,true,Size,S,,,,1,9,,\na,,,,,S,,,,1,9,,", (3, "Option1 Value", "DUPLICATE_SKU")),
        ("a,A,,true,Size,S,,,X,1,9,,\na,,,,,M,,,X,1,9,,", (3, "Variant SKU", "MERCHANT_SKU_TAKEN")),
        ("a,A,,true,Size,S,,,,1,9,,\na,,,,,,,,,,,,", (3, "Option1 Value", "EMPTY_ROW")),
    ],
)
def test_what_is_wrong_is_told_by_row_column_and_reason(row, expected):
    assert expected in problems(HEAD + row + "\n")


def test_a_description_of_ten_megabytes_fails_its_product_alone():
    long = "x" * 10_000_000
    found = items(HEAD + f"a,A,{long},true,Size,S,,,,1,9,,\n" + SHIRT)
    assert [(item.external_id, [p.reason for p in item.problems]) for item in found] == [
        ("a", ["TOO_LONG"]),
        ("shirt", []),
    ]


def test_rows_of_a_product_that_lie_apart_are_one_product():
    content = (
        HEAD
        + "a,A,,true,Size,S,,,,1,9,,\nb,B,,true,Title,Default Title,,,,1,9,,\na,,,,,M,,,,1,bad,,\nc,C,,true,Title,Default Title,,,,1,9,,\n"
    )
    file = opened(content)
    assert (file.rows, file.products) == (4, 3)
    found = items(content)
    assert [(item.external_id, bool(item.problems)) for item in found] == [("b", False), ("a", True), ("c", False)]


def test_the_same_file_always_falls_into_the_same_chunks():
    content = HEAD + "".join(f"p{n},P,,true,Title,Default Title,,,,1,9,,\n" for n in range(25))
    everything = items(content, products=10)
    assert [item.external_id for item in everything] == [f"p{n}" for n in range(25)]
    file, context = laid(opened(content), "shopify-csv"), Context("CNY", TREE, LIMITS)
    places = [behind for _, behind in file.chunks(context, products=10, rows=2000)]
    for number, place in enumerate(places, 1):
        found = file.chunks(context, products=10, rows=2000, place=place)
        assert [item for chunk, _ in found for item in chunk] == everything[10 * number :]
    assert len(items(content, products=100, rows=7)) == 25


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [("utf-8", "utf-8-sig"), ("utf-8-sig", "utf-8-sig"), ("gb18030", "gb18030"), ("gbk", "gb18030")],
)
def test_encodings_are_found(encoding, expected):
    assert (
        opened((HEAD + "a,Cup 😀,,true,T,ü,,,,1,9,,\n").encode("gb18030" if encoding == "gbk" else encoding)).encoding
        == expected
    )
    assert opened((HEAD + "a,連衣裙與圍巾,,true,顏色,紅色,,,,1,9,,\n").encode(encoding)).encoding == expected
    content = (HEAD + "a,雪纺连衣裙的名字,,true,颜色,藏青色,,,,1,9,,\n").encode(encoding)
    assert opened(content).encoding == expected
    (item,) = items(content)
    assert (item.draft.name, item.draft.axes) == ("雪纺连衣裙的名字", ("颜色",))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "EMPTY_FILE"),
        (b"PK\x03\x04rest of a workbook", "BINARY_FILE"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "BINARY_FILE"),
        ((HEAD + SHIRT).encode("utf-16"), "BINARY_FILE"),
        ((HEAD + "a,Début de soirée à Orléans,,true,T,ü,,,,1,9,,\n").encode("cp1252"), "UNKNOWN_ENCODING"),
        ((HEAD + "a,碎花連衣裙，夏季新款,,true,顏色,紅色,,,,1,9,,\n").encode("big5"), "UNKNOWN_ENCODING"),
        ((HEAD + "a,玻璃杯,,true,容量,大,,,,1,9,,\n").encode("big5"), "UNKNOWN_ENCODING"),
        (HEAD.encode(), "NO_PRODUCTS"),
        (b"name,price\nshirt,10\n", "COLUMNS_MISSING"),
        ((b"Handle,Handle,Title,Variant Price\na,a,A,1\n"), "COLUMN_TWICE"),
        ((HEAD + 'a,"A,,true,Size,S,,,,1,9,,\n' + SHIRT).encode(), "UNCLOSED_QUOTE"),
        (HEAD.encode() + b"a," + b"x" * (CELL_LIMIT + 1) + b",,true\n", "CELL_TOO_LARGE"),
    ],
)
def test_what_is_no_product_file_is_refused_as_a_whole(content, reason):
    with pytest.raises(UnreadableFileError) as refused:
        opened(content)
    assert refused.value.reason == reason
    assert len(refused.value.message) > 20


def test_too_many_rows_are_refused():
    with pytest.raises(UnreadableFileError, match="split the file"):
        opened(HEAD + SHIRT, most_rows=1)


def test_wrong_columns_are_named():
    with pytest.raises(UnreadableFileError, match=r"Title, Variant Price.*Handle, Price per unit"):
        opened("Handle,Price per unit\na,1\n")


@given(st.integers(0, 10**12), st.sampled_from(["CNY", "JPY", "KWD"]))
def test_prices_are_exact(units, currency):
    digits = {"CNY": 2, "JPY": 0, "KWD": 3}[currency]
    whole, rest = divmod(units, 10**digits)
    text = f"{whole}.{rest:0{digits}d}" if digits else str(whole)
    assert cells.minor_units(text, currency) == units
    assert cells.minor_units(text + ("0" if "." in text else ".00"), currency) == units


@given(st.text(max_size=12))
def test_no_cell_makes_a_price_of_nothing(text):
    reason = ""
    try:
        units = cells.minor_units(text, "CNY")
    except cells.CellError as error:
        units, reason = 0, error.reason
    assert units >= 0
    assert reason in ("", "PRICE_INVALID", "PRICE_NOT_EXACT")
