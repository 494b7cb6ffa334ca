"""Refusals on the wire: ``google.rpc.Status`` with ErrorInfo, BadRequest and RetryInfo, and back."""

from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from services.chassis import mongo, tracing
from services.chassis.codec import BadValueError
from services.chassis.errors import REASONS, Refusal, Violation
from services.chassis.logs import get

DOMAIN: Final = "jishi"
DETAILS: Final = "grpc-status-details-bin"
RETRY_S: Final = 1
STARTING: Final = "starting"
MESSAGE_MOST: Final = 1200
DETAILS_MOST: Final = 3600
TEXT_MOST: Final = 300
_WIDEST: Final = 12
"""Bytes of a status's message as gRPC escapes it, of its details, of one text in these, and of an escaped character: a line carries
8 KiB of metadata, and a refusal that names what it was asked for must not be lost because that was long."""
_BY_CODE: Final = {
    grpc.StatusCode.UNAVAILABLE: "UNAVAILABLE",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "UNAVAILABLE",
    grpc.StatusCode.CANCELLED: "UNAVAILABLE",
    grpc.StatusCode.DEADLINE_EXCEEDED: "DEADLINE_EXCEEDED",
    grpc.StatusCode.UNIMPLEMENTED: "UNIMPLEMENTED",
    grpc.StatusCode.UNAUTHENTICATED: "UNAUTHENTICATED",
    grpc.StatusCode.PERMISSION_DENIED: "PERMISSION_DENIED",
    grpc.StatusCode.NOT_FOUND: "NOT_FOUND",
    grpc.StatusCode.INVALID_ARGUMENT: "INVALID_ARGUMENT",
}
"""What a status that is not ours (the library's, a proxy's) means. RESOURCE_EXHAUSTED: too many calls at once; CANCELLED: cut off by a stop."""
_log = get(__name__)


def from_exception(error: BaseException) -> Refusal:
    """What a caller is told of anything that a method raised. A bug tells nothing but the trace it is logged under."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, mongo.AWAY):
        _log.warning("database away", error=str(error)[:200])
        return away()
    if isinstance(error, BadValueError):
        return Refusal("INVALID_ARGUMENT", str(error), (Violation(error.path, error.message),))
    _log.error("a call failed", exc_info=error)
    trace = tracing.trace_id()
    return Refusal("INTERNAL", f"something broke on our side; tell us the trace {trace}", info={"trace_id": trace})


def away() -> Refusal:
    """The database does not answer."""
    return Refusal("UNAVAILABLE", "the service cannot reach its data right now; try again", retry_after_s=RETRY_S)


def starting() -> Refusal:
    """The service listens but has not seen its database yet."""
    return Refusal("UNAVAILABLE", "the service is starting; try again", retry_after_s=RETRY_S, info={STARTING: "true"})


def to_status(refusal: Refusal) -> status_pb2.Status:
    """The refusal as ``google.rpc.Status``, its texts cut to what the line carries."""
    code = code_pb2.Code.Value(REASONS[refusal.reason].grpc)
    status = status_pb2.Status(code=code, message=_cut(refusal.message, MESSAGE_MOST, escaped=True))
    info = {name: _cut(str(value)) for name, value in refusal.info.items()}
    _attach(status, error_details_pb2.ErrorInfo(reason=refusal.reason, domain=DOMAIN, metadata=info))
    if refusal.retry_after_s is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.seconds = refusal.retry_after_s
        _attach(status, retry)
    if refusal.violations:
        _attach(status, _bad_request(refusal, DETAILS_MOST - status.ByteSize()))
    return status


def _bad_request(refusal: Refusal, room: int) -> error_details_pb2.BadRequest:
    """The violations that fit into ``room`` bytes, in order; the first one always."""
    told = error_details_pb2.BadRequest()
    for found in refusal.violations:
        violation = told.field_violations.add(field=_cut(found.field), description=_cut(found.message))
        room -= violation.ByteSize()
        if room < 0 and len(told.field_violations) > 1:
            del told.field_violations[-1]
            break
    return told


def _cut(text: str, most: int = TEXT_MOST, *, escaped: bool = False) -> str:
    """The beginning of ``text`` that takes at most ``most`` bytes, ``escaped`` as gRPC escapes a status's message."""
    if len(text) * _WIDEST <= most:
        return text
    left = most - _WIDEST  # for the sign that something is missing
    for place, character in enumerate(text):
        size = len(character.encode())
        plain = size == 1 and " " <= character <= "~" and character != "%"
        left -= size * 3 if escaped and not plain else size
        if left < 0:
            return f"{text[:place]}…"
    return text


def abort(context: grpc.ServicerContext, refusal: Refusal) -> None:
    """End a call with a refusal. Raises, as the library wants it."""
    context.abort_with_status(rpc_status.to_status(to_status(refusal)))


def from_error(error: grpc.RpcError, name: str) -> tuple[Refusal, bool]:
    """The refusal in what a call of ``name`` raised, and whether asking again may help: the line is down, or the service starts.

    What a service that runs has answered is final, UNAVAILABLE too: it has waited for its database already.
    """
    answered = _answered(error.trailing_metadata() or ())
    if answered is not None:
        return answered, STARTING in answered.info
    reason = _BY_CODE.get(error.code(), "INTERNAL")
    retry = RETRY_S if reason == "UNAVAILABLE" else None
    text = f"{name} does not answer; try again" if retry else f"{name}: {error.code().name.lower()}"
    if reason == "INTERNAL":
        _log.error("a call was not answered properly", rpc=name, code=error.code().name, details=error.details())
    return Refusal(reason, text, retry_after_s=retry), reason == "UNAVAILABLE"


def _answered(metadata: Any) -> Refusal | None:
    raw = next((value for key, value in metadata if key == DETAILS), None)
    if raw is None:
        return None
    try:
        status = status_pb2.Status.FromString(raw)
    except DecodeError:
        return None
    info = _detail(status, error_details_pb2.ErrorInfo)
    if info is None or info.domain != DOMAIN or info.reason not in REASONS:
        return None
    bad = _detail(status, error_details_pb2.BadRequest)
    retry = _detail(status, error_details_pb2.RetryInfo)
    return Refusal(
        info.reason,
        status.message,
        tuple(Violation(found.field, found.description) for found in bad.field_violations) if bad else (),
        int(retry.retry_delay.seconds) if retry else None,
        dict(info.metadata),
    )


def _attach(status: status_pb2.Status, detail: Message) -> None:
    status.details.add().Pack(detail)


def _detail(status: status_pb2.Status, kind: type[Any]) -> Any:
    for packed in status.details:
        if packed.Is(kind.DESCRIPTOR):
            found = kind()
            packed.Unpack(found)
            return found
    return None
