"""What happens to every call before a service's method sees it, as small stages in a fixed order.

A stage is asked once per rpc, when the server is built, and hands back what runs per call: the next stage itself where it has
nothing to do for that rpc, so that an rpc pays only for the checks it needs.
"""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from services.chassis.errors import Refusal, not_found
from services.chassis.rpc import status
from services.chassis.rpc.call import ACTING_FOR, AUTHORIZATION, Call
from services.chassis.rpc.contracts import Method
from services.chassis.rpc.node import Node
from services.chassis.tokens import NOBODY, SERVICE

Step = Callable[[Call], Message]
Stage = Callable[[Node, Method, Step], Step]
TENANT_FIELDS: Final = ("shop_id", "account_id")
MERCHANT: Final = "merchant"


def sandbox(node: Node, method: Method, following: Step) -> Step:
    """Sandbox doors are not there outside a sandbox."""
    if not method.rule.sandbox or node.settings.sandbox:
        return following

    def absent(_call: Call) -> Message:
        raise not_found("rpc", method.name)

    return absent


def ready(node: Node, _method: Method, following: Step) -> Step:
    """Refuse at once while the database is away, instead of letting every thread wait for it."""

    def check(call: Call) -> Message:
        if not node.ready:
            raise status.away() if node.started else status.starting()
        return following(call)

    return check


def deadline(_node: Node, method: Method, following: Step) -> Step:
    """Work that nobody waits for any more is not begun (it may have waited long for a thread)."""

    def check(call: Call) -> Message:
        if call.remaining() <= 0:
            raise Refusal("DEADLINE_EXCEEDED", f"{method.name} was not begun before its deadline")
        return following(call)

    return check


def identify(node: Node, _method: Method, following: Step) -> Step:
    """Verify the caller's token, and that of whom a calling service acts for."""
    verify = node.verifier.verify

    def check(call: Call) -> Message:
        text = _bearer(call.metadata.get(AUTHORIZATION, ""))
        if text:
            caller = call.caller = call.actor = verify(text)
            if caller.kind != SERVICE:
                call.actor_token = text
            else:
                call.actor_token = call.metadata.get(ACTING_FOR, "")
                call.actor = verify(call.actor_token) if call.actor_token else NOBODY
        return following(call)

    return check


def allow(_node: Node, method: Method, following: Step) -> Step:
    """Only the kinds of callers that the proto lets in; a merchant's token must carry the scope."""
    if method.public:
        return following
    kinds, services, scope = method.kinds, method.services, method.rule.scope
    wanted = ", ".join(method.rule.allow)

    def check(call: Call) -> Message:
        caller = call.caller
        if caller is NOBODY:
            message = (
                "this call needs an access token: send `Authorization: Bearer <token>`; POST /v1/oauth/token gives one"
            )
            raise Refusal("UNAUTHENTICATED", message)
        if caller.kind not in kinds and not (caller.kind == SERVICE and caller.service in services):
            raise Refusal("PERMISSION_DENIED", f"this call is for {wanted}; the token is a {caller.kind}'s")
        if scope and caller.kind == MERCHANT and not caller.may(scope):
            raise Refusal("SCOPE_MISSING", f"the token does not carry the scope {scope}", info={"scope": scope})
        return following(call)

    return check


def parse(_node: Node, method: Method, following: Step) -> Step:
    """Bytes → request message; for a stream an iterator of messages, each parsed when it is asked for."""
    read = method.request.FromString

    def message(raw: bytes) -> Message:
        try:
            return read(raw)
        except DecodeError as error:
            raise Refusal("UNREADABLE_BODY", f"not a {method.request.DESCRIPTOR.full_name}") from error

    def single(call: Call) -> Message:
        call.request = message(call.request)
        return following(call)

    def stream(call: Call) -> Message:
        call.request = map(message, call.request)
        return following(call)

    return stream if method.streams else single


def tenant(_node: Node, method: Method, following: Step) -> Step:
    """A merchant speaks for its own shop and account: an empty ``shop_id``/``account_id`` is filled, another's is refused.

    Rpcs that anyone may call are left alone: there the field says what to look at, not for whom.
    """
    names = [name for name in TENANT_FIELDS if _is_text(method.request.DESCRIPTOR.fields_by_name.get(name))]
    if not names or MERCHANT not in method.kinds or method.public:
        return following

    def fit(call: Call, request: Message) -> Message:
        for name in names:
            given, own = getattr(request, name), getattr(call.caller, name)
            if given and given != own:
                raise Refusal("PERMISSION_DENIED", f"{name} {given} is not the token's own", info={name: given})
            if own:
                setattr(request, name, own)
        return request

    def first_of(call: Call, requests: Iterator[Message]) -> Iterator[Message]:
        for number, request in enumerate(requests):
            yield fit(call, request) if number == 0 else request

    def check(call: Call) -> Message:
        if call.caller.kind == MERCHANT:
            call.request = first_of(call, call.request) if method.streams else fit(call, call.request)
        return following(call)

    return check


def body_hash(_node: Node, method: Method, following: Step) -> Step:
    """What tells the same idempotency key with another body apart. A stream has none: its method hashes what it stores."""
    if method.reads or method.streams:
        return following

    def check(call: Call) -> Message:
        call.body_hash = hashlib.sha256(call.request.SerializeToString(deterministic=True)).hexdigest()
        return following(call)

    return check


STAGES: Final[tuple[Stage, ...]] = (sandbox, deadline, ready, identify, allow, parse, tenant, body_hash)
"""In the order in which a call meets them."""


def compose(node: Node, method: Method, last: Step) -> Step:
    """All stages before ``last``."""
    step = last
    for stage in reversed(STAGES):
        step = stage(node, method, step)
    return step


def _bearer(header: Any) -> str:
    """The token of an ``Authorization`` header; empty without one. Raises Refusal UNAUTHENTICATED for another scheme."""
    if not header:
        return ""
    scheme, _, text = str(header).partition(" ")
    if scheme.lower() != "bearer" or not text:
        raise Refusal("UNAUTHENTICATED", "send the token as `Authorization: Bearer <token>`")
    return text.strip()


def _is_text(field: Any) -> bool:
    return field is not None and field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated
