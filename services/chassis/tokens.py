"""Access tokens: Ed25519-signed JWTs. accounts signs those of people and apps, each service signs its own.

Claims: ``sub`` (user, account, app or staff id; service name), ``kind``, ``scopes``, ``shop_id``, ``account_id``, ``jti``, ``iat``,
``exp``, ``iss`` (the signing service). Their time is the wall clock: moving the sandbox clock does not age a token.
"""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from services.chassis import clock, ids, keys
from services.chassis.errors import Refusal
from services.chassis.settings import Settings

ALGORITHM: Final = "Ed25519"
ISSUER: Final = "accounts"
"""The service that signs the tokens of people and apps."""
ANYONE: Final = "anyone"
SERVICE: Final = "service"
KINDS: Final = frozenset({"buyer", "merchant", "admin", "arbitrator", "supervisor", "auditor", SERVICE})
ITSELF: Final = "sub"
"""An account_id that is the subject, told short: clients of the 2014 API keep 512 characters for a token."""
CACHED: Final = 20_000
SERVICE_LIFETIME_S: Final = 900
RENEW_BEFORE_S: Final = 300
SKEW_S: Final = 30
"""How far the clocks of two machines may differ before a fresh token is refused as not yet valid."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls. ``subject``: user, account, app or staff id, or the service's name; empty for kind ``anyone``."""

    kind: str
    subject: str = ""
    shop_id: str = ""
    account_id: str = ""
    scopes: frozenset[str] = frozenset()
    jti: str = ""
    issued_at: int = 0
    expires_at: int = 0
    """Wall seconds since 1970; 0 for ``anyone``."""

    @property
    def service(self) -> str:
        """The calling service's name; empty for people and apps."""
        return self.subject if self.kind == SERVICE else ""

    @property
    def identity(self) -> str:
        """``kind:subject``: the caller part of an idempotency key."""
        return f"{self.kind}:{self.subject}"

    def may(self, scope: str) -> bool:
        """Whether the token carries ``scope`` (or ``*``, all of them)."""
        return scope in self.scopes or "*" in self.scopes


NOBODY: Final = Caller(ANYONE)


@dataclass(frozen=True, slots=True)
class Revoked:
    """Tokens that are no longer good: by id, or all that a subject was given up to a moment (wall seconds since 1970).

    ``subjects``: (subject, shop) → that moment; shop empty: whichever shop the token speaks for.
    """

    token_ids: frozenset[str] = frozenset()
    subjects: Mapping[tuple[str, str], int] = field(default_factory=dict)

    def holds(self, caller: Caller) -> bool:
        """Whether the caller's token is revoked."""
        given_before = (self.subjects.get((caller.subject, shop), 0) for shop in {"", caller.shop_id})
        return caller.jti in self.token_ids or caller.issued_at < max(given_before)


@dataclass(frozen=True, slots=True)
class Minted:
    """A new token: its text, its id (for revoking it), when it ends (wall seconds since 1970)."""

    text: str
    jti: str
    expires_at: int


class Signer:
    """Signs tokens as one service."""

    def __init__(self, settings: Settings, service: str) -> None:
        """Read or make the service's key."""
        self._service = service
        self._key: OKPKey = keys.ensure(settings.keys, service)
        self._header = {"alg": ALGORITHM, "kid": keys.key_id(service, self._key)}
        self._own: Minted | None = None

    def mint(
        self,
        kind: str,
        subject: str,
        *,
        lifetime_s: int,
        scopes: Iterable[str] = (),
        shop_id: str = "",
        account_id: str = "",
        jti: str = "",
        issued_at: int = 0,
    ) -> Minted:
        """A token for ``subject``, valid from now for ``lifetime_s`` seconds.

        ``jti`` and ``issued_at`` (wall seconds since 1970) are given where a retry must make the same token again.
        """
        if kind not in KINDS:
            raise KeyError(kind)
        now = issued_at or clock.wall_ms() // 1000
        claims: dict[str, Any] = {
            "iss": self._service,
            "sub": subject,
            "kind": kind,
            "jti": jti or ids.new_id("tok"),
            "iat": now,
            "exp": now + lifetime_s,
        }
        account = ITSELF if account_id == subject else account_id
        more = {"scopes": sorted(scopes), "shop_id": shop_id, "account_id": account}
        claims.update({name: value for name, value in more.items() if value})
        text = jwt.encode(self._header, claims, self._key, algorithms=[ALGORITHM], default_type=None)
        return Minted(text, claims["jti"], claims["exp"])

    def own(self) -> str:
        """The service's own token, made anew before it ends."""
        current = self._own
        if current is None or current.expires_at - RENEW_BEFORE_S < clock.wall_ms() // 1000:
            current = self._own = self.mint(SERVICE, self._service, lifetime_s=SERVICE_LIFETIME_S)
        return current.text


class Verifier:
    """Checks tokens; remembers those whose signature was good, because checking one costs 0.15 ms."""

    def __init__(self, settings: Settings) -> None:
        """Believe the keys of ``settings``."""
        self._ring = keys.Ring(settings)
        self._known: dict[str, Caller] = {}
        self._lock = threading.Lock()
        self.revoked = Revoked()
        """What is no longer good; whoever owns the database replaces it."""

    def verify(self, text: str) -> Caller:
        """The caller a token speaks for. Raises Refusal UNAUTHENTICATED (not ours, revoked) or TOKEN_EXPIRED."""
        caller = self._known.get(text)
        if caller is None:
            caller = _caller(self._claims(text))
            self._remember(text, caller)
        if caller.expires_at <= clock.wall_ms() // 1000:
            raise Refusal("TOKEN_EXPIRED", "the access token has expired; get a new one")
        if self.revoked.holds(caller):
            raise Refusal("UNAUTHENTICATED", "the access token was revoked; get a new one")
        return caller

    def _claims(self, text: str) -> Mapping[str, Any]:
        kid = ""

        def key(guest: Any) -> OKPKey:
            nonlocal kid
            kid = str(guest.headers().get("kid", ""))
            found = self._ring.find(kid)
            if found is None:
                raise _unreadable()
            return found

        try:
            claims = jwt.decode(text, key, algorithms=[ALGORITHM]).claims
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise _unreadable() from error
        if claims.get("iss") != keys.issuer_of(kid):
            raise _unreadable()
        return claims

    def _remember(self, text: str, caller: Caller) -> None:
        with self._lock:
            if len(self._known) >= CACHED:
                self._known = dict(list(self._known.items())[CACHED // 2 :])
            self._known[text] = caller


def _caller(claims: Mapping[str, Any]) -> Caller:
    """The caller of checked claims. A service speaks only for itself; people and apps are vouched for by accounts only."""
    try:
        kind, subject, issuer = str(claims["kind"]), str(claims["sub"]), claims["iss"]
        issued, expires = int(claims["iat"]), int(claims["exp"])
        jti, scopes = str(claims["jti"]), frozenset(map(str, claims.get("scopes", ())))
    except (KeyError, ValueError, TypeError) as error:
        raise _unreadable() from error
    vouched = issuer == (subject if kind == SERVICE else ISSUER)
    if kind not in KINDS or not subject or not vouched or issued > clock.wall_ms() // 1000 + SKEW_S:
        raise _unreadable()
    shop, account = str(claims.get("shop_id", "")), str(claims.get("account_id", ""))
    account = subject if account == ITSELF else account
    return Caller(kind, subject, shop, account, scopes, jti, issued, expires)


def _unreadable() -> Refusal:
    return Refusal(
        "UNAUTHENTICATED",
        "the access token is not one of ours, or was cut: send it whole as `Authorization: Bearer <token>`, or get a new one",
    )
