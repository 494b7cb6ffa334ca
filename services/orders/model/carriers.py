"""Carriers that may tell of parcels at the signed door, and their secrets.

::

    {_id: carrier (a code of ``delivery.CARRIERS``, or its name), number, secrets: [{number, secret, until}, …]}

The newest secret has no ``until`` (UTC, wall clock); the one before is believed until then, so that a carrier changes without a gap.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from services.chassis.decisions import Change
from services.chassis.errors import invalid

Carrier = Mapping[str, Any]
NAME_LENGTH = 40


def checked(name: str) -> str:
    """A carrier's code or name. Raises Refusal INVALID_ARGUMENT."""
    told = name.strip()
    if not 0 < len(told) <= NAME_LENGTH:
        raise invalid("carrier", f"name the carrier in 1 to {NAME_LENGTH} characters")
    return told


def new(carrier: str) -> dict[str, Any]:
    """A carrier that nothing is believed of yet."""
    return {"_id": carrier, "number": 0, "secrets": []}


def renewed(carrier: Carrier, secret: str, now: datetime, overlap: timedelta) -> Change:
    """Another secret; answer: {carrier, number, previous_until}. Secrets stand in no answer that is kept."""
    number, until = carrier["number"] + 1, now + overlap
    before = [{**row, "until": until} for row in carrier["secrets"] if row["until"] is None]
    rows = [*before, {"number": number, "secret": secret, "until": None}]
    told = {"previous_until": until} if before else {}
    return Change(set={"number": number, "secrets": rows}, answer={"carrier": carrier["_id"], "number": number, **told})


def closed(carrier: Carrier, now: datetime) -> Change:
    """Nothing is believed any more. Answer: {carrier}."""
    rows = [{**row, "until": min(now, row["until"] or now)} for row in carrier["secrets"]]
    return Change(set={"secrets": rows}, answer={"carrier": carrier["_id"]})


def believed(carrier: Carrier | None, now: datetime) -> list[str]:
    """The secrets under which its messages are believed now, the newest last."""
    rows = carrier["secrets"] if carrier is not None else []
    return [row["secret"] for row in rows if row["until"] is None or now < row["until"]]


def secret_of(carrier: Carrier, number: int) -> str:
    """The secret with this number; empty when it is not kept any more."""
    return next((str(row["secret"]) for row in carrier["secrets"] if row["number"] == number), "")
