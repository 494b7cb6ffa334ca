"""A shop gives a red packet away, and people claim their parts."""

import secrets
from collections.abc import Mapping
from typing import Any

from services.chassis import clock, commit, ids, policy
from services.chassis.commit import Cause
from services.chassis.errors import not_found
from services.chassis.mongo import Document
from services.payments.model import packets
from services.payments.model.plan import Books
from services.payments.store import Store
from services.payments.store.posting import own_books, post


def limits() -> packets.Limits:
    """What the policy in force allows."""
    rules, now = policy.load("payments"), clock.business()
    parts, least, most = (rules.value(name, now) for name in ("packet_parts", "packet_part_least", "packet_part_most"))
    return packets.Limits(parts, least, most, rules.span("packet_life", now))


def send_packet(store: Store, cause: Cause, shop_id: str, asked: Mapping[str, Any]) -> tuple[Document, bool]:
    """Make a packet (``kind``, ``total``, ``count``, ``greeting``) out of the shop's available: it, and whether it was there before.

    Raises Refusal INVALID_ARGUMENT, NOT_FOUND, WRONG_STATE, INSUFFICIENT_FUNDS, IDEMPOTENCY_KEY_REUSED.
    """
    row = _row(cause, asked)

    def attempt() -> tuple[Document, bool]:
        known = _before(store, cause)
        if known is not None:
            return known, True
        shop, waiting = own_books(store, shop_id)
        plan = packets.sent(shop, waiting, row, limits(), clock.business(), secrets.randbelow)
        post(store, plan, Books(None, shop, waiting), cause)
        return _packet(store, str(row["_id"])), False

    return commit.settled(f"the balance of shop {shop_id}", attempt)


def give_packet(store: Store, cause: Cause, buyer_id: str, asked: Mapping[str, Any]) -> tuple[Document, bool]:
    """Make a packet out of the caller's wallet: it, and whether it was there before.

    Raises Refusal INVALID_ARGUMENT, INSUFFICIENT_FUNDS, IDEMPOTENCY_KEY_REUSED.
    """
    row = _row(cause, asked)

    def attempt() -> tuple[Document, bool]:
        known = _before(store, cause)
        if known is not None:
            return known, True
        wallet = store.wallets.find_one({"_id": buyer_id})
        post(
            store,
            packets.given(wallet, buyer_id, row, limits(), clock.business(), secrets.randbelow),
            Books(None),
            cause,
        )
        return _packet(store, str(row["_id"])), False

    return commit.settled("your wallet", attempt)


def _row(cause: Cause, asked: Mapping[str, Any]) -> dict[str, Any]:
    names = ("kind", "total", "count", "greeting")
    # Whoever knows its id may claim, so it is drawn and does not follow from the key.
    return {"_id": ids.new_id("pkt"), "sent_by": cause.id, **{name: asked[name] for name in names}}


def _before(store: Store, cause: Cause) -> Document | None:
    known = store.packets.find_one({"sent_by": cause.id})
    return commit.created_before(known, cause).document if known is not None else None


def claim(store: Store, cause: Cause, packet_id: str, buyer_id: str) -> tuple[Mapping[str, Any], bool]:
    """The caller's part ``{amount, claimed_at}``, and whether they had it already: one a person, however often it is asked for.

    Raises Refusal NOT_FOUND, WRONG_STATE.
    """

    def attempt() -> tuple[Mapping[str, Any], bool]:
        packet = _packet(store, packet_id)
        known = packets.claim_of(packet, buyer_id)
        if known is not None:
            return known, True
        wallet = store.wallets.find_one({"_id": buyer_id})
        plan = packets.claimed(packet, wallet, buyer_id, clock.business())
        post(store, plan, Books(None), cause)
        return packets.claim_of(_packet(store, packet_id), buyer_id) or {}, False

    return commit.settled(f"red packet {packet_id}", attempt)


def _packet(store: Store, packet_id: str) -> Document:
    found = store.packets.find_one({"_id": packet_id})
    if found is None:
        raise not_found("packet", packet_id)
    return found
