"""The channel's keys: made at the first start, kept in ``DATA_DIR/channel`` with mode 0600.

What the merchant needs lies in the folder ``merchant`` below; its merchant.json is written last, so where it is all is. A start
killed between two files goes on where it stopped; of two starts at once the first to link a file wins.
"""

import hashlib
import json
import os
import secrets
import string
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from services.chassis.channel_signing import private_key, public_key
from services.chassis.channel_signing_v2 import api_key

_ALPHABET: Final = string.ascii_letters + string.digits
_APIV3_LENGTH: Final = 32


@dataclass(frozen=True, slots=True)
class KeyRing:
    """What the channel holds: its own private key, the merchant's public one, and the secret they share."""

    mchid: str
    platform_key: RSAPrivateKey
    platform_serial: str
    merchant_key: RSAPublicKey
    merchant_serial: str
    apiv3_key: str

    @property
    def api_key(self) -> str:
        """The API key of v2 (API 密钥)."""
        return api_key(self.apiv3_key)


def open_keys(folder: Path, mchid: str, base_url: str) -> KeyRing:
    """Read the keys in ``folder``, making those that are missing, and tell the merchant where the channel is now."""
    merchant = folder / "merchant"
    for path in (folder, merchant):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    platform = private_key(_kept(folder / "platform_private.pem", _new_private))
    platform_pem = _public_pem(platform.public_key())
    merchant_pem = _kept(
        folder / "merchant_public.pem",
        lambda: _public_pem(private_key(_kept(merchant / "merchant_private.pem", _new_private)).public_key()),
    )
    apiv3_key = _kept(folder / "apiv3.key", _new_apiv3_key).decode()
    ring = KeyRing(mchid, platform, _serial(platform_pem), public_key(merchant_pem), _serial(merchant_pem), apiv3_key)
    _kept(merchant / "platform_public.pem", lambda: platform_pem)
    told = {
        "mchid": mchid,
        "serial": ring.merchant_serial,
        "apiv3_key": apiv3_key,
        "api_key": ring.api_key,
        "platform_serial": ring.platform_serial,
        "base_url": base_url,
    }
    content = json.dumps(told, indent=2).encode()
    if _read(merchant / "merchant.json") != content:
        _draft(merchant / "merchant.json", content).replace(merchant / "merchant.json")
    return ring


def _new_private() -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _new_apiv3_key() -> bytes:
    return "".join(secrets.choice(_ALPHABET) for _ in range(_APIV3_LENGTH)).encode()


def _public_pem(key: RSAPublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _serial(public_pem: bytes) -> str:
    """A serial number in the shape of a certificate's: 40 upper-case hexadecimal digits, from the key itself."""
    return hashlib.sha256(public_pem).hexdigest()[:40].upper()


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _draft(path: Path, content: bytes) -> Path:
    """Write ``content`` to a file of its own beside ``path``, on disk before it gets its name."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return draft


def _kept(path: Path, make: Callable[[], bytes]) -> bytes:
    """What ``path`` holds, made once: linking fails where another start was first, and its file counts."""
    found = _read(path)
    if found is not None:
        return found
    draft = _draft(path, make())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return path.read_bytes()
