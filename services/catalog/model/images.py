"""A picture on a shop's list: its id, where its bytes are kept, where everybody sees it, and what becomes of one that is taken off.

The sizes are the ones that the old platform served (640, 300 and 100 pixels). The bytes of a picture are one file, whichever shops have it:
kept → going (nobody shows it any more; its bytes are being taken away) → gone, and kept again when somebody uploads it.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

KEPT: Final = "kept"
GOING: Final = "going"
GONE: Final = "gone"
SIZES: Final = (640, 300, 100)
WHOLE: Final = 0
_IMAGE_ID: Final = re.compile(r"[0-9a-f]{40}")
_NAMED: Final = re.compile(r"/v1/images/([0-9a-f]{40})")


def image_id(content: bytes) -> str:
    """The id of the picture with exactly these bytes, as they came."""
    return hashlib.sha256(content).hexdigest()[:40]


def is_image_id(text: str) -> bool:
    """Whether ``text`` may be one."""
    return _IMAGE_ID.fullmatch(text) is not None


def blob_key(identity: str, size: int) -> str:
    """Under which the bytes of one size are kept."""
    return f"images/{identity}/{size}"


def url(base_url: str, identity: str) -> str:
    """Where everybody sees it."""
    return f"{base_url}/v1/images/{identity}"


def named(value: Any) -> Iterator[str]:
    """The pictures of the house that texts in ``value`` name by their addresses, whatever host these say: lists and mappings are looked into."""
    if isinstance(value, str):
        yield from _NAMED.findall(value)
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from named(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from named(inner)


def keeps_bytes(rows: Iterable[Mapping[str, Any]]) -> bool:
    """Whether any of a picture's rows, one a shop, still needs its bytes: it is on the list, or its time off the list is not over."""
    return any("position" in row or not row.get("let_go") for row in rows)


def content_type(data: bytes) -> str:
    """What a picture that we wrote is, by its first bytes."""
    if data.startswith(b"\x89PNG"):
        return "image/png"
    return "image/jpeg" if data.startswith(b"\xff\xd8") else "image/webp"
