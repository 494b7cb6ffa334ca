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
from services.payments.model import deposits, ledger, packets, sealing, settling, sharing, withdrawals
from services.payments.model.ledger import Entry, Posting
from services.payments.model.plan import Credit, Plan
from tests.examples import examples
from tests.unit.payments.books import NOW, SHOP, MovedError
from tests.unit.payments.test_any_history import ORDERS, Trade

FRIEND = "shop_b"
ACCOUNT = {"holder": "茶铺", "number": "6222000000001234", "bank": "招商银行"}
DRAWING = withdrawals.Limits(1, 10**6, 10**7, 2, {"withdrawal_fee": "withdrawal_fee@2014-05-29"})
PACKET = packets.Limits(5, 1, 20_000, timedelta(days=1))
SHARING = sharing.Limits(3000, 50, 50, timedelta(days=30))


class Money(Trade):
    """Everything that can happen to a shop's money."""

    beyond = 500

    @initialize(
        first=st.integers(1, 2000),
        second=st.integers(1, 2000),
        commission=st.integers(0, 3000),
        begin=st.sampled_from(["paid", "completed", "in dispute", "settled, then in dispute"]),
        days=st.sampled_from([0, 2]),
        marked=st.sampled_from([(), ("o0",), ORDERS]),
        capital=st.sampled_from([0, 0, 700]),
    )
    def opened(self, first, second, commission, begin, days, marked, capital):
        """Late chapters are reached sooner where orders are paid, marked and settled, and the shop has something."""
        self.days, self.marked, self.capital = days, marked, capital
        super().opened(first=first, second=second, commission=commission, begin=begin)

    def prepare(self):
        for order in self.marked:
            self.an_order_is_marked_for_sharing(order=order)
        if self.capital:
            sides = (Posting(ledger.BANK, -self.capital), Posting(ledger.available(SHOP), self.capital))
            entry, credit = (
                Entry("capital", "adjust", "CNY", sides, ()),
                Credit("capital", SHOP, "available", self.capital),
            )
            self._beside(Plan(entries=(entry,), credits=(credit,)))

    def _shop_does(self, plan_of) -> Plan | None:
        """Write what the shop asks for, twice: the second time nothing is added. None: it was refused, and nothing moved."""
        books = self.world.books()
        try:
            plan = plan_of(books)
        except Refusal:
            return None
        if not isinstance(plan, Plan):
            return None
        self.world.write(plan, books)
        try:
            self.world.write(plan, books)
        except MovedError:
            return plan
        raise AssertionError("written twice")

    def _beside(self, plan) -> None:
        if isinstance(plan, Plan):
            self._shop_does(lambda _: plan)

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
        row = data.draw(st.sampled_from(self.world.of(settling.ROWS)))
        self._beside(settling.matured(row, self.now + timedelta(days=days)))

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
    @rule(data=st.data(), part=st.integers(1, 110), unfreeze=st.booleans(), number=st.sampled_from("abc"))
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

    # ----------------------------------------------------------------------------------------------------- withdrawals

    @rule(part=st.integers(1, 110))
    def the_shop_withdraws(self, part):
        amount = max(1, self.world.purse().available * part // 100)
        number = f"wdr_{len(self.world.of(withdrawals.ROWS))}"
        row = {"_id": number, "amount": amount, "account": ACCOUNT}
        done = self._shop_does(lambda books: withdrawals.request(books.shop, books.credits, row, DRAWING, 1, today=0))
        assert done is None or self.world.shop["receivable"] == 0, "debts come first"

    @rule(order=st.sampled_from(ORDERS), claim=st.integers(1, 2500), platform=st.booleans())
    def a_shop_that_has_spent_everything_is_ruled_against(self, order, claim, platform):
        """What it owes then is taken from whatever it earns next."""
        self.an_order_is_over(order=order)
        for row in self.world.of(settling.ROWS):
            self._beside(settling.matured(row, row["matures_at"]))
        self.the_shop_withdraws(part=99)
        self.a_case_opens(order=order, claim=claim)
        self.what_lies_there_comes()
        case = next((one for one in self.cases.values() if (one["order_id"], one["state"]) == (order, "open")), None)
        if case is not None:
            case["state"] = "ruled"
            payer = "platform" if platform else "merchant"
            self.mail.append(("ruled", {**case, "refund": claim + self.beyond, "payer": payer}))
            self.what_lies_there_comes()

    @precondition(lambda self: self.world.of(withdrawals.ROWS))
    @rule(data=st.data(), pays=st.booleans())
    def the_bank_answers(self, data, pays):
        row = data.draw(st.sampled_from(self.world.of(withdrawals.ROWS)[-2:]))
        self._beside(withdrawals.paid(row, self.now) if pays else withdrawals.failed(row, "no", self.now))

    # ----------------------------------------------------------------------------------------------------- red packets

    @rule(total=st.integers(3, 600), lucky=st.booleans())
    def a_packet_is_sent(self, total, lucky):
        number = f"pkt_{len(self.world.of(packets.ROWS))}"
        row = {
            "_id": number,
            "kind": "lucky" if lucky else "normal",
            "total": total // 3 * 3,
            "count": 3,
            "greeting": "",
        }
        self._shop_does(
            lambda books: packets.sent(books.shop, books.credits, row, PACKET, self.now, lambda most: total % most)
        )

    @precondition(lambda self: self.world.of(packets.ROWS))
    @rule(data=st.data(), who=st.sampled_from(["u1", "u2", "u3", "u4"]))
    def somebody_claims(self, data, who):
        packet = data.draw(st.sampled_from(self.world.of(packets.ROWS)))
        if packets.claim_of(packet, who) is None:
            wallet = self.world.rows.get(("wallets", who))
            self._shop_does(lambda _: packets.claimed(packet, wallet, who, self.now))

    @precondition(lambda self: self.world.of(packets.ROWS))
    @rule(data=st.data(), hours=st.sampled_from([0, 25]))
    def a_packet_expires(self, data, hours):
        packet = data.draw(st.sampled_from(self.world.of(packets.ROWS)))
        self._beside(packets.expired(packet, self.now + timedelta(hours=hours)))

    # -------------------------------------------------------------------------------------------------------- deposits

    @rule(amount=st.integers(1, 500))
    def a_deposit_is_paid_in(self, amount):
        number = f"deposit:{len(self.world.entries)}"
        sides = (Posting(ledger.BANK, -amount), Posting(ledger.deposit(SHOP), amount))
        entry = Entry(number, "deposit", "CNY", sides, (SHOP,))
        self._beside(Plan(entries=(entry,), credits=(Credit(number, SHOP, "deposit", amount),)))

    @rule(required=st.sampled_from([0, 300, 900]))
    def a_deposit_is_required(self, required):
        asked = {"deposit_required": required, "reason": "风控"}
        change = deposits.terms_set(self.world.shop, asked, 10**6, self.now, timedelta(days=3))
        self.world.write(Plan(shop=change), self.world.books())

    @rule(days=st.sampled_from([0, 4]))
    def the_time_to_top_up_is_over(self, days):
        self._shop_does(lambda books: deposits.due(books.shop, books.credits, self.now + timedelta(days=days)))

    @rule(amount=st.integers(1, 500))
    def some_of_the_deposit_is_asked_back(self, amount):
        number = f"release:{len(self.world.entries)}"
        self._shop_does(lambda books: deposits.released(books.shop, books.credits, amount, number))

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
        on_its_way = sum(row["amount"] for row in self.world.of(withdrawals.ROWS) if row["state"] == "processing")
        assert told.get(ledger.withdrawing(SHOP), 0) == on_its_way
        for packet in self.world.of(packets.ROWS):
            claims = [claim["amount"] for claim in packet["claims"]]
            assert told.get(ledger.packet(packet["_id"]), 0) == packet["left"] >= 0
            assert sum(claims) + packet["left"] + packet["returned"] == packet["total"]
            assert all(amount >= 1 for amount in claims)
        for row in self.world.of(sharing.ROWS):
            assert told.get(ledger.frozen(row["_id"]), 0) == row["frozen"] >= 0
            parts = sum(part["amount"] for share in row["shares"] for part in share["receivers"])
            assert parts + row["frozen"] <= row["kept"] <= row["paid"] * 3000 // 10_000
        for wallet in self.world.of("wallets"):
            assert told[ledger.wallet(wallet["_id"])] == wallet["balance"]
        for share in self.world.payable["shares"]:
            back = [row["amount"] for row in self.world.refunds.values() if row["order_id"] == share["order_id"]]
            assert sum(back) <= share["amount"]
            assert len(back) <= 50

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
TestMoney.settings = settings(max_examples=examples(250), stateful_step_count=40, deadline=None)
