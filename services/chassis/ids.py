"""Identifiers. They sort by time where they can and have the shapes that the WeChat shop API promises (微信商铺API手册 V1.15)."""

import hashlib
import hmac
import secrets
from datetime import UTC, datetime
from typing import Final

from services.chassis import clock

_EPOCH_MS: Final = clock.ms(datetime(2014, 5, 29, tzinfo=UTC))
"""The day 微信小店 opened."""
_ALPHABET: Final = "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
"""64 characters in ASCII order, so that text order is number order."""
_FINE: Final = 4_096
"""Steps of a product id's time in a millisecond: two characters."""
_PLAIN: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


def _encode(number: int, length: int, alphabet: str = _ALPHABET) -> str:
    base, out = len(alphabet), []
    for _ in range(length):
        number, digit = divmod(number, base)
        out.append(alphabet[digit])
    return "".join(reversed(out))


def order_id() -> str:
    """19 digits: 41 bits of wall milliseconds since 2014-05-29 and 22 random bits. A DuplicateKey draws again."""
    return str(((clock.wall_ms() - _EPOCH_MS) << 22) | secrets.randbits(22)).zfill(19)


def product_id() -> str:
    """28 characters beginning with ``p``: 10 of time, 17 random. An import makes fifty in a millisecond, so the time is finer than that."""
    return product_floor(clock.wall_us() / 1_000) + _encode(secrets.randbits(102), 17)


def product_floor(wall_ms: float) -> str:
    """What sorts before every product id made at ``wall_ms`` or later, and after every earlier one: in steps of 1/4096 ms."""
    return "p" + _encode(int(wall_ms * _FINE), 10)


def trans_id() -> str:
    """28 decimal digits: 14 of time, 14 random (微信支付交易号)."""
    return f"{clock.wall_ms():014d}{secrets.randbelow(10**14):014d}"


def small_id() -> int:
    """A random integer from 10,000 to 2³¹−1 (group, shelf, template, category); unique in its shop by index, a DuplicateKey draws again."""
    return 10_000 + secrets.randbelow(2**31 - 10_001)


def new_id(prefix: str) -> str:
    """``prefix_`` and 24 lower-case letters and digits, sorting by time: for what no old API names."""
    return f"{prefix}_{_encode(clock.wall_ms(), 9, _PLAIN)}{_encode(secrets.randbits(77), 15, _PLAIN)}"


def new_id_floor(prefix: str, wall_ms: float) -> str:
    """What sorts before every id of this prefix made at ``wall_ms`` or later, and after every earlier one."""
    return f"{prefix}_{_encode(int(wall_ms), 9, _PLAIN)}"


def new_id_ms(identity: str) -> int:
    """When an id of ``new_id`` was made (wall ms); 0 for what is none."""
    made = identity.rpartition("_")[2][:9]
    if len(made) < 9 or any(letter not in _PLAIN for letter in made):
        return 0
    return int(made, 36)


def secret(size: int = 24) -> str:
    """A random secret of ``size`` bytes as text."""
    return secrets.token_urlsafe(size)


def derived_id(prefix: str, *parts: str) -> str:
    """An id that follows from its cause: the same parts give the same id, on every retry and every replay."""
    digest = hashlib.sha256("\x1f".join(parts).encode()).hexdigest()
    return f"{prefix}_{digest[:32]}"


def openid(key: bytes, user_id: str, account_id: str) -> str:
    """28 characters beginning with ``o``: a user as one official account knows them; says nothing to other accounts."""
    digest = hmac.new(key, f"{user_id}\x1f{account_id}".encode(), hashlib.sha256).digest()
    return "o" + _encode(int.from_bytes(digest[:21], "big"), 27)
