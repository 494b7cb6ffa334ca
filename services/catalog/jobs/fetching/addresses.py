"""Where an address may lead: only to servers that everybody can reach.

The name is resolved once, every answer is looked at, and the connection goes to the very address that was looked at, so a name that
answers differently the second time (DNS rebinding) leads nowhere. See OWASP, Server Side Request Forgery Prevention Cheat Sheet.
"""

import ipaddress
import socket
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import httpx

PORTS: Final = {"http": 80, "https": 443}
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_UNICAST: Final = ipaddress.ip_network("2000::/3")
"""All that is given to networks of the public internet (RFC 4291, IANA's registry); what is elsewhere is local, old or wraps something."""
_PROTOCOLS: Final = ipaddress.ip_network("192.0.0.0/24")
"""Answered by the next router (RFC 6890), though two of its addresses count as global."""


class UnfetchableError(Exception):
    """An address that gives no picture. ``passing``: trying again later may help."""

    def __init__(self, reason: str, message: str, *, passing: bool = False) -> None:
        """``reason`` for programs, ``message`` for people."""
        super().__init__(message)
        self.reason, self.message, self.passing = reason, message, passing


@dataclass(frozen=True, slots=True)
class Place:
    """An address that was looked at: the URL by number, and the name that the server there is to answer to."""

    url: httpx.URL
    host: str
    authority: str


def place_of(address: str, allowed: Collection[str]) -> Place:
    """Where to connect for ``address``. ``allowed``: host:port of inside servers that may be asked all the same.

    Raises UnfetchableError for what is no web address, stands on another port, or leads inside.
    """
    try:
        url = httpx.URL(address)
        port = url.port or PORTS.get(url.scheme, 0)
        host = url.raw_host.decode("ascii")  # as it is resolved: 中国.example is xn--fiqs8s.example
    except (httpx.InvalidURL, ValueError) as error:
        raise UnfetchableError("BAD_ADDRESS", f"not a web address: {error}") from error
    if url.scheme not in PORTS or not host:
        raise UnfetchableError("BAD_ADDRESS", "only http:// and https:// addresses are fetched")
    if url.userinfo:
        raise UnfetchableError("BAD_ADDRESS", "an address that carries a name or password is not fetched")
    inside = f"{host}:{port}" in allowed
    if not inside and port != PORTS[url.scheme]:
        raise UnfetchableError("ADDRESS_REFUSED", f"port {port} is not fetched from, only {PORTS[url.scheme]}")
    number = _resolved(host, port, inside=inside)
    authority = url.netloc.decode("ascii")
    return Place(url.copy_with(host=number, port=port, fragment=None), host, authority)


def _resolved(host: str, port: int, *, inside: bool) -> str:
    """The number to connect to: the first, if every number that the name has may be reached."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UnfetchableError("UNKNOWN_HOST", f"{host} cannot be found", passing=True) from error
    numbers = [str(entry[4][0]).partition("%")[0] for entry in found]
    for number in numbers:
        if not inside and not is_outside(number):
            raise UnfetchableError(
                "ADDRESS_REFUSED", f"{host} leads inside; pictures are fetched from public servers only"
            )
    return numbers[0]


def is_outside(number: str) -> bool:
    """Whether an IP address is one of the public internet, also where it wraps another one."""
    address = ipaddress.ip_address(number)
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast and address not in _PROTOCOLS
    wrapped = address.ipv4_mapped or address.sixtofour
    if address in _NAT64:
        wrapped = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if wrapped is not None:
        return is_outside(str(wrapped))
    return address in _UNICAST and address.is_global and address.teredo is None
