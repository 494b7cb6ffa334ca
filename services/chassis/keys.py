"""Signing keys: one Ed25519 key pair a service, private part readable by its owner only, public part for everybody.

Files in ``settings.keys``: ``<service>.key.json`` (private JWK, 0600) and ``<service>.pub.json`` (public JWK). Where services run on
several machines the public keys come from a JWKS document (``settings.jwks_url``) instead. A key's id is ``<service>.<thumbprint>``,
so a token tells whose key to check it with, and a service can rotate its key while tokens of the old one still live.
"""

import json
import os
import secrets
import threading
from pathlib import Path
from typing import Any, Final

import httpx
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from services.chassis import clock
from services.chassis.settings import Settings

CURVE: Final = "Ed25519"
JWKS_FRESH_S: Final = 300.0
"""How long a fetched JWKS document is believed."""
LOOK_AGAIN_S: Final = 2.0
"""How soon an unknown key id may cause the keys to be read again, so that forged ids cause no flood of requests."""
JWKS_TIMEOUT_S: Final = 3.0


def ensure(folder: Path, service: str) -> OKPKey:
    """The private key of ``service``, made on first use. Any number of processes may ask at once: all get the same key."""
    private = folder / f"{service}.key.json"
    if not private.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = OKPKey.generate_key(CURVE)
        _publish(private, fresh.as_dict(private=True), mode=0o600)
    key = OKPKey.import_key(json.loads(private.read_text(encoding="utf-8")))
    public = folder / f"{service}.pub.json"
    if not public.exists():
        _publish(public, {**key.as_dict(private=False), "kid": key_id(service, key)}, mode=0o644)
    return key


def key_id(service: str, key: OKPKey) -> str:
    """``<service>.<RFC 7638 thumbprint>``."""
    return f"{service}.{key.thumbprint()}"


def issuer_of(kid: str) -> str:
    """The service whose key ``kid`` is."""
    return kid.partition(".")[0]


def _publish(path: Path, content: dict[str, Any], *, mode: int) -> None:
    """Bring ``path`` into being with its whole content; whoever comes second leaves the first one's file."""
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(scratch, path)
    except FileExistsError:
        pass
    finally:
        scratch.unlink()


class Ring:
    """The public keys this process believes, by key id."""

    def __init__(self, settings: Settings) -> None:
        """Keys are read when the first token asks for one."""
        self._folder = settings.keys
        self._jwks_url = settings.jwks_url
        self._keys: dict[str, OKPKey] = {}
        self._read_at = float("-inf")
        self._reading = threading.Lock()

    def find(self, kid: str) -> OKPKey | None:
        """The key, read again when it is not known or what we know is old; None when nobody publishes it."""
        age = clock.monotonic() - self._read_at
        known = self._keys.get(kid)
        if known is None:
            known = self._just_made(kid)
        if (known is None and age > LOOK_AGAIN_S) or age > JWKS_FRESH_S:
            with self._reading:
                if clock.monotonic() - self._read_at >= min(age, LOOK_AGAIN_S):
                    self._read()
            known = self._keys.get(kid)
        return known

    def _just_made(self, kid: str) -> OKPKey | None:
        """The key of a service that began a moment ago: its file is looked at without waiting, reading it costs little."""
        issuer = issuer_of(kid)
        path = self._folder / f"{issuer}.pub.json"
        if not issuer.isidentifier() or not path.is_file():
            return None
        found = _public(json.loads(path.read_text(encoding="utf-8")))
        return found[1] if found and found[0] == kid else None

    def _read(self) -> None:
        found = self._from_folder()
        if self._jwks_url:
            found.update(self._from_url())
        self._keys = found
        self._read_at = clock.monotonic()

    def _from_folder(self) -> dict[str, OKPKey]:
        found = {}
        for path in sorted(self._folder.glob("*.pub.json")):
            key = _public(json.loads(path.read_text(encoding="utf-8")))
            if key is not None:
                found[key[0]] = key[1]
        return found

    def _from_url(self) -> dict[str, OKPKey]:
        """Keys of the JWKS document; those we know already while it cannot be read."""
        try:
            document = httpx.get(self._jwks_url, timeout=JWKS_TIMEOUT_S).raise_for_status().json()
            return dict(filter(None, (_public(entry) for entry in document["keys"])))
        except (httpx.HTTPError, ValueError, KeyError):
            return self._keys


def _public(entry: dict[str, Any]) -> tuple[str, OKPKey] | None:
    """Key id and key of one JWK; None for what is no Ed25519 key with an id of ours."""
    kid = entry.get("kid", "")
    try:
        key = OKPKey.import_key(entry)
    except (JoseError, ValueError, KeyError, TypeError):
        return None
    return (kid, key) if "." in kid and key.curve_name == CURVE else None
