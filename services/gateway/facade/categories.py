"""Categories (类目), and how their attributes are written: by number where the category offers them, as ``$text`` where the merchant made
them up (微信商铺API手册 V1.15 §1.1, §1.7-1.9).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

_ESCAPED: Final = {"%25": "%", "%3A": ":", "%3B": ";"}
_UNESCAPE: Final = re.compile("|".join(_ESCAPED), re.IGNORECASE)
_ESCAPE: Final = re.compile("%(?=25|3A|3B)|[:;]", re.IGNORECASE)
OWN: Final = "$"


class _Named:
    """Numbers and names of what is offered, both ways; numbers are text on the wire."""

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self.name_of = {str(row["id"]): str(row["name"]) for row in rows}
        self.id_of = {name: identity for identity, name in self.name_of.items()}


class Offered:
    """The SKU attributes, or the properties, of a category."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """``rows``: CategoryAttribute messages as plain values."""
        self.attributes = _Named(rows)
        self._values = {str(row["name"]): _Named(row["values"]) for row in rows}

    def name(self, written: str) -> str | None:
        """The name of an attribute as it is written (number, ``$text``, or the name itself); None for an unknown number."""
        return _read(written, self.attributes)

    def value(self, name: str, written: str) -> str | None:
        """The same of a value of the attribute ``name``."""
        return _read(written, self._values.get(name))

    def axis(self, name: str, values: Iterable[str]) -> tuple[str, dict[str, str]]:
        """How an attribute and its ``values`` are written: by number as far as they are offered; as the merchant's own if none is."""
        known, offered = self.attributes.id_of.get(name), self._values.get(name)
        if known is None or offered is None or not any(value in offered.id_of for value in values):
            return own(name), {value: own(value) for value in values}
        return known, {value: offered.id_of.get(value) or own(value) for value in values}


class Attributes:
    """What one category offers."""

    def __init__(self, category: Mapping[str, Any]) -> None:
        """From a Category message as plain values."""
        self.skus = Offered(category["sku_attributes"])
        self.properties = Offered(category["properties"])


def sku_info(options: Iterable[Mapping[str, Any]], offered: Attributes | None) -> str:
    """``id:vid;id:vid`` of one SKU from its [{name, value}]; empty where there is no choice. ``offered`` None: as the merchant's own.

    One SKU alone does not tell which other values its product has, so an attribute of whose values the product has some that the category
    offers is written as ``$text`` here when this one is not offered; every call understands both.
    """
    pairs = []
    for each in options:
        axis, value = each["name"], each["value"]
        name, values = offered.skus.axis(axis, [value]) if offered else (own(axis), {value: own(value)})
        pairs.append(f"{name}:{values[value]}")
    return ";".join(pairs)


def own(text: str) -> str:
    """A name of the merchant's own; the signs that part a sku_id are escaped."""
    return OWN + _ESCAPE.sub(lambda found: f"%{ord(found[0]):02X}", text)


def _read(written: str, offered: _Named | None) -> str | None:
    if written.startswith(OWN):
        return _UNESCAPE.sub(lambda found: _ESCAPED[found[0].upper()], written[1:])
    known = offered.name_of.get(written) if offered else None
    if known is not None or (offered and written in offered.id_of):
        return known or written
    return None if written.isdecimal() else written


# ------------------------------------------------------------------------------------------------------------- the three calls


def listed(rows: Iterable[Mapping[str, Any]], key: str) -> list[dict[str, Any]]:
    """Attributes as sku_table (``key`` value_list) and properties (``key`` property_value) have them; ids are text of digits."""
    return [{"id": str(row["id"]), "name": row["name"], key: [_pair(value) for value in row["values"]]} for row in rows]


def children(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Categories as cate_list has them."""
    return [_pair(row) for row in rows]


def _pair(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": str(row["id"]), "name": row["name"]}
