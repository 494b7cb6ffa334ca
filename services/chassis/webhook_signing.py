"""Standard Webhooks: messages signed with a secret that both sides know.

``webhook-signature`` holds one or more of ``v1,<base64 of HMAC-SHA256(secret, id.timestamp.body)>``, apart by spaces. A secret is written
``whsec_<base64>``. Pure: times are handed in as wall-clock seconds since 1970.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping
from typing import Final

TOLERANCE_S: Final = 300
"""A message older or newer than this many seconds is refused."""
PREFIX: Final = "whsec_"
SHORTEST, LONGEST = 24, 64
"""Bytes of a secret."""
_ID_LENGTH: Final = 200


class MessageRefusedError(ValueError):
    """Not signed, not by whom it says, not for what it says, or not lately."""


def new_secret() -> str:
    """32 random bytes."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def key_of(secret: str) -> bytes:
    """The bytes of a secret. Raises ValueError for what is none."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
    if not (secret.startswith(PREFIX) and SHORTEST <= len(key) <= LONGEST):
        raise ValueError(f"must be {PREFIX} and {SHORTEST} to {LONGEST} bytes in base64")
    return key


def signed(secret: str, message_id: str, body: bytes, *, now_s: int) -> dict[str, str]:
    """The headers of a message."""
    mark = _mark(key_of(secret), message_id, str(now_s), body)
    return {"webhook-id": message_id, "webhook-timestamp": str(now_s), "webhook-signature": f"v1,{mark}"}


def check(known: Iterable[str], headers: Mapping[str, str], body: bytes, *, now_s: int) -> str:
    """The id of a message that was signed with one of the ``known`` secrets within TOLERANCE_S. Header names in any case.

    Raises MessageRefusedError.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    try:
        message_id, timestamp, told = (lower[f"webhook-{name}"] for name in ("id", "timestamp", "signature"))
    except KeyError as missing:
        raise MessageRefusedError(f"the header {missing.args[0]} is missing") from missing
    if not 0 < len(message_id) <= _ID_LENGTH:
        raise MessageRefusedError(f"webhook-id has 1 to {_ID_LENGTH} characters")
    if not (timestamp.isascii() and timestamp.isdigit() and abs(int(timestamp[:12]) - now_s) <= TOLERANCE_S):
        raise MessageRefusedError(f"webhook-timestamp is not within {TOLERANCE_S} seconds of now")
    marks = [mark.removeprefix("v1,") for mark in told.split() if mark.startswith("v1,")]
    wanted = [_mark(key_of(secret), message_id, timestamp, body) for secret in known]
    if not any(hmac.compare_digest(mark.encode(), right.encode()) for mark in marks for right in wanted):
        raise MessageRefusedError("the signature is not of this message under the secret of its sender")
    return message_id


def _mark(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    content = f"{message_id}.{timestamp}.".encode() + body
    return base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
