"""A product as the old API sends it → ProductInput of the catalog (微信商铺API手册 V1.15 §1.1).

What an update leaves out stays as it is: ``get`` shows neither the detail blocks nor the ids of properties, so who sends back what it got
must not lose them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from services.gateway.facade.answers import Declined, Paths, paths
from services.gateway.facade.categories import Attributes, Offered
from services.gateway.facade.express import CLASSES
from services.gateway.facade.reader import INT32, Reader

Plain = Mapping[str, Any]
DRAFT: Final = "draft"
FLAGS: Final = (("receipt", "isHasReceipt"), ("warranty", "isUnderGuaranty"), ("returns", "isSupportReplace"))
PLACE: Final = ("country", "province", "city", "address")
MEASURES: Final = ("weight_g", "volume_cm3")

PATHS: Final[Paths] = paths(
    (r"^name$", "product_base.name"),
    (r"^category_id$", "product_base.category_id"),
    (r"^images\[0\]", "product_base.main_img"),
    (r"^images\[(\d+)\]", lambda found: f"product_base.img[{int(found[1]) - 1}]"),
    (r"^images", "product_base.img"),
    (r"^detail(\[\d+\])\.image", r"product_base.detail\1.img"),
    (r"^detail", "product_base.detail"),
    (r"^properties(\[\d+\])\.name", r"product_base.property\1.id"),
    (r"^properties(\[\d+\])\.value", r"product_base.property\1.vid"),
    (r"^properties", "product_base.property"),
    (r"^axes(\[\d+\])", r"product_base.sku_info\1.id"),
    (r"^axes", "product_base.sku_info"),
    (r"^skus(\[\d+\])\.values", r"sku_list\1.sku_id"),
    (r"^skus(\[\d+\])\.original_price", r"sku_list\1.ori_price"),
    (r"^skus(\[\d+\])\.merchant_sku", r"sku_list\1.product_code"),
    (r"^skus(\[\d+\])\.image", r"sku_list\1.icon_url"),
    (r"^skus", "sku_list"),
    (r"^buy_limit$", "product_base.buy_limit"),
    (r"^freight\.template_id", "delivery_info.template_id"),
    (r"^freight\.carrier_fees(\[\d+\])\.fee", r"delivery_info.express\1.price"),
    (r"^freight\.carrier_fees(\[\d+\])\.carrier_class", r"delivery_info.express\1.id"),
    (r"^freight", "delivery_info"),
    (r"^location\.", "attrext.location."),
)
"""What ProductInput calls its fields → what the old API calls them."""


def category_id(call: Reader, current: Plain | None) -> int:
    """The category that is named (a number, text, or the path to it of which the last counts), or the one that there is."""
    base = call.child("product_base", required="" if current else "give the product's name, category and pictures")
    named = base.texts("category_id")
    if not named:
        if current is None:
            base.wrong("category_id", "give a leaf of /merchant/category/getsub")
        call.check()
        return int(current["category_id"]) if current else 0
    leaf = Reader({"category_id": named[-1]}, "product_base.", call.problems)
    found = leaf.number("category_id", least=1, most=INT32)
    call.check()
    return found


def product_input(call: Reader, category_id: int, offered: Attributes, current: Plain | None) -> dict[str, Any]:
    """What ``call`` says of a product as a ProductInput. ``current``: the product that it changes. Raises Declined naming the fields."""
    base = call.child("product_base")
    now = current or {}
    said = {
        "name": base.text("name", now.get("name", ""), required="give the product a name"),
        "category_id": category_id,
        "images": _images(base, now.get("images", []), known=current is not None),
        "detail": _detail(base) if base.has("detail") else now.get("detail", []),
        "properties": _properties(base, offered.properties, now.get("properties", [])),
        "buy_limit": base.number("buy_limit", now.get("buy_limit"), most=INT32),
        "freight": _freight(call, now.get("freight")),
        "terms": _terms(call, now.get("terms", {})),
        "location": _location(call, now.get("location", {})),
        "certificates": now.get("certificates", []),
        "fulfilment": now.get("fulfilment", ""),
        "sets_stock": True,
        **_Skus(call, base, offered.skus, now).said(),
    }
    call.check()
    if current is not None:
        _check_frozen(said, current)
    return said


def _check_frozen(said: Plain, current: Plain) -> None:
    """商品名称, 分类 and 属性 of a product that was ever on sale stay, whatever its state is now (微信商铺API手册 V1.15, 1.3 note 2)."""
    if not current["was_listed"]:
        return
    pairs = [{(each["name"], each["value"]) for each in found["properties"]} for found in (said, current)]
    changed = [name for name in ("name", "category_id") if said[name] != current[name]]
    changed += ["property"] if pairs[0] != pairs[1] else []
    if changed:
        fields = ", ".join(f"product_base.{name}" for name in changed)
        raise Declined(
            "WRONG_STATE", f"{fields}: the product was on sale, so this stays as it is; leave it as get shows it"
        )


def _images(base: Reader, now: Sequence[str], *, known: bool) -> list[str]:
    """The main picture first. Only a product that has no picture (``/v1`` may have made it so) may go on without."""
    main = base.text("main_img", now[0] if now else "")
    rest = base.texts("img") if base.has("img") else list(now[1:])
    if not main and (rest or not known or now):
        base.wrong("main_img", "give a picture of /merchant/common/upload_img")
    return [main, *rest] if main else []


def _detail(base: Reader) -> list[dict[str, str]]:
    found = []
    for block in base.children("detail"):
        text, image = block.text("text"), block.text("img")
        if bool(text) == bool(image):
            base.problems.append(_violation(block, "a block holds either text or img"))
        found.append({"text": text, "image": image})
    return found


def _properties(base: Reader, offered: Offered, now: Sequence[Plain]) -> list[dict[str, str]]:
    """Numbers of getproperty, ``$text``, or the names that get shows."""
    if not base.has("property"):
        return [dict(found) for found in now]
    shown = {(found["name"], found["value"]) for found in now}
    out = []
    for row in base.children("property"):
        written, value = row.text("id", required="say which property"), row.text("vid", required="give it a value")
        if (written, value) in shown:
            out.append({"name": written, "value": value})
            continue
        name = offered.name(written)
        if name is None:
            row.wrong(
                "id", f"{written} is no property of the category; take one of /merchant/category/getproperty, or $text"
            )
            continue
        found = offered.value(name, value)
        if found is None:
            row.wrong("vid", f"{name} has no value {value}; take one of /merchant/category/getproperty, or $text")
        out.append({"name": name, "value": found or ""})
    return out


def _freight(call: Reader, now: Plain | None) -> dict[str, Any]:
    extra = call.child("attrext")
    free = extra.number("isPostFree", most=1) if extra.has("isPostFree") else None
    if free:
        return {"kind": "free"}
    if not call.has("delivery_info"):
        if now is None or (free == 0 and now["kind"] == "free"):
            call.wrong("delivery_info", "say what carrying costs, or set attrext.isPostFree to 1")
        return dict(now or {})
    info = call.child("delivery_info")
    if info.choice("delivery_type", {0: False, 1: True}):
        template = info.number(
            "template_id", least=1, most=INT32, required="give a template of /merchant/express/getall"
        )
        return {"kind": "template", "template_id": template}
    fees = [
        {"carrier_class": row.choice("id", CLASSES), "fee": row.number("price", required="give the fee in fen")}
        for row in info.children("express")
    ]
    if fees:
        return {"kind": "carriers", "carrier_fees": fees}
    if free is None and now is not None and now["kind"] == "free":
        return {"kind": "free"}
    info.wrong("express", "give the fee of at least one carrier class, or set attrext.isPostFree to 1")
    return {}


def _terms(call: Reader, now: Plain) -> dict[str, bool]:
    extra = call.child("attrext")
    return {name: bool(extra.number(wire, int(now.get(name, False)), most=1)) for name, wire in FLAGS}


def _location(call: Reader, now: Plain) -> dict[str, str]:
    place = call.child("attrext").child("location")
    return {name: place.text(name, now.get(name, "")) for name in PLACE}


def _violation(reader: Reader, message: str) -> Any:
    reader.wrong("", message)
    found = reader.problems.pop()
    return type(found)(found.field.rstrip("."), message)


# ---------------------------------------------------------------------------------------------------------------------- SKUs


def pairs(written: str) -> list[tuple[str, str]]:
    """``"id1:vid1;id2:vid2"`` → its pairs as they are written."""
    found = (part.partition(":") for part in written.split(";") if part.strip())
    return [(name.strip(), value.strip()) for name, _, value in found]


@dataclass(slots=True)
class _Skus:
    """Axes and SKUs of one product."""

    call: Reader
    base: Reader
    offered: Offered
    now: Plain

    def said(self) -> dict[str, Any]:
        """axes and skus of a ProductInput."""
        rows = list(self.call.children("sku_list"))
        if not rows:
            return self._kept()
        axes = self._axes(rows)
        old = list(self.now.get("axes", []))
        if set(axes) == set(old):
            axes = {name: axes[name] for name in old}  # their order is part of what a SKU is
        by_values = {tuple(sku["values"]): sku for sku in self.now.get("skus", [])}
        return {"axes": list(axes), "skus": [self._sku(row, axes, by_values) for row in rows]}

    def _kept(self) -> dict[str, Any]:
        if not self.now:
            self.call.wrong("sku_list", 'give at least one SKU; a product without choices has one with sku_id ""')
        elif set(self._declared()) != set(self.now["axes"]) and self.base.has("sku_info"):
            self.call.wrong("sku_list", "other sku_info needs the SKUs that go with it")
        names = ("values", "price", "original_price", "merchant_sku", "barcode", "image", *MEASURES)
        skus = [{name: sku[name] for name in names} for sku in self.now.get("skus", [])]
        return {"axes": self.now.get("axes", []), "skus": skus}

    def _declared(self) -> dict[str, set[str]]:
        """sku_info: names of axes with their values."""
        found: dict[str, set[str]] = {}
        for row in self.base.children("sku_info"):
            name = self._axis(row, "id", row.text("id", required="say which SKU attribute"))
            values = set()
            for number, written in enumerate(row.texts("vid")):
                values.add(self._value(row, f"vid[{number}]", name, written))
            found[name] = values
        return found

    def _axes(self, rows: Iterable[Reader]) -> dict[str, set[str]]:
        """As sku_info has them; where it is left out, as the first sku_id has them."""
        if self.base.has("sku_info"):
            return self._declared()
        first = next(iter(rows))
        return {self._axis(first, "sku_id", name): set() for name, _ in pairs(first.text("sku_id"))}

    def _sku(self, row: Reader, axes: Mapping[str, set[str]], by_values: Mapping[Any, Plain]) -> dict[str, Any]:
        values = self._values(row, axes)
        old = by_values.get(tuple(values), {})
        price = row.number("price", old.get("price"), required="" if old else "give the price in fen")
        original = row.number("ori_price", old.get("original_price"))
        stands = (price, original) == (old.get("price"), old.get("original_price"))
        if row.has("ori_price") and price >= original and not stands:
            row.wrong("ori_price", f"must be higher than the price ({price}); raise it or leave it out")
        said = {
            "values": values,
            "price": price,
            "original_price": original if original > price or row.has("ori_price") else 0,
            "merchant_sku": row.text("product_code", old.get("merchant_sku", "")),
            "barcode": old.get("barcode", ""),
            "image": row.text("icon_url", old.get("image", "")),
            **{name: row.number(name, old.get(name)) for name in MEASURES},
        }
        if row.has("quantity"):
            said["quantity"] = row.number("quantity")
        return said

    def _values(self, row: Reader, axes: Mapping[str, set[str]]) -> list[str]:
        found = {}
        given = pairs(row.text("sku_id"))
        for written, value in given:
            name = self._axis(row, "sku_id", written)
            found[name] = self._value(row, "sku_id", name, value)
        if set(found) != set(axes) or len(given) != len(axes):
            wanted = ", ".join(axes) or "none"
            row.wrong("sku_id", f"needs one id:vid pair for each entry of sku_info ({wanted}), parted by ;")
        for name, value in found.items():
            if axes.get(name) and value not in axes[name]:
                row.wrong("sku_id", f"the vid of {name} is not in its product_base.sku_info; add it there")
        return [found.get(name, "") for name in axes]

    def _axis(self, row: Reader, field: str, written: str) -> str:
        name = self.offered.name(written)
        if not name:
            row.wrong(
                field,
                f"{written!r} is no SKU attribute of the category; take one of /merchant/category/getsku, or $text",
            )
        return name or ""

    def _value(self, row: Reader, field: str, name: str, written: str) -> str:
        value = self.offered.value(name, written)
        if not value:
            row.wrong(field, f"{name} has no value {written!r}; take one of /merchant/category/getsku, or $text")
        return value or ""
