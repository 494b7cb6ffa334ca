"""Red packets (红包): split when they are made, claimed one part a person, and what nobody claimed goes back after a day.

::

    {_id, shop_id, currency, kind: normal | lucky, total, count, parts: [fen], left, claims: [{buyer_id, amount, at}],
     state: open | spent | expired, expires_at, returned}

Every part is drawn when the packet is made, so a claim is the next part and nothing else: Σ parts = total whoever comes how fast.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from services.chassis.decisions import DONE, Change, Decision
from services.chassis.errors import Refusal, invalid
from services.payments.model import ledger, purse
from services.payments.model.ledger import Entry, Posting
from services.payments.model.plan import Credit, Document, Plan, Row
from services.payments.model.wallet import wallet_ref

ROWS: Final = "packets"
KINDS: Final = ("normal", "lucky")
GREETING: Final = 60
Draw = Callable[[int], int]
"""``draw(n)``: a random integer from 0 to n−1, from a source that nobody can foresee."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The policy in force: parts of a packet, minor units of a part, and how long it may be claimed."""

    most_parts: int
    least: int
    most: int
    life: timedelta


def split(kind: str, total: int, count: int, limits: Limits, draw: Draw) -> list[int]:
    """The parts of a packet in the order in which they will be claimed; each from ``least`` to ``most``, together ``total``.

    Lucky ones by double mean (二倍均值): each from the least to twice the mean of what is left, then shuffled, since the later draws
    spread wider. Raises Refusal INVALID_ARGUMENT.
    """
    if kind not in KINDS:
        raise invalid("kind", f"must be one of {', '.join(KINDS)}")
    if not 1 <= count <= limits.most_parts:
        raise invalid("count", f"must be 1 to {limits.most_parts}")
    if not count * limits.least <= total <= count * limits.most:
        raise invalid("total", f"must be {count * limits.least} to {count * limits.most} fen for {count} parts")
    if kind == "normal":
        if total % count:
            raise invalid("total", f"must be a multiple of {count}, since all parts of a normal packet are equal")
        return [total // count] * count
    return _shuffled(_drawn(total, count, limits, draw), draw)


def _drawn(total: int, count: int, limits: Limits, draw: Draw) -> list[int]:
    parts, left = [], total
    for others in range(count - 1, 0, -1):
        low = max(limits.least, left - others * limits.most)
        high = min(limits.most, left - others * limits.least, max(low, 2 * left // (others + 1) - limits.least))
        parts.append(low + draw(high - low + 1))
        left -= parts[-1]
    return [*parts, left]


def _shuffled(parts: list[int], draw: Draw) -> list[int]:
    for last in range(len(parts) - 1, 0, -1):
        other = draw(last + 1)
        parts[last], parts[other] = parts[other], parts[last]
    return parts


def sent(
    shop: Document, waiting: Sequence[Document], row: Mapping[str, Any], limits: Limits, now: datetime, draw: Draw
) -> Plan:
    """A packet ``row`` (``_id``, ``kind``, ``total``, ``count``, ``greeting``) out of a shop's available, its debts taken first.

    Raises Refusal INVALID_ARGUMENT, WRONG_STATE, INSUFFICIENT_FUNDS.
    """
    document, total, shop_id = _made(row, limits, now, draw), row["total"], str(shop["_id"])
    if shop["state"] != "open":
        raise Refusal("WRONG_STATE", f"the shop is {shop['state']}; only an open one gives red packets away")
    before = purse.purse_of(shop).credited(waiting)
    free = before.netted()[0].available
    if total > free:
        raise Refusal("INSUFFICIENT_FUNDS", f"{free} fen are available", info={"available": str(free)})
    sides = (Posting(ledger.available(shop_id), -total), Posting(ledger.packet(row["_id"]), total))
    entry = Entry(f"packet:{row['_id']}", "packet", shop["currency"], sides, (row["_id"],))
    document |= {"shop_id": shop_id, "currency": shop["currency"]}
    plan = Plan(entries=(entry,), rows=(Row(ROWS, document, due=now + limits.life),))
    after = replace(before, available=before.available - total)
    return purse.written(shop, after, waiting, plan, shop["currency"])


def _made(row: Mapping[str, Any], limits: Limits, now: datetime, draw: Draw) -> dict[str, Any]:
    """A packet as it is first stored, without who gives it. Raises Refusal INVALID_ARGUMENT."""
    parts = split(row["kind"], row["total"], row["count"], limits, draw)
    if len(row["greeting"]) > GREETING:
        raise invalid("greeting", f"must have at most {GREETING} characters")
    return {
        **row,
        "parts": parts,
        "left": row["total"],
        "claims": [],
        "state": "open",
        "expires_at": now + limits.life,
        "returned": 0,
    }


def given(
    wallet: Document | None, buyer_id: str, row: Mapping[str, Any], limits: Limits, now: datetime, draw: Draw
) -> Plan:
    """A packet ``row`` that a buyer gives out of the wallet. Raises Refusal INVALID_ARGUMENT, INSUFFICIENT_FUNDS."""
    document, total = _made(row, limits, now, draw), row["total"]
    free = wallet["balance"] if wallet is not None else 0
    if wallet is None or total > free:
        raise Refusal("INSUFFICIENT_FUNDS", f"{free} fen are in your wallet; top it up", info={"balance": str(free)})
    document |= {"shop_id": "", "giver": buyer_id, "currency": wallet["currency"]}
    sides = (Posting(ledger.wallet(buyer_id), -total), Posting(ledger.packet(row["_id"]), total))
    refs = (row["_id"], wallet_ref(buyer_id))
    entry = Entry(f"packet:{row['_id']}", "packet", wallet["currency"], sides, refs)
    spent = Change(inc={"balance": -total}, guard={"balance": {"$gte": total}})
    return Plan(entries=(entry,), rows=(Row(ROWS, document, due=now + limits.life), Row("wallets", wallet, spent)))


def claim_of(packet: Document, buyer_id: str) -> Document | None:
    """The part that this person has."""
    return next((claim for claim in packet["claims"] if claim["buyer_id"] == buyer_id), None)


def claimed(packet: Document, wallet: Document | None, buyer_id: str, now: datetime) -> Plan:
    """The next part for a person who has none yet. Raises Refusal WRONG_STATE when nothing is left or the time is over."""
    if packet["state"] == "spent":
        raise Refusal("WRONG_STATE", "every part of this red packet was claimed")
    if packet["state"] == "expired" or now >= packet["expires_at"]:
        raise Refusal("WRONG_STATE", "the time to claim this red packet is over")
    amount, left = packet["parts"][len(packet["claims"])], packet["left"]
    claim = {"buyer_id": buyer_id, "amount": amount, "claimed_at": now}
    is_last = len(packet["claims"]) + 1 == packet["count"]
    ending: dict[str, Any] = {"due": None} if is_last else {}
    fields = {"left": left - amount, **({"state": "spent"} if is_last else {})}
    change = Change(set=fields, push={"claims": [claim]}, **ending)
    sides = (Posting(ledger.packet(packet["_id"]), -amount), Posting(ledger.wallet(buyer_id), amount))
    refs = (packet["_id"], packet["shop_id"], wallet_ref(buyer_id))
    entry = Entry(f"claim:{packet['_id']}:{len(packet['claims']) + 1}", "claim", packet["currency"], sides, refs)
    return Plan(entries=(entry,), rows=(Row(ROWS, packet, change), into_wallet(wallet, buyer_id, amount, packet)))


def into_wallet(wallet: Document | None, buyer_id: str, amount: int, packet: Document) -> Row:
    """A buyer's wallet (零钱) with ``amount`` more; it begins with its first money."""
    if wallet is None:
        return Row("wallets", {"_id": buyer_id, "currency": packet["currency"], "balance": amount})
    return Row("wallets", wallet, Change(inc={"balance": amount}))


def expired(packet: Document, now: datetime, wallet: Document | None = None) -> Plan | Decision:
    """The timer: what nobody claimed is the giver's again. DONE where nothing is left or its time has not come.

    ``wallet``: that of the buyer who gave it, where no shop did.
    """
    if packet["state"] != "open" or now < packet["expires_at"]:
        return DONE
    left, shop_id, number = packet["left"], packet["shop_id"], f"packet-back:{packet['_id']}"
    giver = packet.get("giver", "")
    account = ledger.available(shop_id) if shop_id else ledger.wallet(giver)
    sides = (Posting(ledger.packet(packet["_id"]), -left), Posting(account, left))
    refs = (packet["_id"], wallet_ref(giver) if giver else "")
    change = Change(set={"state": "expired", "left": 0, "returned": left}, due=None)
    back = () if shop_id else (into_wallet(wallet, giver, left, packet),)
    return Plan(
        entries=(Entry(number, "packet_back", packet["currency"], sides, refs),),
        credits=(Credit(number, shop_id, "available", left),) if shop_id else (),
        rows=(Row(ROWS, packet, change), *back),
    )


def view(packet: Document, buyer_id: str | None, *, with_names: bool = False) -> dict[str, Any]:
    """A packet as the API shows it: to a buyer with which part is theirs, to the platform (``with_names``) with who claimed.

    Its shop (``buyer_id`` None) is not told who: a buyer's id is the same in every shop.
    """
    names = (
        "shop_id",
        "kind",
        "state",
        "total",
        "count",
        "currency",
        "greeting",
        "created_at",
        "expires_at",
        "returned",
    )
    claims = [
        {
            "amount": claim["amount"],
            "claimed_at": claim["claimed_at"],
            **({"buyer_id": claim["buyer_id"]} if with_names else {}),
            **({"mine": claim["buyer_id"] == buyer_id} if buyer_id is not None else {}),
        }
        for claim in packet["claims"]
    ]
    shown = {**{name: packet[name] for name in names}, "packet_id": packet["_id"], "claims": claims}
    return {**shown, "given_by_me": buyer_id is not None and packet.get("giver") == buyer_id}
