"""Signed links: an address under which whoever has it may see one thing for a while, without a token.

A link is a JWT that the service signs with the key of its tokens, so it lives through a change of that key as they do (``keys``). It says
what it is for (``use``), and it has no ``kind``: it is no access token, and no access token is a link. Its time is the wall clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from services.chassis import clock, keys
from services.chassis.errors import Refusal
from services.chassis.settings import Settings
from services.chassis.tokens import ALGORITHM

LONGEST: Final = 2000
"""Characters of a link's last part."""


@dataclass(frozen=True, slots=True)
class Link:
    """A link: its last part, what it is about, when it ends (wall seconds since 1970)."""

    text: str
    about: Mapping[str, Any]
    expires_at: int


class Links:
    """Signs and reads the links of one service."""

    def __init__(self, settings: Settings, service: str) -> None:
        """Read or make the service's key."""
        self._service = service
        self._key: OKPKey = keys.ensure(settings.keys, service)
        self._header = {"alg": ALGORITHM, "kid": keys.key_id(service, self._key)}
        self._ring = keys.Ring(settings)

    def sign(self, use: str, about: Mapping[str, Any], *, lifetime_s: int) -> Link:
        """A link for ``use`` that works from now for ``lifetime_s`` seconds; everybody can read ``about``."""
        expires_at = clock.wall_ms() // 1000 + lifetime_s
        claims = {"iss": self._service, "use": use, "about": dict(about), "exp": expires_at}
        return Link(jwt.encode(self._header, claims, self._key, algorithms=[ALGORITHM]), about, expires_at)

    def read(self, use: str, text: str, kind: str) -> Link:
        """What a link for ``use`` says. Raises Refusal NOT_FOUND (naming ``kind``) for one that is not ours, was cut or has ended."""
        claims = self._claims(text) if len(text) <= LONGEST else {}
        if claims.get("iss") != self._service or claims.get("use") != use:
            raise Refusal("NOT_FOUND", f"this is no {kind} of ours, or it was cut; ask for a new one")
        if claims["exp"] <= clock.wall_ms() // 1000:
            raise Refusal("NOT_FOUND", f"this {kind} has expired; ask for a new one")
        return Link(text, claims["about"], claims["exp"])

    def _claims(self, text: str) -> Mapping[str, Any]:
        """What a text signed by this service says; nothing where it was not."""

        def key(guest: Any) -> OKPKey:
            kid = str(guest.headers().get("kid", ""))
            found = self._ring.find(kid) if keys.issuer_of(kid) == self._service else None
            if found is None:
                raise KeyError(kid)
            return found

        try:
            return jwt.decode(text, key, algorithms=[ALGORITHM]).claims
        except (JoseError, ValueError, TypeError, KeyError):
            return {}
