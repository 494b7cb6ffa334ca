"""The ledger read: is it as it was sealed, and what moved on a shop's accounts."""

import csv
import io
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from services.chassis import clock, money, policy
from services.chassis.calendar import CST
from services.chassis.errors import invalid, not_found
from services.chassis.mongo import Document
from services.payments.model import periods
from services.payments.model.sealing import Flaw
from services.payments.model.wallet import is_wallet_ref
from services.payments.queries import LONGEST_PAGE, PAGE
from services.payments.store import Store, history, sealing

BLOCKS: Final = 50
MOST_BLOCKS: Final = 200
CSV_PAGE: Final = 500
"""Entries in one piece of a file."""
COLUMNS: Final = ("时间", "流水号", "类型", "账户", "金额(元)", "相关单号", "原因", "依据")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


# --------------------------------------------------------------------------------------------------------------------- the seal


def verification(store: Store, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Verify a page of blocks (``after_block``, ``page_size``, ``anchor_block``, ``anchor_hash``). Raises Refusal INVALID_ARGUMENT."""
    if asked["after_block"] < 0:
        raise invalid("after_block", "must be 0 or the number of a block")
    wanted = asked["page_size"]
    size = min(wanted, MOST_BLOCKS) if wanted > 0 else BLOCKS
    within = policy.load("payments").span("seal_within", clock.business())
    found = sealing.verify(store, asked["after_block"], size, int(within.total_seconds() * 1000))
    flaws = [*found.flaws, *anchored(store, asked["anchor_block"], asked["anchor_hash"])]
    told: dict[str, Any] = {
        "last_block": found.number,
        "head": found.head,
        "entries": found.entries,
        "late": found.late,
        "ended": found.ended,
        "waiting": found.waiting,
    }
    if found.oldest:
        told["waiting_since"] = clock.moment(found.oldest)
        flaws += _unsealed(found, within)
    return {**told, "flaws": [_flaw(one) for one in flaws]}


def anchored(store: Store, number: int, expected: str) -> list[Flaw]:
    """A flaw where block ``number`` is not the one whose hash was written down; nothing for number 0."""
    if not number:
        return []
    sealed = sealing.block(store, number)
    found = sealed["hash"] if sealed is not None else ""
    return [] if found == expected else [Flaw("anchor_lost", f"block {number}", expected, found)]


def _unsealed(found: sealing.Verified, within: timedelta) -> list[Flaw]:
    age_s = (clock.wall_ms() - found.oldest) // 1000
    if age_s <= within.total_seconds():
        return []
    expected = f"under seal within {within.total_seconds():.0f} s"
    return [Flaw("unsealed", f"{found.waiting} entries", expected, f"the oldest waits for {age_s} s")]


def _flaw(one: Flaw) -> dict[str, Any]:
    return {"kind": one.kind, "subject": one.subject, "expected": one.expected, "found": one.found}


# ----------------------------------------------------------------------------------------------------------------- the statement


def balance_at(store: Store, shop_id: str, at: datetime) -> dict[str, Any]:
    """A shop's balances after everything posted until ``at``, as the API shows them. Raises Refusal NOT_FOUND, INVALID_ARGUMENT, UNAVAILABLE."""
    shop = _shop(store, shop_id)
    if at > clock.business():
        raise invalid("at", "must not be in the future")
    pockets = _own(store, shop, history.after(at))
    told = {name: pockets.get(name, 0) for name in ("pending", "available", "deposit", "withdrawing")}
    return {
        **told,
        "shop_id": shop_id,
        "currency": shop["currency"],
        "held": pockets.get("hold", 0),
        "receivable": -pockets.get("receivable", 0),
    }


def statement(
    store: Store, asked: Mapping[str, Any], after: list[Any] | None, wanted: int
) -> tuple[dict[str, Any], list[Any] | None]:
    """A page of what moved on a shop's accounts (``shop_id``, ``from_time``, ``to_time``), and where the next begins.

    Raises Refusal NOT_FOUND, INVALID_ARGUMENT, UNAVAILABLE.
    """
    shop, (begin, end) = _shop(store, asked["shop_id"]), within(asked)
    size = min(wanted, LONGEST_PAGE) if wanted > 0 else PAGE
    lines, rest = _lines(store, asked["shop_id"], (begin, end), after, size)
    told = {
        "currency": shop["currency"],
        "opening": _own(store, shop, begin),
        "closing": _own(store, shop, end),
        "lines": lines,
    }
    return told, rest


def within(asked: Mapping[str, Any]) -> tuple[datetime, datetime]:
    """The first moment asked for and the one after the last. Raises Refusal INVALID_ARGUMENT."""
    if "from_time" not in asked:
        raise invalid("from_time", "give the first moment, as 2026-01-05T00:00:00+08:00")
    begin, end = asked["from_time"], asked.get("to_time") or history.after(clock.business())
    if end < begin:
        raise invalid("to_time", "must not be before from_time")
    return begin, end


def _shop(store: Store, shop_id: str) -> Document:
    shop = store.shop(shop_id)
    if shop is None:
        raise not_found("shop", shop_id)
    return shop


def _own(store: Store, shop: Document, until: datetime) -> dict[str, int]:
    """The balances of the shop's own accounts before ``until``; what its orders hold for it is on its bills."""
    found = periods.in_currency(history.balances_at(store, shop["_id"], until), shop["currency"])
    return {pocket: amount for pocket, amount in found.items() if pocket not in periods.WITH_ORDERS}


def _lines(
    store: Store, shop_id: str, span: tuple[datetime, datetime], after: list[Any] | None, size: int
) -> tuple[list[dict[str, Any]], list[Any] | None]:
    found = store.entries_of(shop_id, after, size + 1, span)
    rest = [found[size - 1]["posted_at"], found[size - 1]["_id"]] if len(found) > size else None
    return [_line(entry, shop_id) for entry in found[:size]], rest


def _line(entry: Document, shop_id: str) -> dict[str, Any]:
    moves = periods.in_currency(periods.moved([entry], shop_id), entry["currency"])
    return {
        "entry_id": entry["_id"],
        "kind": entry["kind"],
        "posted_at": entry["posted_at"],
        "movements": [
            {"account": pocket, "amount": amount}
            for pocket, amount in moves.items()
            if pocket not in periods.WITH_ORDERS
        ],
        "refs": [ref for ref in entry["refs"] if ref != shop_id and not is_wallet_ref(ref)],
        "cause": entry["cause"],
        "terms": entry["terms"],
    }


def statement_piece(
    store: Store, asked: Mapping[str, Any], after: list[Any] | None
) -> tuple[bytes, str, list[Any] | None]:
    """A piece of the statement's CSV file, its name, and where the next piece begins. Raises what ``statement`` raises."""
    shop, span = _shop(store, asked["shop_id"]), within(asked)
    lines, rest = _lines(store, asked["shop_id"], span, after, CSV_PAGE)
    text = io.StringIO()
    writer = csv.writer(text)
    if after is None:
        text.write("\ufeff")
        writer.writerow(COLUMNS)
        _balances(writer, store, shop, span[0], "期初余额")
    for line in lines:
        for move in line["movements"]:
            writer.writerow(_safe(_row(line, move)))
    if rest is None:
        _balances(writer, store, shop, span[1], "期末余额")
    first, last = (when.astimezone(CST).strftime("%Y%m%d") for when in span)
    return text.getvalue().encode(), f"statement-{asked['shop_id']}-{first}-{last}.csv", rest


def _row(line: Mapping[str, Any], move: Mapping[str, Any]) -> tuple[str, ...]:
    when = line["posted_at"].astimezone(CST).isoformat(timespec="milliseconds")
    terms = " ".join(f"{name}={value}" for name, value in sorted(line["terms"].items()))
    amount = money.text(move["amount"]).partition(" ")[0]
    return when, line["entry_id"], line["kind"], move["account"], amount, " ".join(line["refs"]), line["cause"], terms


def _balances(writer: Any, store: Store, shop: Document, at: datetime, title: str) -> None:
    found = _own(store, shop, at)
    when = at.astimezone(CST).isoformat(timespec="milliseconds")
    for pocket, amount in found.items():
        writer.writerow((when, "", title, pocket, money.text(amount).partition(" ")[0], "", "", ""))


def _safe(cells: tuple[str, ...]) -> list[str]:
    """No cell but an amount begins as a formula would."""
    return [
        f"'{cell}" if cell.startswith(_FORMULA) and at != COLUMNS.index("金额(元)") else cell
        for at, cell in enumerate(cells)
    ]
