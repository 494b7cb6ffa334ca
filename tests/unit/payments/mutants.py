"""Bugs that are planted one at a time: (name, function, what stands there, what stands there instead). Each is one line of a rare path."""

import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from services.chassis import money
from services.payments.model import (
    bookkeeping,
    cases,
    deposits,
    escrow,
    granting,
    packets,
    payable,
    periods,
    purse,
    repricing,
    sealing,
    settling,
    sharing,
    wallet,
    withdrawals,
)

Mutant = tuple[str, Callable[..., Any], str, str]
MUTANTS: tuple[Mutant, ...] = (
    ("commission is rounded down", money.share, "* 2 + 10_000) // 20_000", "* 2) // 20_000"),
    ("commission is of the freight too", escrow.order_completed, "left * goods // share", "left * share['amount'] // share"),
    ("a share settles to available in spite of a case", escrow.order_completed, "if case_id else ledger.available", "if not case_id else ledger.available"),
    ("what the platform gave is given twice", escrow._give_back, 'min(left, share["amount"] - share["refunded"])', "left"),
    ("a late payment is taken", payable.collect, 'now <= payable["pay_by"] and fits', "fits"),
    ("a payment of the old price is taken", payable.collect, 'and one["amount"] == payable["amount"]', ""),
    ("a reversed payment is refunded under another number", payable._return, "== REVERSING else", "!= REVERSING else"),
    ("a late payment is refunded out of the clearing twice", payable._return, "Posting(ledger.SUSPENSE, -success.amount)", "Posting(ledger.FEE, -success.amount)"),
    ("a hold takes the deposit first", purse.Purse.hold, "min(wanted, self.available)", "max(0, min(wanted - self.deposit, self.available))"),
    ("a hold forgets what the deposit gave", cases.opened, '"from_deposit": from_deposit,', '"from_deposit": 0,'),
    ("a hold is released twice", purse.Purse.release, "freed.with_held(case_id, 0)", "freed"),
    ("a ruling passes the case's hold by", purse.Purse.draw, "min(amount, self.held.get(case_id, 0))", "0"),
    ("a ruling skips what is frozen for sharing", cases._pay, "from_frozen = min(beyond, sharing.left(books.sharing))", "from_frozen = 0"),
    ("a ruling takes what is pending before what is frozen", cases.opened, "min(wanted - from_frozen, settling.left(books.pending))", "0"),
    ("the platform lends and the shop owes nothing", purse.postings, "if owed:", "if owed > 10**9:"),
    ("a debt is netted out of the deposit", purse.Purse.netted, "min(self.available, self.receivable)", "min(self.available, self.receivable // 2)"),
    ("a ruling gives more than was paid", cases.ruled, 'min(data["refund"], share["amount"] - share["refunded"])', 'data["refund"]'),
    ("a ruling against the platform is taken from escrow", cases.ruled, '0 if data["payer"] == "platform" else', ""),
    ("a grant is given twice", granting.granted, 'if data["refund_id"] in share.get("grants", ()):', "if False:"),
    ("the platform lends for a grant", granting.granted, "before.available + before.deposit)", "before.available + before.deposit + 1)"),
    ("a grant takes available before what is pending", granting._still_of_the_order, "min(wanted - from_frozen, settling.left(books.pending))", "0"),
    ("a grant leaves the row of what is frozen as it was", granting._still_of_the_order, "rows.append(sharing.taken(books.sharing, from_frozen))", "pass"),
    ("pending money matures although a case took part of it", settling.taken, 'pending["amount"] - amount', 'pending["amount"]'),
    ("pending money matures a day early", settling.matures_at, "days - 1", "days - 2"),
    ("more is frozen than may be shared", sharing.kept, "return min(net, most)", "return net"),
    ("more is shared than is frozen", sharing.share, 'if total > found["frozen"]:', 'if total > found["kept"]:'),
    ("what is unfrozen stays frozen", sharing._left, 'found["frozen"] - gone', 'found["frozen"]'),
    ("a failed withdrawal keeps the fee", withdrawals.failed, 'row["amount"] + row["fee"]', 'row["amount"]'),
    ("a paid withdrawal fails too", withdrawals.failed, '!= "processing"', '== "failed"'),
    ("the day's limit is every withdrawal's own", withdrawals.request, "today + amount > limits.day_most", "amount > limits.day_most"),
    ("a packet returns what was claimed", packets.expired, 'packet["left"], packet["shop_id"]', 'packet["total"], packet["shop_id"]'),
    ("a buyer's packet returns to nobody", packets.expired, "back = () if shop_id else", "back = () if True else"),
    ("a packet that expired is claimed", packets.claimed, 'or now >= packet["expires_at"]', ""),
    ("a packet's parts lose the rest", packets._drawn, "return [*parts, left]", "return [*parts, max(limits.least, left - 1)]"),
    ("a wallet's refund goes to the channel", wallet.to_wallet, "if is_spent(one.out_trade_no)", "if False"),
    ("a top-up is counted twice", wallet.topped_up, 'Posting(ledger.wallet(row["buyer_id"]), success.amount)', "Posting(ledger.FEE, success.amount)"),
    ("an old price overtakes a new one", repricing.order_repriced, '>= data["revision"]', '> data["revision"] + 9'),
    ("a deposit that is whole stays overdue", deposits.watched, "*_DEADLINE), due=None", '"top_up_by"), due=None'),
    ("a deposit is released below what is required", deposits.released, 'before.deposit - shop.get("deposit_required", 0)', "before.deposit"),
    ("a block leaves its last entry out", sealing.block, "for entry in entries]", "for entry in entries[:-1]]"),
    ("the sums of a day leave debits out", periods.additions, 'if posting["amount"] > 0 else "debits"', ""),
    ("what is shared is on nobody's bill", bookkeeping.shop_of, '("order", "share")', '("order",)'),
)  # fmt: skip


@contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """The function with the bug in it, for everybody who imported it; afterwards as it was."""
    _, function, there, instead = mutant
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(there) == 1, f"{function.__qualname__} has {source.count(there)} × {there!r}"
    scope: dict[str, Any] = {}
    module = sys.modules[function.__module__]
    code_of_bug = compile(source.replace(there, instead), module.__file__ or "", "exec")
    exec(code_of_bug, vars(module) | {}, scope)  # noqa: S102 - our own source with one change
    made = scope[function.__name__]
    code, function.__code__ = function.__code__, made.__code__
    try:
        yield
    finally:
        function.__code__ = code
