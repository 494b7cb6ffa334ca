"""A product as a merchant gives it, what must be true of it, and the states it goes through.

A *draft* is one product from a bulk call or a file. A *listing* is what a buyer sees of it: the part of the stored document that
has versions. Prices are integers of minor units (fen); weights grams; volumes cm³.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from services.catalog.model.assurances import NOTHING, Assurances
from services.catalog.model.categories import Category, Tree
from services.catalog.model.freight import Freight
from services.chassis.errors import wrong_state
from services.chassis.texts import has_control

OFFERED_TOLD: Final = 20
"""So many values of a closed property are told to who gave another one; GET /v1/categories/{id}/properties has them all."""

Listing = dict[str, Any]
"""name, category_id, images, detail[{text}|{image}], properties[{name, value}], axes, skus[…], buy_limit, freight{kind, fee, and what its kind needs};
where said: terms, location, certificates, fulfilment."""

FULFILMENTS: Final = frozenset({"", "virtual", "voucher"})
"""What a buyer gets: goods that travel, something that does not (虚拟商品), codes that the merchant redeems (电子券)."""


class State(StrEnum):
    """Where a product is; 上架 and 下架 are listed and delisted."""

    DRAFT = "draft"
    LISTED = "listed"
    DELISTED = "delisted"
    DELETED = "deleted"


_NEXT: Final[Mapping[State, frozenset[State]]] = {
    State.DRAFT: frozenset({State.LISTED, State.DELETED}),
    State.LISTED: frozenset({State.DELISTED}),
    State.DELISTED: frozenset({State.LISTED, State.DELETED}),
    State.DELETED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with one product: a path into it, a reason for programs, a message that says how to mend it."""

    field: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a product may hold; the values are policy."""

    axes: int
    skus: int
    name: int
    text: int
    html: int
    property: int
    url: int
    value: int
    images: int
    blocks: int
    properties: int
    certificates: int
    price: int
    stock: int
    measure: int
    bytes: int


@dataclass(frozen=True, slots=True)
class SkuDraft:
    """One sellable combination. ``quantity`` None: says nothing about stock. ``row`` is where it stands in a file."""

    values: tuple[str, ...]
    price: int
    original_price: int
    quantity: int | None = None
    merchant_sku: str = ""
    barcode: str = ""
    image: str = ""
    weight_g: int = 0
    volume_cm3: int = 0
    row: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class ProductDraft:
    """One product with all its SKUs. ``listed`` None: stays as it is. ``detail`` holds ("text" | "image", content)."""

    external_id: str
    name: str
    category_id: int
    skus: tuple[SkuDraft, ...]
    axes: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    detail: tuple[tuple[str, str], ...] = ()
    properties: tuple[tuple[str, str], ...] = ()
    buy_limit: int = 0
    freight: Freight = field(default_factory=Freight)
    listed: bool | None = None
    assurances: Assurances = NOTHING
    fulfilment: str = ""
    """One of ``FULFILMENTS``."""

    digest: str = field(init=False, compare=False, default="")
    """A fingerprint of every value, quantities included: equal digests mean that nothing was said anew."""

    size: int = field(init=False, compare=False, default=0)
    """Bytes of all that is said of it."""

    def __post_init__(self) -> None:
        """Take the fingerprint once; it is asked for several times."""
        said = _said(self)
        object.__setattr__(self, "digest", hashlib.sha256(said).hexdigest())
        object.__setattr__(self, "size", len(said))


def _said(draft: ProductDraft) -> bytes:
    skus = [
        [s.values, s.price, s.original_price, s.quantity, s.merchant_sku, s.barcode, s.image, s.weight_g, s.volume_cm3]
        for s in draft.skus
    ]
    freight = draft.freight.stored.values()
    rest = [draft.images, draft.detail, draft.properties, draft.buy_limit, *freight, draft.listed]
    whole = [draft.external_id, draft.name, draft.category_id, draft.axes, skus, *rest]
    beside = {**draft.assurances.said(), **_nature(draft)}
    if beside:
        whole.append(beside)
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode()


def _nature(draft: ProductDraft) -> dict[str, str]:
    """What a buyer gets, where it is not goods: so products from before there was a choice keep their fingerprint."""
    return {"fulfilment": draft.fulfilment} if draft.fulfilment else {}


def sku_key(axes: Iterable[str], values: Iterable[str]) -> str:
    """``$颜色:$红;$尺码:$M``, the custom form of the 2014 sku_id; empty for a product without axes (统一规格)."""
    return ";".join(f"${_escape(axis)}:${_escape(value)}" for axis, value in zip(axes, values, strict=True))


def _escape(text: str) -> str:
    return text.replace("%", "%25").replace(":", "%3A").replace(";", "%3B")


def sku_id(product_id: str, key: str) -> str:
    """The id of a SKU follows from its product and its option values: whoever computes it, whenever, it is the same."""
    return "s" + hashlib.sha256(f"{product_id}\x1f{key}".encode()).hexdigest()[:27]


def sku_ids(draft: ProductDraft, product_id: str) -> Iterator[str]:
    """The ids that the SKUs of ``draft`` have on the product."""
    return (sku_id(product_id, sku_key(draft.axes, sku.values)) for sku in draft.skus)


def sku_text(values: Iterable[str]) -> str:
    """The option values as a buyer reads them: ``红色 / M``."""
    return " / ".join(values)


def listing(draft: ProductDraft, product_id: str) -> Listing:
    """What a buyer sees of ``draft``."""
    return {
        "name": draft.name,
        "category_id": draft.category_id,
        "images": list(draft.images),
        "detail": [{kind: content} for kind, content in draft.detail],
        "properties": [{"name": name, "value": value} for name, value in draft.properties],
        "axes": list(draft.axes),
        "skus": [_sku(draft, sku, product_id) for sku in draft.skus],
        "buy_limit": draft.buy_limit,
        "freight": draft.freight.stored,
        **draft.assurances.said(),
        **_nature(draft),
    }


def _sku(draft: ProductDraft, sku: SkuDraft, product_id: str) -> dict[str, Any]:
    return {
        "sku_id": sku_id(product_id, sku_key(draft.axes, sku.values)),
        "values": list(sku.values),
        "price": sku.price,
        "original_price": sku.original_price,
        "merchant_sku": sku.merchant_sku,
        "barcode": sku.barcode,
        "image": sku.image,
        "weight_g": sku.weight_g,
        "volume_cm3": sku.volume_cm3,
    }


def validate(draft: ProductDraft, tree: Tree, limits: Limits) -> list[Problem]:
    """Everything wrong with ``draft``, each naming its field; empty when it may be stored."""
    problems = [*_head(draft, limits), *_content(draft, limits), *_axes(draft, limits), *_controls(draft)]
    problems += [Problem(*found) for found in draft.assurances.problems(limits.value, limits.certificates)]
    if draft.fulfilment not in FULFILMENTS:
        problems.append(
            Problem("fulfilment", "FULFILMENT_INVALID", "must be virtual or voucher; left out: goods that travel")
        )
    elif draft.fulfilment and draft.freight.kind != "free":
        problems.append(
            Problem(
                "freight", "FREIGHT_INVALID", f"a {draft.fulfilment} product does not travel; make its freight free"
            )
        )
    category = tree.get(draft.category_id)
    if category is None or not category.leaf:
        problems.append(
            Problem(
                "category_id",
                "CATEGORY_UNKNOWN",
                f"{draft.category_id} is no leaf of the category tree; see GET /v1/categories",
            )
        )
    else:
        problems += _unoffered(category, draft.properties)
        if draft.listed:
            problems += missing_properties(category, (name for name, _ in draft.properties))
    for number, sku in enumerate(draft.skus):
        problems += _sku_problems(f"skus[{number}]", sku, limits)
    if not problems and draft.size > limits.bytes:
        message = f"all texts together have {draft.size} bytes, more than the {limits.bytes} allowed; shorten them"
        problems.append(Problem("skus", "TOO_LONG", message))
    return problems


def missing_properties(category: Category, given: Iterable[str]) -> list[Problem]:
    """The properties that ``category`` wants before a product is put on sale and that ``given`` lacks."""
    missing = sorted(category.required.difference(given))
    return [
        Problem("properties", "PROPERTY_REQUIRED", f"{category.path} needs the property {name}; add it")
        for name in missing
    ]


def _unoffered(category: Category, given: Iterable[tuple[str, str]]) -> list[Problem]:
    """Values that a closed property does not offer. Every other property, known or not, takes any text: the 2014 API had "$text" too."""
    closed = category.closed
    if not closed:
        return []
    problems = []
    for number, (name, value) in enumerate(given):
        if name in closed and not closed[name].offers(value):
            offered = ", ".join(each for _, each in closed[name].values[:OFFERED_TOLD])
            message = f"{category.path} has no {name} {value[:60]!r}; choose one of its values: {offered}"
            problems.append(Problem(f"properties[{number}].value", "PROPERTY_NOT_OFFERED", message))
    return problems


def _head(draft: ProductDraft, limits: Limits) -> list[Problem]:
    problems: list[Problem] = []
    if not draft.external_id:
        problems.append(Problem("external_id", "REQUIRED", "give the product an id of your own"))
    if not draft.name:
        problems.append(Problem("name", "REQUIRED", "give the product a name"))
    sizes = (
        ("external_id", len(draft.external_id), limits.value),
        ("name", len(draft.name), limits.name),
        ("images", len(draft.images), limits.images),
        ("detail", len(draft.detail), limits.blocks),
        ("properties", len(draft.properties), limits.properties),
        ("detail", sum(len(content) for _, content in draft.detail), limits.text),
    )
    problems += [
        Problem(name, "TOO_LONG", f"{size} is more than the {most} allowed; shorten it")
        for name, size, most in sizes
        if size > most
    ]
    problems += [Problem(path, "FREIGHT_INVALID", message) for path, message in draft.freight.wrong(limits.price)]
    if not 0 <= draft.buy_limit <= limits.stock:
        message = f"the buy limit lies between 0 (none) and {limits.stock}"
        problems.append(Problem("buy_limit", "OUT_OF_RANGE", message))
    return problems


def _content(draft: ProductDraft, limits: Limits) -> list[Problem]:
    problems: list[Problem] = []
    for number, url in enumerate(draft.images):
        problems += _url(f"images[{number}]", url, limits)
    for number, (kind, content) in enumerate(draft.detail):
        if kind == "image":
            problems += _url(f"detail[{number}].image", content, limits)
        elif not content:
            problems.append(Problem(f"detail[{number}]", "REQUIRED", "a block holds a text or an image"))
    for number, (name, value) in enumerate(draft.properties):
        path = f"properties[{number}]"
        if not (name and value):
            empty = "value" if name else "name"
            problems.append(Problem(f"{path}.{empty}", "PROPERTY_INVALID", "a property has a name and a value"))
        if len(name) > limits.value:
            problems.append(Problem(f"{path}.name", "TOO_LONG", f"at most {limits.value} characters; shorten it"))
        if len(value) > limits.property:
            problems.append(Problem(f"{path}.value", "TOO_LONG", f"at most {limits.property} characters; shorten it"))
    return problems


def _controls(draft: ProductDraft) -> list[Problem]:
    """Control characters end up on waybills and in exports, where they break what reads them."""
    one_line = [("external_id", draft.external_id), ("name", draft.name), *(("axes", axis) for axis in draft.axes)]
    one_line += [("properties", name) for name, _ in draft.properties]
    for number, sku in enumerate(draft.skus):
        one_line += [(f"skus[{number}].values", value) for value in sku.values]
        one_line += [(f"skus[{number}].{name}", getattr(sku, name)) for name in ("merchant_sku", "barcode")]
    lines = [("properties", value) for _, value in draft.properties]
    lines += [(f"detail[{number}]", content) for number, (_, content) in enumerate(draft.detail)]
    found = [path for path, text in one_line if has_control(text)]
    found += [path for path, text in lines if has_control(text, lines=True)]
    message = "holds a control character (such as NUL or a tab); remove it"
    return [Problem(path, "CONTROL_CHARACTER", message) for path in dict.fromkeys(found)]


def _axes(draft: ProductDraft, limits: Limits) -> list[Problem]:
    problems: list[Problem] = []
    if len(draft.axes) > limits.axes:
        problems.append(Problem("axes", "TOO_MANY", f"a product has at most {limits.axes} option names"))
    for number, axis in enumerate(draft.axes):
        if not axis or axis in draft.axes[:number]:
            message = "option names must be filled and differ from each other"
            problems.append(Problem(f"axes[{number}]", "AXIS_INVALID", message))
    if not draft.skus:
        problems.append(Problem("skus", "REQUIRED", "a product needs at least one SKU with a price"))
    if len(draft.skus) > limits.skus:
        problems.append(
            Problem("skus", "TOO_MANY", f"a product has at most {limits.skus} SKUs; this one has {len(draft.skus)}")
        )
    seen: dict[tuple[str, ...], int] = {}
    codes: dict[str, int] = {}
    for number, sku in enumerate(draft.skus):
        if len(sku.values) != len(draft.axes) or not all(sku.values):
            wanted = ", ".join(draft.axes) or "none"
            problems.append(
                Problem(
                    f"skus[{number}].values", "OPTION_VALUE_MISSING", f"needs one value for each option name ({wanted})"
                )
            )
        if (first := seen.setdefault(sku.values, number)) != number:
            same = sku_text(sku.values) or "no option values"
            message = f"SKUs {first} and {number} have the same option values ({same}); make them differ"
            problems.append(Problem(f"skus[{number}].values", "DUPLICATE_SKU", message))
        if sku.merchant_sku and codes.setdefault(sku.merchant_sku, number) != number:
            message = f"{sku.merchant_sku} stands on two SKUs of this product; a merchant SKU is unique in its shop"
            problems.append(Problem(f"skus[{number}].merchant_sku", "MERCHANT_SKU_TAKEN", message))
    return problems


def _sku_problems(path: str, sku: SkuDraft, limits: Limits) -> list[Problem]:
    problems: list[Problem] = []
    if not 1 <= sku.price <= limits.price:
        problems.append(
            Problem(f"{path}.price", "OUT_OF_RANGE", f"the price must lie between 1 and {limits.price} minor units")
        )
    elif not sku.price <= sku.original_price <= limits.price:
        message = f"the original price ({sku.original_price}) must not be lower than the price ({sku.price}); raise it or leave it out"
        problems.append(Problem(f"{path}.original_price", "PRICE_ABOVE_ORIGINAL", message))
    if sku.quantity is not None and not 0 <= sku.quantity <= limits.stock:
        problems.append(Problem(f"{path}.quantity", "OUT_OF_RANGE", f"stock must lie between 0 and {limits.stock}"))
    if not 0 <= sku.weight_g <= limits.measure or not 0 <= sku.volume_cm3 <= limits.measure:
        message = f"weight (g) and volume (cm³) lie between 0 and {limits.measure}"
        problems.append(Problem(f"{path}.weight_g", "OUT_OF_RANGE", message))
    if any(len(value) > limits.value for value in (*sku.values, sku.merchant_sku, sku.barcode)):
        problems.append(
            Problem(f"{path}.values", "TOO_LONG", f"option values and codes have at most {limits.value} characters")
        )
    if sku.image:
        problems += _url(f"{path}.image", sku.image, limits)
    return problems


def _url(path: str, url: str, limits: Limits) -> list[Problem]:
    if len(url) > limits.url:
        return [Problem(path, "TOO_LONG", f"a URL has at most {limits.url} characters")]
    if not url.startswith(("https://", "http://", "//")) or has_control(url) or any(letter.isspace() for letter in url):
        return [Problem(path, "URL_INVALID", "give an http or https URL without spaces")]
    return []


# ------------------------------------------------------------------------------------------------------------------- states


def move(product_id: str, state: str, target: State) -> State | None:
    """The state after asking for ``target``; None when it is there already. Raises Refusal WRONG_STATE."""
    if state == target:
        return None
    if target not in _NEXT[State(state)]:
        wanted = " or ".join(sorted(source for source, targets in _NEXT.items() if target in targets))
        raise wrong_state("product", product_id, state, wanted)
    return target


def state_after(state: str | None, listed: bool | None) -> State:
    """The state after a draft that says ``listed`` was applied to a product in ``state`` (None: new)."""
    current = State(state) if state else State.DRAFT
    if listed:
        return State.LISTED
    if listed is False and current is State.LISTED:
        return State.DELISTED
    return current
