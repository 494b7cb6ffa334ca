"""``jishi-csv`` and ``xlsx``: the project's own product file; every column is told in docs/formats.md. English or Chinese headers."""

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final

from services.catalog.jobs.importing import cells
from services.catalog.jobs.importing.building import Format, Product
from services.catalog.jobs.importing.markup import Block
from services.catalog.jobs.importing.text import Row
from services.catalog.model.assurances import Assurances, Certificate, Location, Terms
from services.catalog.model.freight import CARRIERS, Freight
from services.catalog.model.products import ProductDraft, SkuDraft

_OF_PRODUCT: Final = (
    "title",
    "category",
    "status",
    "description",
    "images",
    "properties",
    "axis1",
    "axis2",
    "axis3",
    "buy_limit",
    "freight",
    "freight_express",
    "freight_ems",
    "freight_post",
    "freight_template",
    "terms",
    "location_country",
    "location_province",
    "location_city",
    "location_address",
    "certificates",
    "fulfilment",
)
_LISTED: Final = {
    "listed": True,
    "上架": True,
    "draft": False,
    "草稿": False,
    "delisted": False,
    "下架": False,
    "": None,
}
_TERMS: Final = {
    "receipt": "receipt",
    "发票": "receipt",
    "warranty": "warranty",
    "保修": "warranty",
    "returns": "returns",
    "退换货": "returns",
}
_FULFILMENT: Final = {"virtual": "virtual", "虚拟": "virtual", "voucher": "voucher", "电子券": "voucher"}
_FREE: Final = ("", "free", "包邮")
_LARGEST_ID: Final = 2**31 - 1


def _build(product: Product) -> ProductDraft | None:
    first = product.rows[0]
    for row in product.rows[1:]:
        for column in _OF_PRODUCT:
            if (text := row.get(column)) and text != first.get(column):
                message = (
                    f"differs from the product's first row ({first.number}); say it there once and leave it empty here"
                )
                product.fail(row, column, "VALUE_DIFFERS", message)
    axes = tuple(name for n in (1, 2, 3) if (name := first.get(f"axis{n}")))
    skus = tuple(_sku(product, row, _values(product, row)) for row in product.rows)
    draft = ProductDraft(
        external_id=product.key,
        name=first.get("title"),
        category_id=_category(product, first),
        skus=skus,
        axes=axes,
        images=images_of(first.get("images")),
        detail=_detail(product, first),
        properties=_properties(product, first),
        buy_limit=product.read(first, "buy_limit", lambda text: cells.count(text, "units"), 0),
        freight=_freight(product, first),
        listed=product.read(first, "status", _listed, None),
        assurances=_assurances(product, first),
        fulfilment=product.read(first, "fulfilment", _fulfilment, ""),
    )
    return None if product.problems else draft


def _values(product: Product, row: Row) -> tuple[str, ...]:
    values = []
    for n in (1, 2, 3):
        value, named = row.get(f"value{n}"), product.rows[0].get(f"axis{n}")
        if value and not named:
            product.fail(
                row, f"value{n}", "OPTION_NAME_MISSING", f"name the option in axis{n} of the product's first row"
            )
        if named:
            values.append(value)
    return tuple(values)


def _sku(product: Product, row: Row, values: tuple[str, ...]) -> SkuDraft:
    def money(text: str) -> int:
        return cells.minor_units(text, product.context.currency)

    if not row.get("price"):
        product.fail(row, "price", "REQUIRED", "every row needs a price")
    price = product.read(row, "price", money, 0)
    return SkuDraft(
        values=values,
        price=price,
        original_price=product.read(row, "original_price", money, 0) or price,
        quantity=product.read(row, "stock", lambda text: cells.count(text, "units"), None),
        merchant_sku=row.get("merchant_sku"),
        barcode=row.get("barcode"),
        image=row.get("sku_image"),
        weight_g=product.read(row, "weight_g", cells.grams, 0),
        volume_cm3=product.read(row, "volume_cm3", lambda text: cells.count(text, "cm³"), 0),
        row=row.number,
    )


def _category(product: Product, first: Row) -> int:
    tree, text = product.context.tree, first.get("category")
    if not text:
        return tree.uncategorised
    found = tree.find(text)
    if found is None or not found.leaf:
        product.fail(
            first,
            "category",
            "CATEGORY_UNKNOWN",
            f"{text!r} is no leaf of the category tree; see GET /v1/categories, or leave it empty",
        )
        return tree.uncategorised
    return found.id


def _properties(product: Product, first: Row) -> tuple[tuple[str, str], ...]:
    found, wrong = properties_of(first.get("properties"))
    for pair in wrong:
        product.fail(first, "properties", "PROPERTY_INVALID", f"{pair!r} is no name=value; write 材质=棉;产地=上海")
    return found


def _detail(product: Product, first: Row) -> tuple[Block, ...]:
    text = first.get("description")
    listed = listed_blocks(text)
    return product.detail("description", text) if listed is None else listed


def properties_of(text: str) -> tuple[tuple[tuple[str, str], ...], list[str]]:
    """``材质=棉;产地=上海`` → its pairs, and what is none. Also a JSON list of pairs, for texts that hold ``;`` or ``=`` themselves."""
    listed = _json(text, lambda pair: isinstance(pair, list) and len(pair) == 2 and _are_texts(pair))
    if listed is not None:
        return tuple((name, value) for name, value in listed), []
    found, wrong = [], []
    for pair in text.replace("；", ";").split(";"):
        name, sign, value = pair.partition("=")
        if sign and name.strip() and value.strip():
            found.append((name.strip(), value.strip()))
        elif pair.strip():
            wrong.append(pair.strip())
    return tuple(found), wrong


def images_of(text: str) -> tuple[str, ...]:
    """URLs separated by spaces or ``|``; also a JSON list, for a URL that holds ``|`` itself."""
    listed = _json(text, lambda url: isinstance(url, str))
    return tuple(text.replace("|", " ").split() if listed is None else listed)


def listed_blocks(text: str) -> tuple[Block, ...] | None:
    """The blocks of a JSON list of ``{"text": …}`` and ``{"image": …}``, which is what HTML cannot say; None for any other text."""
    kinds = ("text", "image")
    listed = _json(text, lambda block: isinstance(block, dict) and len(block) == 1 and _are_texts(block.values()))
    if not listed or any(kind not in kinds for block in listed for kind in block):
        return None
    return tuple(pair for block in listed for pair in block.items())


def _are_texts(values: Iterable[object]) -> bool:
    return all(isinstance(value, str) for value in values)


def _json(text: str, fits: Callable[[Any], bool]) -> list[Any] | None:
    """The members of a JSON list whose members all fit; None for any other text: nobody writes such a list by chance."""
    if not text.startswith("["):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) and all(fits(member) for member in found) else None


def _freight(product: Product, first: Row) -> Freight:
    most = product.context.limits.price

    def money(text: str) -> int:
        fee = cells.minor_units(text, product.context.currency)
        if fee > most:
            raise cells.CellError("FREIGHT_INVALID", f"{text} is more than the {most} minor units allowed; lower it")
        return fee

    columns = {name: f"freight_{name}" for name in CARRIERS if first.get(f"freight_{name}")}
    ways = [name for name in ("freight", "freight_template") if first.get(name)] + list(columns.values())[:1]
    if len(ways) > 1:
        message = f"{' and '.join(ways)} are filled; say the freight in one way and leave the other empty"
        product.fail(first, ways[1], "FREIGHT_INVALID", message)
        return Freight()
    if columns:
        fees = ((name, product.read(first, column, money, 0)) for name, column in columns.items())
        return Freight("carriers", carrier_fees=tuple(fees))
    if first.get("freight_template"):
        return Freight("template", template_id=product.read(first, "freight_template", _template_id, 1))
    if first.get("freight") in _FREE:
        return Freight()
    return Freight("flat", product.read(first, "freight", money, 0))


def _assurances(product: Product, first: Row) -> Assurances:
    certificates, wrong = properties_of(first.get("certificates"))
    for pair in wrong:
        message = f"{pair[:60]!r} is no kind=hash; write 质检报告=… with the SHA-256 of the file"
        product.fail(first, "certificates", "CERTIFICATE_INVALID", message)
    return Assurances(
        product.read(first, "terms", _terms, Terms()),
        Location(*(first.get(f"location_{name}") for name in ("country", "province", "city", "address"))),
        tuple(Certificate(kind, file_hash) for kind, file_hash in certificates),
    )


def _terms(text: str) -> Terms:
    granted = [name.strip() for name in text.replace("；", ";").split(";") if name.strip()]
    unknown = [name for name in granted if name not in _TERMS]
    if unknown:
        message = (
            f"{unknown[0][:60]!r} is no term; write those of receipt;warranty;returns (发票;保修;退换货) that you grant"
        )
        raise cells.CellError("TERMS_INVALID", message)
    return Terms(**{_TERMS[name]: True for name in granted})


def _fulfilment(text: str) -> str:
    if text and text not in _FULFILMENT:
        message = f"{text[:60]!r} is neither virtual (虚拟) nor voucher (电子券); leave it empty for goods that travel"
        raise cells.CellError("FULFILMENT_INVALID", message)
    return _FULFILMENT.get(text, "")


def _template_id(text: str) -> int:
    number = cells.count(text, "a freight template")
    if not 0 < number <= _LARGEST_ID:
        raise cells.CellError("FREIGHT_INVALID", f"{text} is no id of GET /v1/freight-templates")
    return number


def _listed(text: str) -> bool | None:
    if text not in _LISTED:
        raise cells.CellError("STATUS_INVALID", f"{text!r} is no status; write listed, delisted or draft")
    return _LISTED[text]


JISHI: Final = Format(
    name="jishi-csv",
    headers={
        "external_id": ("external_id", "商品编号"),
        "title": ("title", "商品名称"),
        "category": ("category", "类目"),
        "status": ("status", "状态"),
        "description": ("description", "详情"),
        "images": ("images", "图片"),
        "properties": ("properties", "属性"),
        "axis1": ("axis1", "规格名1"),
        "value1": ("value1", "规格值1"),
        "axis2": ("axis2", "规格名2"),
        "value2": ("value2", "规格值2"),
        "axis3": ("axis3", "规格名3"),
        "value3": ("value3", "规格值3"),
        "price": ("price", "价格"),
        "original_price": ("original_price", "原价"),
        "stock": ("stock", "库存"),
        "merchant_sku": ("merchant_sku", "商家编码"),
        "barcode": ("barcode", "条码"),
        "weight_g": ("weight_g", "重量(克)"),
        "volume_cm3": ("volume_cm3", "体积(立方厘米)"),
        "sku_image": ("sku_image", "规格图"),
        "buy_limit": ("buy_limit", "限购"),
        "freight": ("freight", "运费"),
        "freight_express": ("freight_express", "快递运费"),
        "freight_ems": ("freight_ems", "EMS运费"),
        "freight_post": ("freight_post", "平邮运费"),
        "freight_template": ("freight_template", "运费模板"),
        "terms": ("terms", "服务承诺"),
        "location_country": ("location_country", "发货国家"),
        "location_province": ("location_province", "发货省份"),
        "location_city": ("location_city", "发货城市"),
        "location_address": ("location_address", "发货地址"),
        "certificates": ("certificates", "证书"),
        "fulfilment": ("fulfilment", "交付方式"),
    },
    required=("external_id", "title", "price"),
    key="external_id",
    shown={
        "name": "title",
        "category_id": "category",
        "detail": "description",
        "axes": "axis1",
        "skus": "price",
        "values": "value1",
        "quantity": "stock",
        "image": "sku_image",
        "freight.template_id": "freight_template",
        **{f"location.{name}": f"location_{name}" for name in ("country", "province", "city", "address")},
    },
    build=_build,
    guarded=True,
)
XLSX: Final = replace(JISHI, name="xlsx")
"""The same columns in the first sheet of a workbook."""
