"""Whose payments a caller may see and end."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

STAFF: Final = "staff"


@dataclass(frozen=True, slots=True)
class Whose:
    """A ``buyer``'s own payments, those that the till of a ``merchant``'s shop opened, or (``staff``) all."""

    kind: str
    identity: str = ""

    def sees(self, payable: Mapping[str, Any], attempt: Mapping[str, Any]) -> bool:
        """Whether this attempt at this payable is theirs."""
        if self.kind == "buyer":
            return bool(payable["buyer_id"] == self.identity)
        if self.kind == "merchant":
            return bool(self.identity) and attempt.get("till") == self.identity
        return self.kind == STAFF
