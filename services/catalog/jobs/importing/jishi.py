"""``jishi-csv``: the project's own product file; every column is told in docs/formats.md. English or Chinese headers."""

from typing import Final

from services.catalog.jobs.importing import cells
from services.catalog.jobs.importing.building import Format, Product
from services.catalog.jobs.importing.text import Row
from services.catalog.model.products import Freight, ProductDraft, SkuDraft

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
_FREE: Final = ("", "free", "包邮")


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
        images=tuple(first.get("images").replace("|", " ").split()),
        detail=product.detail("description", first.get("description")),
        properties=_properties(product, first),
        buy_limit=product.read(first, "buy_limit", lambda text: cells.count(text, "units"), 0),
        freight=_freight(product, first),
        listed=product.read(first, "status", _listed, None),
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
    found = []
    for pair in first.get("properties").replace("；", ";").split(";"):
        name, sign, value = pair.partition("=")
        if sign and name.strip() and value.strip():
            found.append((name.strip(), value.strip()))
        elif pair.strip():
            product.fail(
                first, "properties", "PROPERTY_INVALID", f"{pair.strip()!r} is no name=value; write 材质=棉;产地=上海"
            )
    return tuple(found)


def _freight(product: Product, first: Row) -> Freight:
    if first.get("freight") in _FREE:
        return Freight()
    return Freight(
        "flat", product.read(first, "freight", lambda text: cells.minor_units(text, product.context.currency), 0)
    )


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
    },
    build=_build,
)
