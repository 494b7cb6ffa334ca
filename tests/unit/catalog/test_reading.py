"""Product files: both formats, encodings, and every refusal with its reason."""

import re
import time
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.catalog.jobs.importing import cells
from services.catalog.jobs.importing.building import Context
from services.catalog.jobs.importing.jishi import JISHI as OURS
from services.catalog.jobs.importing.markup import detail_blocks
from services.catalog.jobs.importing.reading import open_file
from services.catalog.jobs.importing.text import CELL_LIMIT, UnreadableFileError
from services.catalog.model.categories import parse
from services.catalog.model.products import Limits

HOME = Path("services/catalog")
TREE = parse(tomllib.loads((HOME / "categories.toml").read_text(encoding="utf-8")))
LIMITS = Limits(**tomllib.loads((HOME / "policy.toml").read_text(encoding="utf-8"))["product_limits"][0]["value"])
HEAD = "Handle,Title,Body (HTML),Published,Option1 Name,Option1 Value,Option2 Name,Option2 Value,Variant SKU,Variant Inventory Qty,Variant Price,Variant Compare At Price,Image Src\n"
SHIRT = "shirt,Shirt,<p>Soft</p>,true,Size,S,,,,3,10.00,,https://example.com/1.jpg\nshirt,,,,,M,,,,4,11.00,12.50,\n"


def opened(content, name="shopify-csv", most_rows=10**6):
    content = content.encode() if isinstance(content, str) else content
    return open_file(
        lambda: iter([content[i : i + 1000] for i in range(0, len(content), 1000)]), name, most_rows=most_rows
    )


def items(content, name="shopify-csv", currency="CNY", products=200, rows=2000, skip=0):
    context = Context(currency, TREE, LIMITS)
    return [
        item
        for chunk in opened(content, name).chunks(context, products=products, rows=rows, skip=skip)
        for item in chunk
    ]


def problems(content, **how):
    return [(found.row, found.field, found.reason) for item in items(content, **how) for found in item.problems]


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
    for skip in range(4):
        assert items(content, products=10, skip=skip) == everything[10 * skip :]
    assert len(items(content, products=100, rows=7)) == 25


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [("utf-8", "utf-8-sig"), ("utf-8-sig", "utf-8-sig"), ("gb18030", "gb18030"), ("gbk", "gb18030")],
)
def test_encodings_are_found(encoding, expected):
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


def test_descriptions_become_blocks_without_anything_that_runs():
    source = (
        '<h1>Hi &amp; bye</h1><p>one<br>two</p><script>alert(1)</script><img src="https://example.com/a.jpg?x=1&amp;y=2" onerror="x()">'
        '<img src="javascript:alert(1)"><a href="javascript:x" onclick="y">link</a> tail &lt;b&gt;'
    )
    assert detail_blocks(source) == (
        ("text", "Hi & bye\none\ntwo"),
        ("image", "https://example.com/a.jpg?x=1&y=2"),
        ("text", "link tail <b>"),
    )
    assert detail_blocks("plain &amp; simple") == (("text", "plain & simple"),)
    assert detail_blocks("  ") == ()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("<p>a<!-- <p>b --> c", (("text", "a c"),)),
        ("a <b title='x>y'>b</b><STYLE>p{}</STYLE >c", (("text", "a bc"),)),
        ("<object>a<object>b</object>c</object>d", (("text", "d"),)),
        ("a<script>b", (("text", "a"),)),
        ("<<b>p>a", (("text", "<p>a"),)),
        ("<IMG data-src='https://x/1' alt=\"a>b\" SRC=//x/2>", (("image", "//x/2"),)),
        ("<img src='\"><script>x</script>'>a", (("text", "a"),)),
        ("a < b<?php p ?></ p>c", (("text", "a < bc"),)),
    ],
)
def test_what_stands_in_tags_and_comments_is_no_text(source, expected):
    assert detail_blocks(source) == expected


@pytest.mark.parametrize(
    "pattern", ["<div>", "<b id={0}><p>", "<object>", "<div><table></div></table>", "<!--", '<p a="', "<", "<img "]
)
def test_no_nesting_keeps_the_reader_busy(pattern):
    """Four times as long takes about four times as long; a tree of elements takes sixteen times."""

    def seconds(characters):
        source = "".join(pattern.format(n) for n in range(characters // len(pattern)))
        before = time.process_time()
        detail_blocks(source)
        return time.process_time() - before

    detail_blocks("<p>")
    assert seconds(LIMITS.html) < 10 * min(seconds(LIMITS.html // 4) for _ in range(3)) + 0.5


def test_html_above_its_limit_is_not_read_and_fails_its_product_alone():
    deep = "<div>" * (LIMITS.html // 5 + 1)
    assert problems(HEAD + f"a,A,{deep},true,Size,S,,,,1,9,,\n" + SHIRT) == [(2, "Body (HTML)", "TOO_LONG")]
    assert problems(f"external_id,title,price,description\na,A,9,{deep}\n", name="jishi-csv") == [
        (2, "description", "TOO_LONG")
    ]


@given(st.text(alphabet="<>/\"'= abimgsrcp&;:x\n", max_size=60))
def test_no_description_breaks_the_reader(source):
    for kind, content in detail_blocks(source):
        assert kind in ("text", "image")
        assert content.strip()
        if kind == "image":
            assert content.startswith(("http", "//"))


# ---------------------------------------------------------------------------------------------------------------- jishi-csv

JISHI = "external_id,title,category,status,description,images,properties,axis1,value1,axis2,value2,price,original_price,stock,merchant_sku,weight_g,volume_cm3,sku_image,buy_limit,freight\n"
TEA = "tea,龙井,食品/茶叶,listed,<p>好茶</p>,https://example.com/1.jpg https://example.com/2.jpg,产地=杭州;保质期=18个月,净含量,100g,,,58.00,68.00,9,T-1,120,300,,2,8.00\ntea,,,,,,,,250g,,,128.00,,5,T-2,260,,,,\n"


def test_our_own_format_says_everything():
    (item,) = items(JISHI + TEA, name="jishi-csv")
    draft = item.draft
    assert item.problems == ()
    assert TREE.get(draft.category_id).path == "食品/茶叶"
    assert (draft.axes, draft.buy_limit, draft.freight.kind, draft.freight.fee, draft.listed) == (
        ("净含量",),
        2,
        "flat",
        800,
        True,
    )
    assert draft.properties == (("产地", "杭州"), ("保质期", "18个月"))
    assert [(s.values, s.price, s.original_price, s.quantity, s.merchant_sku, s.weight_g) for s in draft.skus] == [
        (("100g",), 5800, 6800, 9, "T-1", 120),
        (("250g",), 12800, 12800, 5, "T-2", 260),
    ]


def test_chinese_headers_are_known():
    (item,) = items(
        "商品编号,商品名称,规格名1,规格值1,价格,库存,重量（克）\n甲,茶杯,颜色,白,9.90,3,120\n", name="jishi-csv"
    )
    assert (item.draft.name, item.draft.axes, item.draft.skus[0].price, item.draft.skus[0].weight_g) == (
        "茶杯",
        ("颜色",),
        990,
        120,
    )


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("a,A,没有/这个,listed,,,,,,,,1,,,,,,,,", (2, "category", "CATEGORY_UNKNOWN")),
        ("a,A,食品,listed,,,,,,,,1,,,,,,,,", (2, "category", "CATEGORY_UNKNOWN")),
        ("a,A,食品/茶叶,listed,,,产地=杭州,,,,,1,,,,,,,,", (2, "properties", "PROPERTY_REQUIRED")),
        ("a,A,,sold,,,,,,,,1,,,,,,,,", (2, "status", "STATUS_INVALID")),
        ("a,A,,,,,棉,,,,,1,,,,,,,,", (2, "properties", "PROPERTY_INVALID")),
        ("a,A,,,,,,,,,,1,,-3,,,,,,", (2, "stock", "NUMBER_INVALID")),
        ("a,A,,,,,,,红,,,1,,,,,,,,", (2, "value1", "OPTION_NAME_MISSING")),
        ("a,A,,,,,,颜色,,,,1,,,,,,,,", (2, "value1", "OPTION_VALUE_MISSING")),
        ("a,A,,,,,,颜色,红,,,1,,,,,,,,cheap", (2, "freight", "PRICE_INVALID")),
        ("a,A,,,,,,颜色,红,,,1,,,,,,,,\na,B,,,,,,,蓝,,,1,,,,,,,,", (3, "title", "VALUE_DIFFERS")),
    ],
)
def test_what_is_wrong_in_our_own_format(rows, expected):
    assert expected in problems(JISHI + rows + "\n", name="jishi-csv")


def test_the_sample_is_believable_and_reads_without_a_problem():
    content = (HOME / "samples/products.zh.csv").read_bytes()
    assert len(content) < 600_000
    found = items(content, name="jishi-csv")
    assert [item.problems for item in found if item.problems] == []
    drafts = [item.draft for item in found]
    assert len(drafts) >= 300
    assert len({TREE.get(draft.category_id).parent_id for draft in drafts}) >= 8
    assert {len(draft.skus) for draft in drafts} >= {1, 2, 3, 12}
    assert max(len(draft.skus) for draft in drafts) == 12
    assert len({draft.name for draft in drafts}) == len(drafts)
    codes = [sku.merchant_sku for draft in drafts for sku in draft.skus]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("name", ["apparel.csv", "home-and-garden.csv"])
def test_real_exports_read_completely(name):
    """Public sample shops of Shopify Partners, where they lie beside the checkout."""
    path = next((found for found in (Path("../shared/data") / name,) if found.exists()), None)
    if path is None:
        pytest.skip(f"{name} is not beside this checkout; put Shopify's sample exports into ../shared/data to run this")
    found = items(path.read_bytes())
    assert len(found) == 20
    assert [item.problems for item in found if item.problems] == []


def test_the_example_of_the_documentation_reads():
    content = Path("docs/formats.md").read_text(encoding="utf-8").split("```csv\n")[1].split("```")[0]
    (item,) = items(content, name="jishi-csv")
    assert item.problems == ()
    assert [sku.merchant_sku for sku in item.draft.skus] == ["TEA-1-100", "TEA-1-250"]


def test_the_documentation_names_every_column_and_reason():
    page = Path("docs/formats.md").read_text(encoding="utf-8")
    for english, chinese in OURS.headers.values():
        assert f"`{english}`" in page
        assert chinese.rstrip("123") in page
    sources = [*(HOME / "jobs/importing").glob("*.py"), HOME / "model/products.py", HOME / "model/imports.py"]
    written = "".join(path.read_text(encoding="utf-8") for path in sources)
    reasons = set(re.findall(r'"([A-Z]+_[A-Z_]+)"', written)) - {"INVALID_ARGUMENT", "WRONG_STATE"}
    assert len(reasons) > 20
    assert [reason for reason in sorted(reasons) if f"`{reason}`" not in page] == []
