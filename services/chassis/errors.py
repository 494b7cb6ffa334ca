"""The one catalogue of reasons a request can be refused for.

Each reason maps to a gRPC code, an HTTP status and a WeChat ``errcode`` (public list of the official-account API; business codes
of our own lie in 9_400_000 and above so that none collides with those that make SDKs retry: -1, 40001, 40014, 42001, 45009).
Pure standard library: the models raise ``Refusal`` too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class Reason:
    """How one reason is told: gRPC status name, HTTP status, WeChat errcode."""

    grpc: str
    http: int
    errcode: int


REASONS: Final[Mapping[str, Reason]] = {
    # the caller
    "UNAUTHENTICATED": Reason("UNAUTHENTICATED", 401, 40001),
    "TOKEN_EXPIRED": Reason("UNAUTHENTICATED", 401, 42001),
    "INVALID_CREDENTIALS": Reason("UNAUTHENTICATED", 401, 40125),
    "PERMISSION_DENIED": Reason("PERMISSION_DENIED", 403, 48001),
    "SCOPE_MISSING": Reason("PERMISSION_DENIED", 403, 48001),
    # the request
    "INVALID_ARGUMENT": Reason("INVALID_ARGUMENT", 400, 40035),
    "INVALID_PAGE_TOKEN": Reason("INVALID_ARGUMENT", 400, 40035),
    "UNREADABLE_BODY": Reason("INVALID_ARGUMENT", 400, 47001),
    "TOO_LARGE": Reason("INVALID_ARGUMENT", 413, 45002),
    "UNPROCESSABLE": Reason("INVALID_ARGUMENT", 422, 40035),
    "UNSUPPORTED_MEDIA": Reason("INVALID_ARGUMENT", 415, 40035),
    "METHOD_NOT_ALLOWED": Reason("UNIMPLEMENTED", 405, 43002),
    "NOT_FOUND": Reason("NOT_FOUND", 404, 9400404),
    "ALREADY_EXISTS": Reason("ALREADY_EXISTS", 409, 9400409),
    "IDEMPOTENCY_KEY_REUSED": Reason("ALREADY_EXISTS", 422, 9400422),
    "STILL_RUNNING": Reason("ABORTED", 409, 9400423),
    "VERSION_CONFLICT": Reason("ABORTED", 409, 9400412),
    "ETAG_MISMATCH": Reason("ABORTED", 412, 9400412),
    # the rules of the trade
    "WRONG_STATE": Reason("FAILED_PRECONDITION", 409, 9400410),
    "CONDITION_UNMET": Reason("FAILED_PRECONDITION", 409, 9400411),
    "OUT_OF_STOCK": Reason("FAILED_PRECONDITION", 409, 9400430),
    "BUY_LIMIT_REACHED": Reason("FAILED_PRECONDITION", 409, 9400431),
    "NOT_FOR_SALE": Reason("FAILED_PRECONDITION", 409, 9400432),
    "ALREADY_REDEEMED": Reason("FAILED_PRECONDITION", 409, 9400433),
    "PRICE_CHANGED": Reason("FAILED_PRECONDITION", 409, 9400433),
    "PAYMENT_CLOSED": Reason("FAILED_PRECONDITION", 409, 9400440),
    "ALREADY_PAID": Reason("FAILED_PRECONDITION", 409, 9400441),
    "BAD_SIGNATURE": Reason("PERMISSION_DENIED", 401, 9400442),
    "CHANNEL_REFUSED": Reason("FAILED_PRECONDITION", 409, 9400443),
    "INSUFFICIENT_FUNDS": Reason("FAILED_PRECONDITION", 409, 9400444),
    "BROADCAST_QUOTA_EXHAUSTED": Reason("RESOURCE_EXHAUSTED", 429, 45028),
    "CLIENT_MSG_ID_EXISTS": Reason("ALREADY_EXISTS", 409, 45065),
    "API_DAILY_QUOTA": Reason("RESOURCE_EXHAUSTED", 429, 45009),
    "API_MINUTE_QUOTA": Reason("RESOURCE_EXHAUSTED", 429, 45011),
    "API_UNAUTHORIZED": Reason("PERMISSION_DENIED", 403, 48001),
    # the house
    "BACKLOG_FULL": Reason("UNAVAILABLE", 503, 9400503),
    "UNAVAILABLE": Reason("UNAVAILABLE", 503, 9400503),
    "DEADLINE_EXCEEDED": Reason("DEADLINE_EXCEEDED", 504, 9400504),
    "UNIMPLEMENTED": Reason("UNIMPLEMENTED", 501, 9400501),
    "INTERNAL": Reason("INTERNAL", 500, 9400500),
}


@dataclass(frozen=True, slots=True)
class Violation:
    """One field that is wrong, and how to mend it. ``field`` is a dotted path (``lines[0].quantity``)."""

    field: str
    message: str


@dataclass(slots=True)
class Refusal(Exception):
    """A request the house declines, without having changed anything.

    ``reason`` is a key of ``REASONS``; ``message`` says what is wrong and how to mend it; ``violations`` name the fields;
    ``retry_after_s`` tells when trying again makes sense (seconds); ``info`` holds everything dynamic in the message again as
    strings, for programs.
    """

    reason: str
    message: str
    violations: tuple[Violation, ...] = ()
    retry_after_s: int | None = None
    info: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a reason that the catalogue does not know, where it is written."""
        if self.reason not in REASONS:
            raise KeyError(self.reason)
        Exception.__init__(self, f"{self.reason}: {self.message}")


def invalid(path: str, message: str) -> Refusal:
    """One wrong field: INVALID_ARGUMENT naming ``path`` and the fix."""
    return Refusal("INVALID_ARGUMENT", f"{path}: {message}", (Violation(path, message),))


def check_etag(kind: str, current: int, given: str) -> None:
    """The caller changes a thing as they read it; "" says whatever it is now. Raises Refusal ETAG_MISMATCH."""
    if given and given != str(current):
        message = f"the {kind} was changed since you read it; read it again, then send its new etag"
        raise Refusal("ETAG_MISMATCH", f"etag: {message}", (Violation("etag", message),))


def not_found(kind: str, identity: str) -> Refusal:
    """Nothing of that kind and id that the caller may see."""
    return Refusal("NOT_FOUND", f"no {kind} {identity}", info={"kind": kind, "id": identity})


def wrong_state(kind: str, identity: str, state: str, wanted: str) -> Refusal:
    """The thing exists, in a state that does not allow this; ``wanted`` says which states would."""
    info = {"kind": kind, "id": identity, "state": state, "wanted": wanted}
    return Refusal("WRONG_STATE", f"{kind} {identity} is {state}; this needs {wanted}", info=info)
