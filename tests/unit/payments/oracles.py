"""What a plan must do with the money, told from the rules of the trade and not by the model's own functions.

The balances of books always agree with the journal as long as both are wrong together; here is said where a fen belongs.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, time, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from services.payments.model import bills, ledger, periods, reconciling
from services.payments.model.channel_bill import PAYMENT, REFUND, Billed
from services.payments.model.plan import Books, Plan
from tests.unit.payments.books import FRIEND, SHOP, World

CST = timezone(timedelta(hours=8))
SHARED = 3000
"""Basis points of a payment that may be shared."""


def moves(plan: Plan, kind: str) -> dict[str, int]:
    """Account → amount of the plan's one entry of a kind; empty without one."""
    found = [entry for entry in plan.entries if entry.kind == kind]
    assert len(found) <= 1, found
    return {side.account: side.amount for entry in found for side in entry.postings}


def share_of(books: Books, order: str) -> dict[str, Any]:
    """The order's share."""
    return next(share for share in books.payable["shares"] if share["order_id"] == order)


def settled(_world: World, books: Books, told: Mapping[str, Any], plan: Plan) -> None:
    """Escrow → commission, rounded half up, of the goods that are left; the rest to hold, pending or available, a part of it frozen."""
    order, share = told["order_id"], share_of(books, told["order_id"])
    left, goods = share["escrow"], min(told["goods_amount"], share["amount"])
    of_goods = max(goods - (share["amount"] - left), 0)
    fee = int((Decimal(of_goods * told["commission_bp"]) / 10_000).quantize(0, ROUND_HALF_UP))
    cases = [
        name for name, case in books.payable["cases"].items() if case["order_id"] == order and case["state"] != "closed"
    ]
    frozen = 0 if cases or "sharing_bp" not in share else min(left - fee, share["amount"] * SHARED // 10_000)
    pocket = ledger.pending(SHOP) if told["settlement_days"] else ledger.available(SHOP)
    pocket = ledger.hold(SHOP, cases[0]) if cases else pocket
    wanted = {ledger.escrow(order): -left, ledger.FEE: fee, ledger.frozen(order): frozen, pocket: left - fee - frozen}
    assert moves(plan, "settle") == {account: amount for account, amount in wanted.items() if amount}
    ends = {
        "maturing": midnight_after(told["completed_at"], told["settlement_days"]),
        "sharings": told["completed_at"] + timedelta(days=30),
    }
    assert all(row.due == ends[row.collection] for row in plan.rows), plan.rows


def wells(books: Books, order: str, case: str) -> list[tuple[str, int]]:
    """Where money of an order is taken from, in this order, and what is there."""
    share = share_of(books, order)
    found = [("escrow", share["escrow"])]
    if share["state"] != "settled":
        return found
    own = own_of(books)
    pending = books.pending["amount"] if books.pending and "waiting" in books.pending else 0
    return [
        *found,
        ("hold", own["held"].get(case, 0)),
        ("frozen", books.sharing["frozen"] if books.sharing else 0),
        ("pending", pending),
        ("available", own["available"]),
        ("deposit", own["deposit"]),
    ]


def own_of(books: Books) -> dict[str, Any]:
    """The shop's balances with what waits to be folded."""
    own = {name: books.shop[name] for name in ("available", "deposit")} | {"held": dict(books.shop["held"])}
    for credit in books.credits:
        if credit["pocket"] == "hold":
            own["held"][credit["case_id"]] = own["held"].get(credit["case_id"], 0) + credit["amount"]
        else:
            own[credit["pocket"]] += credit["amount"]
    return own


def drawn(found: Sequence[tuple[str, int]], amount: int) -> list[tuple[str, int]]:
    """``amount`` out of the wells, as far as they reach."""
    taken = []
    for name, there in found:
        part = min(amount, there)
        amount -= part
        taken += [(name, part)] if part else []
    return taken


def given_back(_world: World, books: Books, told: Mapping[str, Any], plan: Plan, *, lends: bool) -> None:
    """A ruling or a grant: never more than was paid, out of each well before the next; what is short the platform ``lends`` or nobody."""
    share, case = share_of(books, told["order_id"]), told.get("case_id", "")
    amount = min(told.get("refund", told.get("amount")), share["amount"] - share["refunded"])
    if told.get("payer") == "platform":
        wanted = [("indemnity", amount)] if amount else []
    else:
        found = wells(books, told["order_id"], case)
        wanted = drawn([*found, ("indemnity", amount)] if lends else found, amount)
    (refund,) = plan.refunds
    assert [(source.account, source.amount) for source in refund.sources] == wanted
    assert refund.amount == sum(part for _, part in wanted)
    entry = moves(plan, "refund")
    owed = sum(part for name, part in wanted if name == "indemnity" and told.get("payer") != "platform")
    assert entry.get(ledger.receivable(SHOP), 0) == -owed
    assert entry.get(ledger.CLEARING, 0) == refund.amount


def held(_world: World, books: Books, told: Mapping[str, Any], plan: Plan) -> None:
    """A case on a settled order holds its claim, as far as there is anything."""
    share = share_of(books, told["order_id"])
    if share["state"] != "settled":
        return
    found = [well for well in wells(books, told["order_id"], "") if well[0] not in ("escrow", "hold")]
    parts = drawn(found, min(told["claim"], share["amount"] - share["refunded"]))
    accounts = {
        "frozen": ledger.frozen(told["order_id"]),
        **{name: f"shop:{SHOP}:{name}" for name in ("pending", "available", "deposit")},
    }
    wanted = {accounts[name]: -part for name, part in parts}
    total = sum(part for _, part in parts)
    assert moves(plan, "hold") == (wanted | {ledger.hold(SHOP, told["case_id"]): total} if total else {})


def released(world: World, books: Books, told: Mapping[str, Any], plan: Plan) -> None:
    """The end of a case: the deposit gets back what it gave before anything else is available."""
    if share_of(books, told["order_id"])["state"] != "settled":
        return
    left = own_of(books)["held"].get(told["case_id"], 0)
    gave = world.entries.get(f"hold:{told['case_id']}", {"postings": []})["postings"]
    deposit = min(left, -sum(side["amount"] for side in gave if side["account"] == ledger.deposit(SHOP)))
    wanted = {
        ledger.hold(SHOP, told["case_id"]): -left,
        ledger.deposit(SHOP): deposit,
        ledger.available(SHOP): left - deposit,
    }
    assert moves(plan, "release") == {account: amount for account, amount in wanted.items() if amount}


def repriced(_world: World, books: Books, told: Mapping[str, Any], plan: Plan) -> None:
    """A newer price counts, and only that."""
    assert told["revision"] > share_of(books, told["order_id"]).get("revision", 0), plan


def taken(world: World, books: Books, told: Mapping[str, Any], plan: Plan) -> None:
    """A payment is taken in time, of the price of now, and not while it is reversed; every other one goes back whole."""
    one = next(one for one in books.payable["payments"] if one["out_trade_no"] == told["number"])
    fits = one["state"] != "reversing" and told["amount"] == books.payable["amount"]
    in_time = world.now <= books.payable["pay_by"] and books.payable["state"] == "open"
    assert bool(moves(plan, "collect")) == (fits and in_time)
    assert bool(plan.refunds) == (not (fits and in_time))
    for refund in plan.refunds:
        mark = "rv-" if one["state"] == "reversing" else "rf-"
        assert (refund.amount, refund.id[:3]) == (told["amount"], mark)


def midnight_after(when: datetime, days: int) -> datetime:
    """The beginning of the CST day so many days later."""
    day = when.astimezone(CST).date() + timedelta(days=days)
    return datetime.combine(day, time(), CST)


# ------------------------------------------------------------------------------------------------------------------ in the end


def bills_close(world: World) -> None:
    """Each shop's bill: opening + movements = closing, day after day; Σ shops = what the ledger has for orders and shops."""
    entries = sorted(world.entries.values(), key=lambda entry: (entry["posted_at"], entry["_id"]))
    days = sorted({entry["posted_at"].astimezone(CST).date().isoformat() for entry in entries})
    closings = 0
    for shop in (SHOP, FRIEND):
        parts: dict[str, int] = {}
        for day in days:
            of_day = [entry for entry in entries if f"{shop}|{day}" in entry["books"]]
            rows, accounts = bills.rows(sum(parts.values()), of_day, shop), bills.accounts(parts, of_day, shop)
            closing = {one["account"]: one["closing"] for one in accounts}
            assert sum(parts.values()) + sum(row["amount"] for row in rows) == sum(closing.values())
            parts = closing
        closings += sum(parts.values())
    owned = sum(
        amount for account, amount in world.balances().items() if account.startswith(("order:", "shop:", "share:"))
    )
    assert closings == owned


def sums_of_periods_are_the_journal_s(world: World) -> None:
    """What sealing adds up by day and by month is what was moved."""
    entries = list(world.entries.values())
    rows = [{"_id": name, **row} for name, row in periods.additions(entries).items()]
    for shop in (SHOP, FRIEND):
        told: dict[str, int] = {}
        for account, amount in world.balances().items():
            if account.startswith(f"shop:{shop}:") and amount:
                pocket = account.split(":")[2]
                told[pocket] = told.get(pocket, 0) + amount
        for span in (periods.DAY, periods.MONTH):
            found = periods.summed([row for row in rows if (row["owner"], row["span"]) == (shop, span)])
            own = {pocket: amount for (_, pocket), amount in found.items() if pocket not in periods.WITH_ORDERS}
            assert {pocket: amount for pocket, amount in own.items() if amount} == told


def the_channel_agrees(world: World, payments: Mapping[str, int]) -> None:
    """The channel's bill (``payments``: transaction → fen, and the refunds that it made) has what the ledger has, and nothing else."""
    back = [row for row in world.refunds.values() if row["amount"] and not row["out_trade_no"].startswith("w_")]
    billed = [Billed(PAYMENT, number, "t", amount) for number, amount in payments.items()]
    billed += [Billed(REFUND, row["_id"], "t", -row["amount"]) for row in back]
    ours = {
        key: reconciling.Movement(amount, "d")
        for key, amount in filter(None, map(reconciling.movement_of, world.entries.values()))
        if amount
    }
    known = reconciling.Known({}, {}, (), ())
    assert reconciling.compare(ours, reconciling.grouped(billed), known) == ([], len(billed))
