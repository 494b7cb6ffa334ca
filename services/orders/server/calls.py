"""What every rpc of orders says of its caller and its answer."""

from collections.abc import Mapping
from typing import Any

from services.chassis import rpc
from services.chassis.commit import Outcome


def actor(call: rpc.Call) -> rpc.Caller:
    """Who asks: the person or app, also when a service asks on their behalf; a service that acts for nobody is itself."""
    return call.actor if call.actor.kind != "anyone" else call.caller


def answer(call: rpc.Call, outcome: Outcome) -> Mapping[str, Any]:
    """The remembered answer of a command; says when it was done before."""
    if outcome.replayed:
        call.mark_replayed()
    remembered: Mapping[str, Any] = outcome.answer
    return remembered
