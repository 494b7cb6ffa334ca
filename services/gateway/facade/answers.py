"""What the facade answers: an envelope {errcode, errmsg, …}, always HTTP 200, and the one table of refusals as the old API numbers them."""

import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from services.chassis.errors import REASONS, Refusal, Violation
from services.chassis.rpc.status import from_exception

TYPE: Final = "application/json; encoding=utf-8"
"""As the original said it; co-wechat-api reads JSON only where the type says so."""
FINE: Final = b'{"errcode":0,"errmsg":"success"'
HELD: Final = 2_000
"""Entries of a list without end that are gathered before any is sent."""
TOLD: Final = 5
"""So many wrong fields are told at once."""

CODES: Final[Mapping[str, int]] = {
    **{name: reason.errcode for name, reason in REASONS.items()},
    # what only the old API has: its manual's global list of return codes (全局返回码)
    "NO_TOKEN": 41001,
    "NO_APPID": 41002,
    "NO_SECRET": 41004,
    "BAD_GRANT_TYPE": 40002,
    "BAD_APPID": 40013,
    "NO_SUCH_PATH": 40066,
    "EMPTY_FILE": 44001,
    "EMPTY_BODY": 44002,
    # what a bulk call says of its one item, where that is not about a wrong value
    "MERCHANT_SKU_TAKEN": REASONS["ALREADY_EXISTS"].errcode,
}
"""Reason → errcode. A reason that is not here tells of a wrong value: 40035 (不合法的参数)."""

TEXTS: Final[Mapping[int, str]] = {
    40001: "invalid credential, access_token is invalid or not latest",
    40002: "invalid grant_type",
    40013: "invalid appid",
    40066: "invalid url",
    40125: "invalid appsecret",
    41001: "access_token missing",
    41002: "appid missing",
    41004: "appsecret missing",
    42001: "access_token expired",
    43002: "require POST method",
    44001: "empty media data",
    44002: "empty post data",
    45002: "content size out of limit",
    47001: "data format error",
    48001: "api unauthorized",
}
"""How the old API words a code; programs look for some of them."""

NAMED_BY: Final[Mapping[str, str]] = {
    "category": "cate_id",
    "freight template": "template_id",
    "group": "group_id",
    "order": "order_id",
    "product": "product_id",
    "shelf": "shelf_id",
}
"""What the house does not find → the field that names it in every call."""


class Declined(Exception):
    """A call that is answered with a code: ``reason`` (see ``CODES``), and what is wrong and how to mend it."""

    def __init__(self, reason: str, message: str) -> None:
        """Number the reason."""
        super().__init__(f"{reason}: {message}")
        self.reason, self.message = reason, message
        self.errcode = CODES.get(reason, CODES["INVALID_ARGUMENT"])

    @property
    def body(self) -> bytes:
        """The envelope."""
        text = TEXTS.get(self.errcode)
        return orjson.dumps({"errcode": self.errcode, "errmsg": f"{text}: {self.message}" if text else self.message})


@dataclass(frozen=True, slots=True)
class Listing:
    """An answer of one list without end, sent page by page. ``first``: the pages that are here already, most often all."""

    key: str
    first: Sequence[list[Any]]
    rest: AsyncIterator[list[Any]]

    @classmethod
    async def begun(cls, key: str, pages: AsyncIterator[list[Any]]) -> "Listing":
        """With the first pages, up to ``HELD`` entries: what goes wrong until then is answered with a code alone."""
        first: list[list[Any]] = []
        while sum(map(len, first)) < HELD and (page := await anext(pages, None)) is not None:
            first.append(page)
        return cls(key, first, pages)

    async def pieces(self) -> AsyncIterator[bytes]:
        """The bytes of the envelope, page after page.

        What goes wrong in the middle ends the list, and the envelope says the code once more: JSON readers take the last of two.
        """
        yield FINE + f',"{self.key}":['.encode()
        some, end = False, b"]}"
        try:
            async for page in self._pages():
                if page:
                    yield b"," * some + orjson.dumps(page)[1:-1]
                    some = True
        except Exception as error:  # noqa: BLE001 - a broken line tells nobody what went wrong
            refusal = error if isinstance(error, Declined) else declined(from_exception(error))
            end = b"]," + refusal.body[1:]
        yield end

    async def _pages(self) -> AsyncIterator[list[Any]]:
        for page in self.first:
            yield page
        async for page in self.rest:
            yield page


def fine(more: Mapping[str, Any]) -> bytes:
    """The envelope of a success; compact and with errcode first, as PHP clients of that time want it."""
    return FINE + (b"," + orjson.dumps(more)[1:] if more else b"}")


Paths = tuple[tuple[re.Pattern[str], Any], ...]
"""(what a field is called by the house, how the old API calls it), tried in order."""


def paths(*pairs: tuple[str, Any]) -> Paths:
    """Patterns over whole paths; a replacement may be a function of the match."""
    return tuple((re.compile(pattern), wire) for pattern, wire in pairs)


def renamed(path: str, names: Paths) -> str:
    """``path`` of the house as the old API calls it."""
    for pattern, wire in names:
        told, hits = pattern.subn(wire, path, count=1)
        if hits:
            return told
    return path


def declined(refusal: Refusal, names: Paths = ()) -> Declined:
    """A refusal of the house as the old API tells it, its fields by their old ``names``."""
    if refusal.violations:
        return Declined(refusal.reason, told(refusal.violations, names))
    kind = refusal.info.get("kind", "")
    if refusal.reason == "NOT_FOUND" and kind in NAMED_BY:
        identity = refusal.info["id"].rpartition(":")[2]  # groups and shelves are kept under <shop>:<number>
        return Declined(refusal.reason, f"{NAMED_BY[kind]}: there is no {kind} {identity}")
    return Declined(refusal.reason, refusal.message)


def told(violations: Iterable[Violation], names: Paths = ()) -> str:
    """Every wrong field and how to mend it, the first few."""
    found = list(dict.fromkeys(f"{renamed(each.field, names)}: {each.message}" for each in violations))
    more = f"; and {len(found) - TOLD} more" if len(found) > TOLD else ""
    return "; ".join(found[:TOLD]) + more


def check_item(result: Mapping[str, Any], names: Paths) -> None:
    """Raises Declined where a bulk call says that its one item failed."""
    problems = result.get("problems") or []
    if problems:
        violations = [Violation(each["field"], each["message"]) for each in problems]
        raise Declined(problems[0]["reason"], told(violations, names))
