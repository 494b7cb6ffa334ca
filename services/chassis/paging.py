"""Keyset pages: an opaque token holds where the last page ended, bound to the filters it was asked with."""

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from services.chassis.errors import Refusal, Violation


def encode(filters: Mapping[str, Any], last: list[Any]) -> str:
    """The token of the page after ``last`` (the sort keys of the last row, JSON-like), for these filters."""
    return base64.urlsafe_b64encode(json.dumps([_digest(filters), last]).encode()).decode().rstrip("=")


def decode(token: str, filters: Mapping[str, Any]) -> list[Any] | None:
    """What ``encode`` was given as ``last``; None for the first page (no token).

    Raises Refusal INVALID_PAGE_TOKEN for a token that is not ours or was made for other filters.
    """
    if not token:
        return None
    try:
        bound, last = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (ValueError, TypeError) as error:
        raise _refused("is not a token of ours; pass next_page_token on unchanged") from error
    if bound != _digest(filters) or not isinstance(last, list):
        raise _refused("belongs to a list with other filters; start again without page_token")
    return last


def _digest(filters: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(filters, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _refused(message: str) -> Refusal:
    return Refusal("INVALID_PAGE_TOKEN", f"page_token {message}", (Violation("page_token", message),))
