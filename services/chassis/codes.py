"""Signed codes for people to show and machines to read: a service's own word, short enough for a QR image.

``<prefix>.<text>.<thumbprint of the key>.<Ed25519 signature>`` in URL-safe base64. Anybody who has the service's public keys can check one;
what it stands for, and whether it still counts, only the service knows. A key that was changed keeps its old codes good, as
long as its public part is kept.
"""

import base64
import binascii
import re
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from services.chassis import keys
from services.chassis.settings import Settings

_SHAPE: Final = re.compile(r"([A-Z0-9]+)\.([0-9A-Za-z-]+)\.([0-9A-Za-z_-]{22})\.([0-9A-Za-z_-]{86})")


class Codes:
    """Signs and reads the codes of one service."""

    def __init__(self, settings: Settings, service: str, prefix: str) -> None:
        """``prefix``: what kind of code it is, capitals and digits; codes of another kind are not read."""
        self._service, self._prefix = service, prefix
        self._own, self._ring = keys.ensure(settings.keys, service), keys.Ring(settings)
        self._thumb = keys.key_id(service, self._own).partition(".")[2]

    def sign(self, text: str) -> str:
        """The code for ``text`` (letters, digits, hyphens). The same text gives the same code while the key is the same."""
        private = self._own.private_key
        if not isinstance(private, Ed25519PrivateKey):
            raise TypeError("a service signs with Ed25519")
        signature = base64.urlsafe_b64encode(private.sign(self._message(text))).decode().rstrip("=")
        return f"{self._prefix}.{text}.{self._thumb}.{signature}"

    def read(self, code: str) -> str | None:
        """The text of a code that this service signed; None for anything else. Raises Refusal UNAVAILABLE as ``keys.Ring.find``."""
        shape = _SHAPE.fullmatch(code.strip())
        if shape is None or shape[1] != self._prefix:
            return None
        key = self._ring.find(f"{self._service}.{shape[3]}")
        public = key.public_key if key is not None else None
        if not isinstance(public, Ed25519PublicKey):
            return None
        try:
            public.verify(base64.urlsafe_b64decode(f"{shape[4]}=="), self._message(shape[2]))
        except (InvalidSignature, binascii.Error):
            return None
        return shape[2]

    def _message(self, text: str) -> bytes:
        return f"jishi {self._prefix} {text}".encode()
