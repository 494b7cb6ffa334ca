"""What a seller assures beside the goods themselves: terms, where they come from, certificates (attrext of the 微信商铺API手册 V1.15)."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from services.chassis.texts import has_control

_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Terms:
    """What the seller grants: an invoice (发票), a warranty (保修), taking goods back (退换货)."""

    receipt: bool = False
    warranty: bool = False
    returns: bool = False


@dataclass(frozen=True, slots=True)
class Location:
    """Where the goods are sent from."""

    country: str = ""
    province: str = ""
    city: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate of authenticity: what kind, and the SHA-256 of its file in 64 lower-case hexadecimal digits."""

    kind: str
    file_hash: str


@dataclass(frozen=True, slots=True)
class Assurances:
    """All of it; empty where nothing is said."""

    terms: Terms = Terms()
    location: Location = Location()
    certificates: tuple[Certificate, ...] = ()

    def said(self) -> dict[str, Any]:
        """terms, location and certificates as plain values, each only where something is said of it.

        So products from before there were such fields keep their fingerprint and do not look changed.
        """
        said: dict[str, Any] = {}
        if self.terms != Terms():
            said["terms"] = asdict(self.terms)
        if self.location != Location():
            said["location"] = asdict(self.location)
        if self.certificates:
            said["certificates"] = [asdict(found) for found in self.certificates]
        return said

    def problems(self, longest: int, most: int) -> Iterator[tuple[str, str, str]]:
        """(field, reason, message) of everything wrong: texts up to ``longest`` characters, ``most`` certificates."""
        for name, text in asdict(self.location).items():
            if len(text) > longest:
                yield f"location.{name}", "TOO_LONG", f"at most {longest} characters; shorten it"
            if has_control(text):
                yield f"location.{name}", "CONTROL_CHARACTER", "holds a control character; remove it"
        if len(self.certificates) > most:
            yield "certificates", "TOO_MANY", f"a product has at most {most} certificates"
        for number, found in enumerate(self.certificates):
            if not 0 < len(found.kind) <= longest or has_control(found.kind):
                message = f"say what kind of certificate it is, in at most {longest} characters"
                yield f"certificates[{number}].kind", "CERTIFICATE_INVALID", message
            if not _SHA256.fullmatch(found.file_hash):
                message = "give the SHA-256 of its file as 64 lower-case hexadecimal digits"
                yield f"certificates[{number}].file_hash", "CERTIFICATE_INVALID", message


NOTHING: Final = Assurances()


def assurances(raw: Mapping[str, Any]) -> Assurances:
    """From plain values: {terms?, location?, certificates?}."""
    certificates = tuple(Certificate(**found) for found in raw.get("certificates", ()))
    return Assurances(Terms(**raw.get("terms", {})), Location(**raw.get("location", {})), certificates)
