"""Secrets of programs, and the tokens they are exchanged for.

A secret is derived from the installation's key and its owner's id, so a repeated registration answers the same secret although
only its hash is stored. The hash is argon2 with small parameters: slowness protects guessable passwords, while these secrets have
128 random-looking bits that no amount of guessing meets; a token request must not cost 100 ms of CPU.
"""

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from services.accounts.store import Store
from services.chassis import clock, commit, ids, policy
from services.chassis.commit import Cause
from services.chassis.mongo import Document
from services.chassis.tokens import Signer

_HASHER: Final = PasswordHasher(time_cost=1, memory_cost=256, parallelism=1, hash_len=16)
KEYS_HONOURED: Final = timedelta(hours=24)
"""How long a repeated request must find its token again, also a short-lived one."""


@dataclass(frozen=True, slots=True)
class Given:
    """A token as it is given out: its text and how many seconds it lives from its issue."""

    text: str
    lifetime_s: int
    scopes: tuple[str, ...] = ()
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class House:
    """What commands of accounts stand on."""

    store: Store
    signer: Signer
    key: bytes
    """The installation's key (32 bytes)."""
    sandbox: bool = False


def derived_secret(key: bytes, owner: str) -> str:
    """32 hex digits: the secret of ``owner`` (an appid or client id)."""
    return hmac.new(key, f"secret\x1f{owner}".encode(), hashlib.sha256).hexdigest()[:32]


def hashed(secret: str) -> str:
    """The hash that is stored."""
    return _HASHER.hash(secret)


def matches(hashes: Iterable[str], secret: str) -> bool:
    """Whether ``secret`` belongs to one of the stored hashes."""
    return any(_matches(known, secret) for known in hashes)


def _matches(known: str, secret: str) -> bool:
    try:
        return _HASHER.verify(known, secret)
    except (Argon2Error, InvalidHashError):
        return False


def lifetime_s(house: House, kind: str) -> int:
    """How long a token of ``kind`` lives, seconds of the wall clock."""
    name = "merchant_token_lifetime" if kind == "merchant" else "staff_token_lifetime"
    if house.sandbox and kind != "merchant":
        name = "sandbox_token_lifetime"
    return int(policy.load("accounts").value(name, clock.business()))


def give_token(
    house: House,
    cause: Cause,
    kind: str,
    subject: str,
    *,
    scopes: Iterable[str] = (),
    shop_id: str = "",
    account_id: str = "",
) -> Given:
    """A token for ``subject``, written down (without its text) so that a repeated request gets the same one.

    Raises Refusal IDEMPOTENCY_KEY_REUSED.
    """
    issued_at, span = clock.wall_ms() // 1000, lifetime_s(house, kind)
    expires = clock.moment((issued_at + span) * 1000)
    row: Document = {
        "_id": ids.derived_id("tok", cause.id),
        "kind": kind,
        "subject": subject,
        "scopes": sorted(scopes),
        "shop_id": shop_id,
        "account_id": account_id,
        "issued_at": issued_at,
        "lifetime_s": span,
        "expire_at": max(expires, clock.wall() + KEYS_HONOURED),
    }
    outcome = commit.create(house.store.tokens, row, cause)
    return _minted(house, outcome.document, replayed=outcome.replayed)


def _minted(house: House, row: Document, *, replayed: bool) -> Given:
    minted = house.signer.mint(
        row["kind"],
        row["subject"],
        lifetime_s=row["lifetime_s"],
        scopes=row["scopes"],
        shop_id=row["shop_id"],
        account_id=row["account_id"],
        jti=row["_id"],
        issued_at=row["issued_at"],
    )
    return Given(minted.text, row["lifetime_s"], tuple(row["scopes"]), replayed)


def revocation_span() -> tuple[datetime, datetime]:
    """(issued before, remembered until) of a revocation made now; the first is the next full second, as tokens count seconds."""
    now_s = clock.wall_ms() // 1000
    kept = policy.load("accounts").span("revocation_kept", clock.business())
    return clock.moment((now_s + 1) * 1000), clock.moment(now_s * 1000) + kept


def answer_of(given: Given) -> dict[str, Any]:
    """The token fields of a registration's answer."""
    return {"token": given.text, "expires_in": given.lifetime_s}
