"""Addresses: what one must say, and a buyer's book of them with one that is used when nothing else is said."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from services.chassis.decisions import Change
from services.chassis.errors import Refusal, Violation, check_etag, invalid, not_found
from services.chassis.regions import Place, Regions

Values = Mapping[str, Any]
_MOBILE: Final = re.compile(r"\+?[0-9][0-9 -]{4,18}[0-9]")
FIELDS: Final = {
    "receiver_name": True,
    "province": True,
    "city": True,
    "zone": False,
    "address": True,
    "mobile": True,
}
"""Fields of an address, and whether they are required."""
CARRIERS: Final = ("post", "express", "ems")
"""平邮, 快递, EMS."""


def wrong(path: str, address: Values, longest: int, regions: Regions) -> list[Violation]:
    """Everything wrong with ``address``, each naming ``{path}field``: texts up to ``longest`` characters, a province of the region list and
    a city of that.
    """
    problems = []
    for name, required in FIELDS.items():
        text = address[name].strip()
        if required and not text:
            problems.append(Violation(f"{path}{name}", "is required"))
        elif len(text) > longest:
            problems.append(Violation(f"{path}{name}", f"at most {longest} characters"))
    mobile = address["mobile"].strip()
    if mobile and not _MOBILE.fullmatch(mobile):
        problems.append(Violation(f"{path}mobile", "must be a telephone number: digits, spaces, hyphens, + in front"))
    return problems + wrong_place(path, address, regions)


def wrong_place(path: str, address: Values, regions: Regions) -> list[Violation]:
    """What is wrong with province and city, each naming ``{path}field``; nothing where neither is said. The province must be in the list. The list lacks cities (天水市): one that it does not know is taken as it is written, if it is no city of
    another province and no shortened name.
    """
    province, city = address["province"].strip(), address["city"].strip()
    if not province or province not in regions.provinces:
        return regions.wrong(path, Place(province)) if province else []
    known = regions.cities(province)
    if not city or city in known:
        return []
    shortened = any(name.startswith(city) or city.startswith(name) for name in known)
    abroad = any(city in regions.cities(other) for other in regions.provinces)
    return regions.wrong(path, Place(province, city)) if shortened or abroad else []


def destination(address: Values, regions: Regions) -> dict[str, str]:
    """{province, city} as freight is charged: by the province alone for a city that the list does not know."""
    province, city = address["province"].strip(), address["city"].strip()
    return {"province": province, "city": city if city in regions.cities(province) else ""}


def wrong_carriers(carriers: Sequence[Values]) -> list[Violation]:
    """What is wrong with the carrier classes chosen by shop: each must be said."""
    return [
        Violation(f"carriers[{number}].carrier_class", f"must be one of {', '.join(CARRIERS)}")
        for number, each in enumerate(carriers)
        if each["carrier_class"] not in CARRIERS
    ]


def kept(address: Values) -> dict[str, str]:
    """The address as it is kept."""
    return {name: address[name].strip() for name in FIELDS}


# -------------------------------------------------------------------------------------------------------------------- book


def empty(buyer_id: str) -> dict[str, Any]:
    """A book without addresses."""
    return {"_id": buyer_id, "addresses": [], "default": ""}


def found(book: Values | None, address_id: str) -> Values | None:
    """The address of that id; None without one."""
    rows: Sequence[Values] = book["addresses"] if book else ()
    return next((row for row in rows if row["address_id"] == address_id), None)


def added(book: Values, address_id: str, address: Values, most: int, *, is_default: bool) -> Change:
    """One more; the first is the default by itself. Raises Refusal CONDITION_UNMET for more than ``most``."""
    if len(book["addresses"]) >= most:
        message = f"an address book holds at most {most} addresses; delete one that is not used any more"
        raise Refusal("CONDITION_UNMET", message, info={"condition": "addresses", "limit": str(most)})
    row = {"address_id": address_id, "etag": "1", **kept(address)}
    return _written([*book["addresses"], row], address_id if is_default else book["default"], address_id)


def changed(book: Values, address_id: str, etag: str, address: Values) -> Change:
    """Another text of an address. Orders keep what they were placed with. Raises Refusal NOT_FOUND, ETAG_MISMATCH."""
    before = _one(book, address_id)
    if not etag:
        raise invalid("etag", "send the etag of the address as you read it, so that nobody's change is lost")
    check_etag("address", int(before["etag"]), etag)
    after = {"address_id": address_id, "etag": str(int(before["etag"]) + 1), **kept(address)}
    rows = [after if row["address_id"] == address_id else row for row in book["addresses"]]
    return _written(rows, book["default"], address_id)


def deleted(book: Values, address_id: str) -> Change:
    """One less; of the default's place the first of the others takes over. Raises Refusal NOT_FOUND."""
    _one(book, address_id)
    rows = [row for row in book["addresses"] if row["address_id"] != address_id]
    return _written(rows, "" if book["default"] == address_id else book["default"], "")


def made_default(book: Values, address_id: str) -> Change:
    """The one that is used when nothing else is said. Raises Refusal NOT_FOUND."""
    _one(book, address_id)
    return _written(book["addresses"], address_id, address_id)


def _one(book: Values, address_id: str) -> Values:
    row = found(book, address_id)
    if row is None:
        raise not_found("address", address_id)
    return row


def _written(rows: Sequence[Values], default: str, address_id: str) -> Change:
    """The book with ``rows``. The remembered answer names no person: addresses that were deleted are gone."""
    default = default or (rows[0]["address_id"] if rows else "")
    row = found({"addresses": rows}, address_id)
    answer = {"address_id": address_id, "etag": row["etag"]} if row else {}
    return Change(
        set={"addresses": [dict(row) for row in rows], "default": default},
        answer={**answer, "default_address_id": default},
    )
