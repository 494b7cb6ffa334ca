"""The door at which a service shows its public keys, so that services on other machines can check the tokens it signs.

``GET /jwks.json`` answers a JWKS document (RFC 7517): the key that the service signs with and those it signed with before.
"""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final
from wsgiref.simple_server import WSGIServer

from services.chassis import keys, pages
from services.chassis.settings import Settings

PATH: Final = "/jwks.json"
BELIEVED_S: Final = 60
"""How long a cache on the way may keep the document; readers of ours ask again at once for a key they do not know."""


def document(folder: Path, service: str) -> dict[str, Any]:
    """The JWKS document of ``service``: public parts only, whatever lies in the folder."""
    found = [keys.public_members(entry) for entry in keys.published(folder) if keys.issuer_of(entry["kid"]) == service]
    return {"keys": found}


def serve(settings: Settings, service: str) -> WSGIServer | None:
    """Show the keys of ``service`` at ``settings.jwks_listen[service]`` until the server is shut down; None where that is not set.

    Raises OSError when the address is taken.
    """
    listen = settings.jwks_listen.get(service)
    if not listen:
        return None

    def page(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get("PATH_INFO") != PATH or environ.get("REQUEST_METHOD") not in ("GET", "HEAD"):
            start("404 Not Found", [("Content-Type", "text/plain")])
            return [f"GET {PATH} shows the public keys of {service}; nothing else is here\n".encode()]
        body = json.dumps(document(settings.keys, service)).encode()
        headers = [
            ("Content-Type", "application/jwk-set+json"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", f"public, max-age={BELIEVED_S}"),
        ]
        start("200 OK", headers)
        return [body]

    return pages.show(listen, f"jwks-{service}", page)
