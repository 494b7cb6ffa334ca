"""The carriers' door: what comes signed, and whose signature is believed.

Every word of a carrier comes through here, the mock carrier's too: it signs as the others do.
"""

import contextlib
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from services.chassis import clock, commit, policy, webhook_signing
from services.chassis.commit import Cause, Outcome, Taken
from services.chassis.decisions import Change
from services.chassis.errors import Refusal, invalid
from services.chassis.mongo import Document
from services.chassis.webhook_signing import MessageRefusedError
from services.orders.model import carriers, order
from services.orders.model.states import Known, Step
from services.orders.store import Store

ORDERS_IN_ONE_PARCEL: Final = 50
"""More orders than that do not travel together."""
MOCK: Final = "mock carrier"
"""By whose secret the sandbox's messages are believed."""


def set_secret(store: Store, cause: Cause, name: str, given: str) -> tuple[dict[str, Any], bool]:
    """Another secret for a carrier, ``given`` or made here: ({carrier, secret, number, previous_until}, whether it was done before).

    Raises Refusal INVALID_ARGUMENT.
    """
    carrier = carriers.checked(name)
    secret = given or webhook_signing.new_secret()
    try:
        webhook_signing.key_of(secret)
    except ValueError as error:
        raise invalid("secret", str(error)) from error
    with contextlib.suppress(Taken):
        commit.create(store.carriers, carriers.new(carrier), cause.part("carrier"), natural=True)
    overlap = policy.load("orders").span("carrier_secret_overlap", clock.business())
    outcome = commit.change(
        store.carriers, carrier, cause, lambda row: carriers.renewed(row, secret, clock.wall(), overlap)
    )
    return {
        **outcome.answer,
        "secret": carriers.secret_of(outcome.document, outcome.answer["number"]),
    }, outcome.replayed


def close_door(store: Store, cause: Cause, name: str) -> Outcome:
    """Believe nothing of a carrier any more. Answer: {carrier}. Raises Refusal NOT_FOUND."""
    return commit.change(
        store.carriers, carriers.checked(name), cause, lambda row: carriers.closed(row, clock.wall()), kind="carrier"
    )


def verified(store: Store, carrier: str, headers: Mapping[str, str], body: bytes, *, signed_by: str = "") -> Cause:
    """The cause of a message that this carrier (or for it ``signed_by``) signed: its id and what it says. Raises Refusal UNAUTHENTICATED."""
    known = carriers.believed(store.carrier(signed_by or carrier), clock.wall())
    try:
        message_id = webhook_signing.check(known, headers, body, now_s=clock.wall_ms() // 1000)
    except MessageRefusedError as error:
        raise Refusal("UNAUTHENTICATED", f"this message is not believed: {error}") from error
    return Cause(f"carrier:{carrier}:{message_id}", hashlib.sha256(body).hexdigest())


def told(store: Store, cause: Cause, carrier: str, parcels: Iterable[Mapping[str, Any]]) -> tuple[dict[str, Any], bool]:
    """What a carrier says of ``parcels`` [{track_no, events}]: ({accepted, unknown, refused: [{track_no, message}]} by tracking number, whether
    it was said before).

    A parcel that no order has may be sent again when one has it. Raises Refusal INVALID_ARGUMENT, IDEMPOTENCY_KEY_REUSED (the id of another
    message).
    """
    said, most = list(parcels), policy.load("orders").value("carrier_parcels", clock.business())
    if not 0 < len(said) <= most:
        raise invalid("parcels", f"a message tells of 1 to {most} parcels")
    answer: dict[str, Any] = {"accepted": [], "unknown": [], "refused": []}
    again = []
    for number, parcel in enumerate(said):
        track_no = parcel["track_no"].strip()
        order_ids = store.carried(carrier, track_no, ORDERS_IN_ONE_PARCEL)
        try:
            under = cause.part(str(number))
            again += [tell_order(store, under, order_id, carrier, track_no, parcel["events"]) for order_id in order_ids]
            answer["accepted" if order_ids else "unknown"].append(track_no)
        except Refusal as refusal:
            if refusal.reason != "INVALID_ARGUMENT":
                raise
            answer["refused"].append({"track_no": track_no, "message": refusal.message})
    return answer, bool(again) and all(again)


def tell_order(
    store: Store, cause: Cause, order_id: str, carrier: str, track_no: str, events: Sequence[Mapping[str, Any]]
) -> bool:
    """One order hears of its parcel in one conditional write, under its own part of the cause: a repetition goes on where the first attempt
    stopped. Whether it had heard it before. Raises Refusal INVALID_ARGUMENT, IDEMPOTENCY_KEY_REUSED.
    """
    now = clock.business()
    most = policy.load("orders").value("tracking_events", now)
    step = Step(now, Known("carrier", carrier))

    def heard(found: Document) -> Change | None:
        return order.tracked(found, step, carrier, track_no, {"events": events}, most)

    return commit.change(store.orders, order_id, cause.part(order_id), heard, kind="order", fetch=False).replayed


def mock_secret(store: Store) -> str:
    """What the mock carrier of a sandbox signs with, whichever carrier it plays; made when it speaks for the first time."""
    known = carriers.believed(store.carrier(MOCK), clock.wall())
    if known:
        return known[-1]
    made, _ = set_secret(store, Cause("sandbox:mock-carrier"), MOCK, "")
    return str(made["secret"])
