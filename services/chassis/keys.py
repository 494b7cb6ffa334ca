"""Signing keys: one Ed25519 key pair a service, private part readable by its owner only, public part for everybody.

Files in ``settings.keys``: ``<service>.key.json`` (private JWK, 0600) and ``<service>.pub.json`` (public JWK). Where services run on
several machines each has a folder of its own, and the public keys of the others come from their JWKS documents (``settings.jwks``, see
``jwks.py``). A key's id is ``<service>.<thumbprint>``, so a token tells whose key to check it with, and a service can rotate its key while
tokens of the old one still live: take ``<service>.key.json`` away and start the service anew. The old public key stays as
``<key id>.pub.json`` until somebody removes it.
"""

import json
import os
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from services.chassis import clock
from services.chassis.errors import Refusal
from services.chassis.logs import get
from services.chassis.settings import Settings

CURVE: Final = "Ed25519"
THUMB: Final = 22
"""Characters of a thumbprint in a key's id; 6 bits each."""
JWKS_FRESH_S: Final = 300.0
"""How long a fetched JWKS document is believed."""
LOOK_AGAIN_S: Final = 2.0
"""How soon an unknown key id may cause the keys to be read again, so that forged ids cause no flood of requests."""
JWKS_TIMEOUT_S: Final = 3.0
_PUBLIC: Final = ("kty", "crv", "x", "kid")
_log = get(__name__)


def ensure(folder: Path, service: str) -> OKPKey:
    """The private key of ``service``, made on first use. Any number of processes may ask at once: all get the same key."""
    private = folder / f"{service}.key.json"
    if not private.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = OKPKey.generate_key(CURVE)
        _publish(private, fresh.as_dict(private=True), mode=0o600)
    key = OKPKey.import_key(json.loads(private.read_text(encoding="utf-8")))
    kid, public = key_id(service, key), folder / f"{service}.pub.json"
    before = _read(public)
    if before is None or before["kid"] != kid:
        if before is not None:  # the key was changed: tokens that the one before has signed still live
            _publish(public.with_name(f"{before['kid']}.pub.json"), before, mode=0o644)
        _draft(public, {**key.as_dict(private=False), "kid": kid}, mode=0o644).replace(public)
    return key


def key_id(service: str, key: OKPKey) -> str:
    """``<service>.<the first 132 bits of the RFC 7638 thumbprint>``: it stands in every token, which old clients keep in 512 characters."""
    return f"{service}.{key.thumbprint()[:THUMB]}"


def issuer_of(kid: str) -> str:
    """The service whose key ``kid`` is."""
    return kid.partition(".")[0]


def published(folder: Path) -> Iterator[dict[str, Any]]:
    """The public keys in ``folder``, each with its ``kid``."""
    for path in sorted(folder.glob("*.pub.json")):
        entry = _read(path)
        if entry is not None:
            yield entry


def public_members(entry: dict[str, Any]) -> dict[str, Any]:
    """What may be shown of a key."""
    return {**{name: entry[name] for name in _PUBLIC if name in entry}, "use": "sig"}


def _read(path: Path) -> dict[str, Any] | None:
    """A key file's content; None for one that is not there (any more) or is no key with an id."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("kid"), str) else None


def _publish(path: Path, content: dict[str, Any], *, mode: int) -> None:
    """Bring ``path`` into being with its whole content; whoever comes second leaves the first one's file."""
    scratch = _draft(path, content, mode=mode)
    try:
        os.link(scratch, path)
    except FileExistsError:
        pass
    finally:
        scratch.unlink()


def _draft(path: Path, content: dict[str, Any], *, mode: int) -> Path:
    """A whole file beside ``path``, to be given its name."""
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    return scratch


class Ring:
    """The public keys this process believes, by key id."""

    def __init__(self, settings: Settings) -> None:
        """Keys are read when the first token asks for one. Whom to ask is the settings' word, never the token's."""
        self._folder = settings.keys
        self._files = _Source("the folder of keys", partial(_from_folder, settings.keys))
        self._pages = {
            service: _Source(f"the keys of {service}", partial(_from_url, service, url))
            for service, url in settings.jwks.items()
        }

    def find(self, kid: str) -> OKPKey | None:
        """The key, read again when it is not known or what we know is old; None when its service does not publish it.

        Raises Refusal UNAVAILABLE when it is not known and the service's document cannot be read now: the token may be a good one.
        """
        source = self._pages.get(issuer_of(kid), self._files)
        return source.known(kid) or self._just_made(kid) or source.find(kid)

    def _just_made(self, kid: str) -> OKPKey | None:
        """The key that a service with its files here signs with: looked at without waiting, reading it costs little."""
        issuer = issuer_of(kid)
        entry = _read(self._folder / f"{issuer}.pub.json") if issuer.isidentifier() else None
        return _keys_of([entry]).get(kid) if entry is not None else None


class _Source:
    """One place that keys are read from, and what was found there last."""

    def __init__(self, name: str, read: Callable[[], dict[str, OKPKey]]) -> None:
        """``read`` raises httpx.HTTPError, ValueError, KeyError or TypeError when it cannot."""
        self._name, self._ask = name, read
        self._keys: dict[str, OKPKey] = {}
        self._read_at = float("-inf")
        self._failed = False
        self._reading = threading.Lock()

    def known(self, kid: str) -> OKPKey | None:
        """The key, where it was found a short while ago."""
        return self._keys.get(kid) if clock.monotonic() - self._read_at <= JWKS_FRESH_S else None

    def find(self, kid: str) -> OKPKey | None:
        """See ``Ring.find``."""
        age = clock.monotonic() - self._read_at
        if age > JWKS_FRESH_S or (kid not in self._keys and age > LOOK_AGAIN_S):
            with self._reading:
                if clock.monotonic() - self._read_at >= min(age, LOOK_AGAIN_S):  # else: another thread was faster
                    self._read()
        known = self._keys.get(kid)
        if known is None and self._failed:
            raise Refusal("UNAVAILABLE", f"{self._name} cannot be read now; try again", retry_after_s=1)
        return known

    def _read(self) -> None:
        """Read; what was known before stays while that fails."""
        try:
            self._keys, self._failed = self._ask(), False
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            self._failed = True
            _log.warning("keys cannot be read", where=self._name, error=str(error)[:200])
        self._read_at = clock.monotonic()


def _from_folder(folder: Path) -> dict[str, OKPKey]:
    return _keys_of(published(folder))


def _from_url(service: str, url: str) -> dict[str, OKPKey]:
    """The keys of a service's JWKS document. Only its own: a service vouches for nobody else's key."""
    entries = httpx.get(url, timeout=JWKS_TIMEOUT_S).raise_for_status().json()["keys"]
    if not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("no JWKS document")
    return _keys_of(entry for entry in entries if issuer_of(str(entry.get("kid", ""))) == service)


def _keys_of(entries: Iterable[dict[str, Any]]) -> dict[str, OKPKey]:
    """Key id → key, of what is an Ed25519 key with an id of ours."""
    found = {}
    for entry in entries:
        kid = str(entry.get("kid", ""))
        try:
            key = OKPKey.import_key(public_members(entry))
        except (JoseError, ValueError, KeyError, TypeError):
            continue
        if "." in kid and key.curve_name == CURVE:
            found[kid] = key
    return found
