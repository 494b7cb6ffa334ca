"""Product files in our own columns: everything of a product, and every refusal with its reason."""

import re
from pathlib import Path

import pytest

from services.catalog.jobs.importing.jishi import JISHI as OURS
from services.catalog.model.assurances import NOTHING, Assurances, Certificate, Location, Terms
from services.catalog.model.freight import Freight
from tests.unit.catalog.reading.opening import HOME, TREE, items, problems

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


FREIGHT = "external_id,title,price,freight,freight_express,freight_ems,freight_post,freight_template\n"


@pytest.mark.parametrize(
    ("cells_", "freight"),
    [
        (",,,,", Freight()),
        ("包邮,,,,", Freight()),
        ("8.00,,,,", Freight("flat", 800)),
        (",9.00,,3.50,", Freight("carriers", carrier_fees=(("express", 900), ("post", 350)))),
        (",0,20,10,", Freight("carriers", carrier_fees=(("express", 0), ("ems", 2000), ("post", 1000)))),
        (",,,,1234567", Freight("template", template_id=1234567)),
    ],
)
def test_freight_is_said_in_one_of_four_ways(cells_, freight):
    (item,) = items(f"{FREIGHT}a,A,5.00,{cells_}\n", name="jishi-csv")
    assert item.problems == ()
    assert item.draft.freight == freight


@pytest.mark.parametrize(
    ("cells_", "field", "reason"),
    [
        ("8.00,9.00,,,", "freight_express", "FREIGHT_INVALID"),
        ("free,,,,7", "freight_template", "FREIGHT_INVALID"),
        (",,5,,7", "freight_ems", "FREIGHT_INVALID"),
        (",,5元,,", "freight_ems", "PRICE_INVALID"),
        (",,,9999999999,", "freight_post", "FREIGHT_INVALID"),
        (",,,,标准", "freight_template", "NUMBER_INVALID"),
        (",,,,0", "freight_template", "FREIGHT_INVALID"),
        (",,,,2147483648", "freight_template", "FREIGHT_INVALID"),
    ],
)
def test_freight_said_wrongly_is_told_by_its_column(cells_, field, reason):
    assert problems(f"{FREIGHT}a,A,5.00,{cells_}\n", name="jishi-csv") == [(2, field, reason)]


def test_freight_columns_have_chinese_names_and_belong_to_the_product():
    head = "商品编号,商品名称,价格,快递运费,EMS运费,平邮运费,运费模板,规格名1,规格值1\n"
    (item,) = items(f"{head}a,A,5.00,9,,,,颜色,红\na,,6.00,,,,,,蓝\n", name="jishi-csv")
    assert item.draft.freight.carrier_fees == (("express", 900),)
    differing = f"{head}a,A,5.00,,,,7,颜色,红\na,,6.00,,,,8,,蓝\n"
    assert problems(differing, name="jishi-csv") == [(3, "freight_template", "VALUE_DIFFERS")]


ASSURED = "商品编号,商品名称,价格,服务承诺,发货国家,发货省份,发货城市,发货地址,证书\n"


def test_what_a_seller_assures_has_columns():
    (item,) = items(f"{ASSURED}a,A,5.00,发票；退换货,中国,浙江省,杭州市,龙井村,质检报告={'0' * 64}\n", name="jishi-csv")
    assert item.draft.assurances == Assurances(
        Terms(receipt=True, returns=True),
        Location("中国", "浙江省", "杭州市", "龙井村"),
        (Certificate("质检报告", "0" * 64),),
    )
    (bare,) = items(f"{ASSURED}a,A,5.00,,,,,,\n", name="jishi-csv")
    assert bare.draft.assurances == NOTHING


@pytest.mark.parametrize(
    ("cells_", "field", "reason"),
    [
        ("发票;送货,,,,,", "terms", "TERMS_INVALID"),
        (",,,,,质检报告", "certificates", "CERTIFICATE_INVALID"),
        (",,,,,质检报告=abc", "certificates", "CERTIFICATE_INVALID"),
        (f",,{'省' * 256},,,", "location_province", "TOO_LONG"),
    ],
)
def test_an_assurance_said_wrongly_is_told_by_its_column(cells_, field, reason):
    assert problems(f"{ASSURED}a,A,5.00,{cells_}\n", name="jishi-csv") == [(2, field, reason)]


def test_the_documentation_names_every_column_and_reason():
    page = Path("docs/formats.md").read_text(encoding="utf-8")
    for english, chinese in OURS.headers.values():
        assert f"`{english}`" in page
        assert chinese.rstrip("123") in page
    sources = [
        *(HOME / "jobs/importing").glob("*.py"),
        *(HOME / f"model/{name}.py" for name in ("products", "imports", "chunks")),
    ]
    written = "".join(path.read_text(encoding="utf-8") for path in sources)
    reasons = set(re.findall(r'"([A-Z]+_[A-Z_]+)"', written))
    reasons -= {"INVALID_ARGUMENT", "WRONG_STATE", "CONDITION_UNMET"}
    reasons -= {"NOT_FOUND", "ETAG_MISMATCH"}  # of items that name a product by its id, which no file does
    assert len(reasons) > 20
    assert [reason for reason in sorted(reasons) if f"`{reason}`" not in page] == []
