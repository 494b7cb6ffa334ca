"""Keyset pages: an opaque token holds where the last page ended, bound to the filters it was asked with.

The binding keeps callers from mixing lists up; it is no secret. Anybody can write a token, so what one holds is checked like any
other input before it reaches a query.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from services.chassis.errors import Refusal, Violation

LONGEST: Final = 32_768
"""Characters of a token: room for the ids of a few hundred rows of one moment."""
_LARGEST: Final = 2**63 - 1


def encode(filters: Mapping[str, Any], last: list[Any]) -> str:
    """The token of the page after ``last``, for these filters.

    ``last``: the sort keys of the last row: non-negative int64, str, UTC datetime, or list of str.
    """
    text = json.dumps([_digest(filters), last], default=datetime.isoformat)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(token: str, filters: Mapping[str, Any], *kinds: type) -> list[Any] | None:
    """What ``encode`` was given as ``last``; None for the first page (no token).

    ``kinds``: the types of its parts in order: ``int``, ``str``, ``datetime``, or ``list`` (of str). Raises Refusal
    INVALID_PAGE_TOKEN for a token that is not ours, was made for other filters, or holds anything else.
    """
    if not token:
        return None
    if len(token) > LONGEST:
        raise _not_ours()
    try:
        bound, last = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (ValueError, TypeError, RecursionError) as error:
        raise _not_ours() from error
    if bound != _digest(filters):
        raise _refused("belongs to a list with other filters; start again without page_token")
    if not isinstance(last, list) or len(last) != len(kinds):
        raise _not_ours()
    try:
        return [_READERS[kind](part) for kind, part in zip(kinds, last, strict=True)]
    except (ValueError, TypeError) as error:
        raise _not_ours() from error


def _number(part: Any) -> int:
    if type(part) is not int or not 0 <= part <= _LARGEST:
        raise ValueError(part)
    return part


def _text(part: Any) -> str:
    if not isinstance(part, str):
        raise TypeError(part)
    part.encode()  # half of a surrogate pair is a ValueError here, and none in the database's driver
    return part


def _texts(part: Any) -> list[str]:
    if not isinstance(part, list):
        raise TypeError(part)
    return [_text(each) for each in part]


def _moment(part: Any) -> datetime:
    moment = datetime.fromisoformat(_text(part))
    if moment.tzinfo is None or moment.utcoffset():
        raise ValueError(part)
    return moment.replace(tzinfo=UTC)


_READERS: Final[Mapping[type, Callable[[Any], Any]]] = {int: _number, str: _text, list: _texts, datetime: _moment}


def _digest(filters: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(filters, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _not_ours() -> Refusal:
    return _refused("is not a token of ours; pass next_page_token on unchanged")


def _refused(message: str) -> Refusal:
    return Refusal("INVALID_PAGE_TOKEN", f"page_token {message}", (Violation("page_token", message),))
