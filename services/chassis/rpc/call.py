"""One call as a service's method sees it."""

import hashlib
import secrets
from typing import Any, Final

import grpc

from services.chassis import clock
from services.chassis.commit import Cause
from services.chassis.rpc.contracts import Method
from services.chassis.tokens import NOBODY, Caller

AUTHORIZATION: Final = "authorization"
ACTING_FOR: Final = "x-acting-for"
IDEMPOTENCY_KEY: Final = "idempotency-key"
REPLAYED: Final = "idempotency-replayed"
TRACEPARENT: Final = "traceparent"
UNBOUNDED_S: Final = 86_400.0
"""A deadline further away than this is none: the library tells of a missing one so."""


class Call:
    """Who calls, until when an answer is of use, and the cause under which it writes."""

    __slots__ = (
        "_cause",
        "_context",
        "actor",
        "actor_token",
        "body_hash",
        "caller",
        "deadline",
        "metadata",
        "method",
        "replayed",
        "request",
        "traceparent",
    )

    def __init__(self, method: Method, context: grpc.ServicerContext, request: Any, timeout_s: float) -> None:
        """A call that nobody has checked yet. ``request``: the bytes that came, or an iterator of such."""
        self.method = method
        self.request = request
        self.metadata: dict[str, Any] = dict(context.invocation_metadata())
        left = context.time_remaining()
        unbounded = left is None or left > UNBOUNDED_S
        self.deadline = clock.monotonic() + (timeout_s if unbounded else left)
        self.caller: Caller = NOBODY
        self.actor: Caller = NOBODY
        """Whom the call is for: the caller, or whom a calling service acts for."""
        self.actor_token = ""
        """The actor's token, as this service shows it to others."""
        self.body_hash = ""
        self.traceparent = ""
        self.replayed = False
        self._context = context
        self._cause: Cause | None = None

    @property
    def cause(self) -> Cause:
        """The cause of this command's writes; the same again when the same caller repeats it under the same idempotency key."""
        if self._cause is None:
            key = self.metadata.get(IDEMPOTENCY_KEY) or secrets.token_hex(16)
            text = f"{self.caller.identity}\x1f{self.method.name}\x1f{key}"
            digest = hashlib.sha256(text.encode()).hexdigest()
            self._cause = Cause("cmd:" + digest, self.body_hash, traceparent=self.traceparent)
        return self._cause

    def remaining(self) -> float:
        """Seconds until the caller stops waiting; not above zero when it has."""
        return self.deadline - clock.monotonic()

    def mark_replayed(self) -> None:
        """Say that this answers a command done before (HTTP: ``Idempotency-Replayed: true``)."""
        if not self.replayed:
            self.replayed = True
            self._context.set_trailing_metadata(((REPLAYED, "true"),))
