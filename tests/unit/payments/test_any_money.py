"""The whole money of a shop, in any order and however often: T+n, sharing, withdrawals, red packets, deposits, beside refunds and cases.

After every step the twelve invariants of a ledger hold, as far as plain values can show them: (1) entries sum to 0, (2) none is ever changed,
(3) a finished order has no escrow, (4) nobody is below zero, (5) refunds are at most what was paid, (6) what comes again adds nothing,
(7) a hold ends once, (8) stored balances are the journal's, (9) a packet's parts and what is left are its total, (10) no more than the
agreed part is shared, (11) the sealed chain verifies. (12), that writers do not block each other, is for the tests on a database.
"""

import copy
from datetime import timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from services.chassis.errors import Refusal
from services.payments.model import ledger, packets, sealing, settling, sharing, withdrawals
from services.payments.model.ledger import Entry, Posting
from services.payments.model.plan import Credit, Plan
from tests.examples import histories
from tests.unit.payments import oracles
from tests.unit.payments.books import FRIEND, NOW, SHOP
from tests.unit.payments.pockets import Pockets
from tests.unit.payments.test_any_history import ORDERS

ACCOUNT = {"holder": "茶铺", "number": "6222000000001234", "bank": "招商银行"}
DRAWING = withdrawals.Limits(1, 10**6, 2500, 2, {"withdrawal_fee": "withdrawal_fee@2014-05-29"})
SHARING = sharing.Limits(3000, 50, 50, timedelta(days=30))


class Money(Pockets):
    """Everything that can happen to a shop's money."""

    beyond = 500

    @initialize(
        first=st.integers(1, 2000),
        second=st.integers(1, 2000),
        commission=st.integers(0, 3000),
        begin=st.sampled_from(["opened", "paid", "completed", "in dispute", "settled, then in dispute"]),
        part=st.sampled_from([1, 1, 3, 10]),
        days=st.sampled_from([0, 2]),
        marked=st.sampled_from([(), ("o0",), ORDERS]),
        capital=st.sampled_from([0, 0, 700, 6000]),
        secured=st.sampled_from([0, 0, 400]),
        wallet_money=st.sampled_from([0, 0, 5000]),
        closes=st.booleans(),
    )
    def opened(self, days, marked, capital, secured, wallet_money, closes, **begin):
        """Late chapters are reached sooner where orders are paid, marked and settled, and everybody has something."""
        self.days, self.marked, self.capital, self.secured = days, marked, capital, secured
        self.wallet_money, self.closes = wallet_money, closes
        self.topped_up = {}
        super().opened(**begin)

    def begin_with_a_payment(self):
        super().begin_with_a_payment() if not self.wallet_money else self.the_buyer_pays_by_wallet()

    @property
    def ends(self):
        """An order that nothing has ended is closed, or completes."""
        return super().ends[::-1] if self.closes else super().ends

    def prepare(self):
        for order in self.marked:
            self.an_order_is_marked_for_sharing(order=order)
        if self.secured:
            self.a_deposit_is_paid_in(amount=self.secured)
        if self.wallet_money:
            self.the_wallet_is_topped_up(amount=self.wallet_money)
        if self.capital:
            sides = (Posting(ledger.BANK, -self.capital), Posting(ledger.available(SHOP), self.capital))
            entry, credit = (
                Entry("capital", "adjust", "CNY", sides, ()),
                Credit("capital", SHOP, "available", self.capital),
            )
            self._beside(Plan(entries=(entry,), credits=(credit,)))

    @precondition(lambda self: self.mail)
    @rule()
    def the_mail_is_read(self):
        self.what_lies_there_comes()

    @precondition(lambda self: any(case["state"] == "open" for case in self.cases.values()))
    @rule(data=st.data())
    def an_open_case_is_ruled(self, data):
        self.what_lies_there_comes()
        self.a_case_is_ruled(data=data, platform=False)
        self.what_lies_there_comes()

    @rule(order=st.sampled_from(ORDERS))
    def an_order_is_over(self, order):
        self.an_order_completes(order=order)
        self.what_lies_there_comes()

    # ---------------------------------------------------------------------------------------------- settlement, sharing

    @precondition(lambda self: self.world.of(settling.ROWS))
    @rule(data=st.data(), days=st.integers(0, 3))
    def pending_money_matures(self, data, days):
        row, when = data.draw(st.sampled_from(self.world.of(settling.ROWS))), self.now + timedelta(days=days)
        plan = settling.matured(row, when)
        if isinstance(plan, Plan):
            completed = next(
                told["completed_at"]
                for kind, told in self.delivered + self.mail
                if kind == "completed" and told["order_id"] == row["order_id"]
            )
            assert when >= oracles.midnight_after(completed, self.days), "not before its day"
        self._beside(plan)

    @rule(order=st.sampled_from(ORDERS))
    def an_order_is_marked_for_sharing(self, order):
        index = ORDERS.index(order)
        try:
            change = sharing.marked(self.world.payable["shares"][index], index, SHARING)
        except Refusal:
            return
        if change is not None:
            self.world.write(Plan(payable=change), self.world.books())

    @precondition(lambda self: self.world.of(sharing.ROWS))
    @rule(
        data=st.data(),
        part=st.sampled_from([1, 30, 60, 100, 101, 150]),
        unfreeze=st.booleans(),
        number=st.sampled_from("abc"),
    )
    def profit_is_shared(self, data, part, unfreeze, number):
        row = data.draw(st.sampled_from(self.world.of(sharing.ROWS)))
        amount = max(1, row["frozen"] * part // 100)
        receivers = [{"account": FRIEND, "amount": amount, "description": ""}]
        try:
            if sharing.made(row, number, receivers):
                return
            self._beside(sharing.share(row, number, receivers, SHARING, self.now, unfreeze=unfreeze))
        except Refusal:
            return

    @precondition(lambda self: self.world.of(sharing.ROWS))
    @rule(data=st.data(), late=st.booleans())
    def what_is_frozen_is_unfrozen(self, data, late):
        row = data.draw(st.sampled_from(self.world.of(sharing.ROWS)))
        when = self.now + timedelta(days=31 if late else 0)
        self._beside(sharing.on_timer(row, when) if late else sharing.unfrozen(row))

    @precondition(lambda self: any(row["shares"] for row in self.world.of(sharing.ROWS)))
    @rule(data=st.data(), part=st.sampled_from([1, 40, 60, 100, 101]), number=st.sampled_from("xyz"))
    def the_friend_gives_some_back(self, data, part, number):
        row = data.draw(st.sampled_from([row for row in self.world.of(sharing.ROWS) if row["shares"]]))
        line = data.draw(st.sampled_from(row["shares"]))
        amount = max(1, line["receivers"][0]["amount"] * part // 100)
        asked = {"out_return_no": number, "out_order_no": line["out_order_no"], "amount": amount}
        try:
            if sharing.returned_before(row, asked, FRIEND):
                return
        except Refusal:
            return
        self._shop_does(lambda books: sharing.returned(row, books.shop, books.credits, asked), FRIEND)

    # ----------------------------------------------------------------------------------------------------- withdrawals

    @rule(part=st.integers(1, 110))
    def the_shop_withdraws(self, part):
        amount = min(DRAWING.day_most, max(1, self.world.purse().available * part // 100))
        number = f"wdr_{len(self.world.of(withdrawals.ROWS))}"
        row = {"_id": number, "amount": amount, "account": ACCOUNT}
        before = self.world.purse()
        done = self._shop_does(
            lambda books: withdrawals.request(books.shop, books.credits, row, DRAWING, 1, today=self._drawn_today())
        )
        assert done is None or self.world.shop["receivable"] == 0, "debts come first"
        assert done is None or amount + DRAWING.fee <= before.available - before.receivable

    def open_case_of(self, order):
        """The order's case that is not decided, if there is one."""
        return next((one for one in self.cases.values() if (one["order_id"], one["state"]) == (order, "open")), None)

    def spend_everything(self, order):
        """The order is over, and nothing of it is left."""
        self.an_order_is_over(order=order)
        for row in self.world.of(settling.ROWS):
            self._beside(settling.matured(row, row["matures_at"]))
        for _ in range(3):
            self.the_shop_withdraws(part=99)

    @rule(order=st.sampled_from(ORDERS), claim=st.integers(1, 2500), platform=st.booleans(), part=st.integers(1, 110))
    def a_shop_that_has_spent_everything_is_ruled_against(self, order, claim, platform, part):
        """What it owes then is taken from whatever it earns next, before it withdraws that or puts it into its deposit."""
        self.spend_everything(order)
        self.a_case_opens(order=order, claim=claim)
        self.what_lies_there_comes()
        case = self.open_case_of(order)
        if case is not None:
            case["state"] = "ruled"
            payer = "platform" if platform else "merchant"
            self.mail.append(("ruled", {**case, "refund": claim + self.beyond, "payer": payer}))
            self.what_lies_there_comes()
        if self.world.shop["receivable"]:
            for other in ORDERS:
                self.an_order_is_over(order=other)
            self.a_deposit_is_required(required=300)
            if part % 2:
                self.the_time_to_top_up_is_over(days=4)
            self.the_shop_withdraws(part=part)

    @rule(order=st.sampled_from(ORDERS), amount=st.integers(1, 2000))
    def a_shop_that_has_spent_everything_gives_a_line_back(self, order, amount):
        self.spend_everything(order)
        self.a_line_is_given_back(order=order, amount=amount)
        self.what_lies_there_comes()

    @rule(order=st.sampled_from(ORDERS), amount=st.integers(1, 2000))
    def of_an_order_that_is_over_a_line_is_given_back(self, order, amount):
        """While it is pending or frozen still."""
        self.an_order_is_over(order=order)
        self.a_line_is_given_back(order=order, amount=amount)
        self.what_lies_there_comes()

    @rule(order=st.sampled_from(ORDERS), claim=st.integers(1, 50))
    def a_ruling_goes_beyond_what_is_held(self, order, claim):
        """A small claim on a settled order: what of it is frozen or pending pays before the shop's own does."""
        self.an_order_is_over(order=order)
        self.a_case_opens(order=order, claim=claim)
        self.what_lies_there_comes()
        case = self.open_case_of(order)
        if case is not None:
            case["state"] = "ruled"
            self.mail.append(("ruled", {**case, "refund": claim + self.beyond, "payer": "merchant"}))
            self.what_lies_there_comes()

    @rule(order=st.sampled_from(ORDERS), claim=st.integers(1, 2500), closes=st.booleans())
    def the_platform_pays_for_what_is_still_in_escrow(self, order, claim, closes):
        """What it gave is repaid by the escrow, where that goes back."""
        self.a_case_opens(order=order, claim=claim)
        self.what_lies_there_comes()
        case = self.open_case_of(order)
        if case is not None and self.orders[order] == "paid":
            case["state"] = "ruled"
            self.mail.append(("ruled", {**case, "refund": claim, "payer": "platform"}))
            self.what_lies_there_comes()
        if closes:
            self.an_order_closes(order=order)
            self.what_lies_there_comes()

    @precondition(lambda self: self.world.of(withdrawals.ROWS))
    @rule(data=st.data(), pays=st.booleans())
    def the_bank_answers(self, data, pays):
        row = data.draw(st.sampled_from(self.world.of(withdrawals.ROWS)[-2:]))
        known, before = row["state"], self.world.purse().available
        self._beside(withdrawals.paid(row, self.now) if pays else withdrawals.failed(row, "no", self.now))
        back = row["amount"] + row["fee"] if known == "processing" and not pays else 0
        assert self.world.purse().available == before + back, "what the bank refuses comes back once, fee and all"

    # ------------------------------------------------------------------------------------------------- what holds

    @rule()
    def the_journal_is_sealed(self):
        if not hasattr(self, "blocks"):
            self.blocks = []
        sealed = {line["id"] for block in self.blocks for line in block["entries"]}
        new = [self.world.entries[name] for name in sorted(self.world.entries.keys() - sealed)]
        if new:
            self.blocks.append(sealing.block(self.blocks[-1] if self.blocks else None, new, len(self.blocks), NOW))

    @invariant()
    def no_entry_is_ever_changed(self):
        if not hasattr(self, "world"):
            return
        known = getattr(self, "known", {})
        assert {name: self.world.entries[name] for name in known} == known
        self.known = copy.deepcopy(self.world.entries)

    @invariant()
    def the_rows_beside_are_the_journal_s(self):
        if not hasattr(self, "world"):
            return
        told = self.world.balances()
        assert "top_up_by" in self.world.shop or "deposit_overdue" not in self.world.shop
        on_its_way = sum(row["amount"] for row in self.world.of(withdrawals.ROWS) if row["state"] == "processing")
        assert told.get(ledger.withdrawing(SHOP), 0) == on_its_way
        for packet in self.world.of(packets.ROWS):
            claims = [claim["amount"] for claim in packet["claims"]]
            assert told.get(ledger.packet(packet["_id"]), 0) == packet["left"] >= 0
            assert sum(claims) + packet["left"] + packet["returned"] == packet["total"]
            assert all(amount >= 1 for amount in claims)
            assert packet["state"] == "open" or packet["left"] == 0
            assert sum(packet["parts"]) == packet["total"]
        for row in self.world.of(sharing.ROWS):
            assert told.get(ledger.frozen(row["_id"]), 0) == row["frozen"] >= 0
            parts = sum(part["amount"] for share in row["shares"] for part in share["receivers"])
            assert parts + row["frozen"] <= row["kept"] <= row["paid"] * 3000 // 10_000
            for line in row["shares"]:
                back = sum(one["amount"] for one in row["returns"] if one["out_order_no"] == line["out_order_no"])
                assert back <= sum(one["amount"] for one in line["receivers"])
        for purse in self.world.of("wallets"):
            assert told.get(ledger.wallet(purse["_id"]), 0) == purse["balance"] >= 0
        gone = [row for row in self.world.of(withdrawals.ROWS) if row["state"] != "failed"]
        fees = sum(
            side["amount"]
            for one in self.world.entries.values()
            if one["kind"] == "settle"
            for side in one["postings"]
            if side["account"] == ledger.FEE
        )
        assert told.get(ledger.FEE, 0) == fees + sum(row["fee"] for row in gone)
        assert sum(row["amount"] for row in gone) <= DRAWING.day_most * len(
            {oracles.midnight_after(self.now, 0), *map(self._day, gone)}
        )
        for share in self.world.payable["shares"]:
            back = [row["amount"] for row in self.world.refunds.values() if row["order_id"] == share["order_id"]]
            assert sum(back) <= share["amount"]
            assert len(back) <= 50

    def _drawn_today(self):
        """What was asked for since midnight and did not fail."""
        today = oracles.midnight_after(self.now, 0)
        rows = self.world.of(withdrawals.ROWS)
        return sum(row["amount"] for row in rows if row["state"] != "failed" and self._day(row) == today)

    def _day(self, row):
        entry = self.world.entries[f"withdraw:{row['_id']}"]
        return oracles.midnight_after(entry["posted_at"], 0)

    def teardown(self):
        super().teardown()
        if not hasattr(self, "world"):
            return
        self.the_rows_beside_are_the_journal_s()
        self.the_journal_is_sealed()
        chain = sealing.Chain()
        flaws = [flaw for block in self.blocks for flaw in chain.take(block, self.world.entries)]
        assert flaws == []
        assert chain.checked == len(self.world.entries)


TestMoney = Money.TestCase
TestMoney.settings = settings(max_examples=histories(90), stateful_step_count=40, deadline=None)
