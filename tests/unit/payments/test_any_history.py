"""Whatever the order of facts, however often each comes, whoever is faster and wherever it crashes: no fen is lost or invented."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.chassis.decisions import Decision, Verdict
from services.chassis.errors import Refusal
from services.payments.model import cases, escrow, granting, purse, repricing
from services.payments.model import payable as payables
from services.payments.model import refund as refunds
from services.payments.model.payable import Success
from services.payments.model.plan import Books, Plan
from tests.examples import histories
from tests.unit.payments import oracles
from tests.unit.payments.books import PAY_BY, SHOP, MovedError, World, attempt, changed

ORDERS = ("o0", "o1")
PLANNERS = {
    "closed": escrow.order_closed,
    "rejected": escrow.payment_rejected,
    "completed": escrow.order_completed,
    "opened": cases.opened,
    "ruled": cases.ruled,
    "ended": cases.closed,
    "granted": granting.granted,
    "repriced": lambda books, told: repricing.order_repriced(books, told, 1),
}
RIGHT = {
    "completed": oracles.settled,
    "opened": oracles.held,
    "ended": oracles.released,
    "ruled": lambda *told: oracles.given_back(*told, lends=True),
    "granted": lambda *told: oracles.given_back(*told, lends=False),
    "repriced": oracles.repriced,
    "success": oracles.taken,
}
"""What a plan must do with the money, told independently."""


class Trade(RuleBasedStateMachine):
    """A buyer, a channel, orders and disputes around one payable; their messages lie in ``mail`` and are delivered by chance."""

    days = 0
    """T+n."""
    paid_by_wallet = 0
    beyond = 0
    """How much more than was claimed a ruling may give."""

    @initialize(
        first=st.integers(1, 2000),
        second=st.integers(1, 2000),
        commission=st.integers(0, 3000),
        begin=st.sampled_from(["opened", "paid", "completed", "in dispute", "settled, then in dispute"]),
        part=st.sampled_from([1, 1, 3, 10]),
    )
    def opened(self, first, second, commission, begin, part):
        """Histories begin at different points, so that a short one also sees the late chapters."""
        self.world = World.opened(first, second, attempts=2)
        self.commission = commission
        self.mail: list[tuple[str, dict]] = []
        self.delivered: list[tuple[str, dict]] = []
        self.paid_at_channel: dict[str, int] = {}
        self.codes = {"n0": first + second, "n1": first + second}
        """Numbers of what can be paid at the channel → the amount asked for."""
        self.orders = dict.fromkeys(ORDERS, "waiting")
        self.prices, self.revisions = {"o0": first, "o1": second}, Counter()
        self.cases: dict[str, dict] = {}
        self.heard = 0
        self.transactions = Counter()
        self.prepare()
        if begin != "opened":
            self.begin_with_a_payment()
            self.what_lies_there_comes()
        if begin in ("completed", "settled, then in dispute"):
            self.an_order_completes("o0")
        if begin.startswith("settled"):
            self.what_lies_there_comes()
        if begin.endswith("in dispute"):
            self.a_case_opens("o0", claim=max(1, first // part))

    def begin_with_a_payment(self):
        self.the_buyer_pays("n0", again=True)

    def prepare(self):
        """Before the history begins; for those who add to it."""

    # ------------------------------------------------------------------------------------------- what others do

    @property
    def ends(self):
        """How an order ends where nothing has ended it."""
        return (Trade.an_order_completes, Trade.an_order_closes)

    @property
    def now(self):
        return self.world.now

    @rule(number=st.sampled_from(["n0", "n1", "n2", "n3"]), again=st.booleans())
    def the_buyer_pays(self, number, again):
        if number in self.paid_at_channel or number not in self.codes:
            return
        self.paid_at_channel[number] = self.codes[number]
        told = {"number": number, "transaction": f"t{number}", "amount": self.codes[number]}
        self.mail += [("success", told)] * (2 if again else 1)

    @precondition(lambda self: self.world.payable["state"] == "open")
    @rule(number=st.sampled_from(["n0", "n1"]), minutes=st.sampled_from([0, 1, 90]))
    def the_buyer_pays_at_the_last_moment(self, number, minutes):
        """In the last second or after it, before the timer has fired."""
        self.world.now = max(self.now, PAY_BY + timedelta(minutes=minutes))
        self.the_buyer_pays(number=number, again=False)
        self.what_lies_there_comes()

    @rule()
    def another_code_is_shown(self):
        """At the price of now, whatever payments has heard of it."""
        number = f"n{len(self.world.payable['payments'])}"
        if set(self.orders.values()) != {"waiting"} or number > "n3":
            return
        told = {"shares": [{"order_id": o, "amount": self.prices[o], "revision": self.revisions[o]} for o in ORDERS]}
        more = attempt(number, "native", sum(self.prices.values()))
        try:
            change = payables.add_attempt(self.world.payable, more, 9, self.now)
            caught_up = repricing.caught_up(self.world.payable, told)
        except Refusal:
            return
        self.codes[number] = more["amount"]
        self.world.payable = changed(self.world.payable, replace(change, set={**change.set, **caught_up}))

    @rule(number=st.sampled_from(["n0", "n1"]))
    def a_code_is_reversed(self, number):
        """Begun here, then at the channel: where it was paid there, its success goes back whenever it is told."""
        change = payables.reversing(self.world.payable, number, int(self.now.timestamp() * 1000))
        if change is None or self.world.payable["state"] != "open":
            return
        self.world.payable = changed(self.world.payable, change)
        if number not in self.paid_at_channel:
            self.codes.pop(number)
            self.world.payable = changed(self.world.payable, payables.ended(self.world.payable, number))

    @rule(order=st.sampled_from(ORDERS), price=st.integers(1, 2000))
    def a_price_changes(self, order, price):
        if self.orders[order] == "waiting":
            self.prices[order] = price
            self.revisions[order] += 1
            told = {"order_id": order, "amount": price, "revision": self.revisions[order]}
            self.mail.append(("repriced", told))

    @precondition(lambda self: self.world.payable["state"] == "open")
    @rule(order=st.sampled_from(ORDERS), price=st.integers(1, 2000))
    def a_code_of_the_old_price_is_paid(self, order, price):
        self.a_price_changes(order=order, price=price)
        self.what_lies_there_comes()
        self.the_buyer_pays(number="n0", again=False)
        self.what_lies_there_comes()

    @rule(minutes=st.sampled_from([1, 1, 5, 29, 200, 24 * 60]))
    def time_passes(self, minutes):
        self.world.now += timedelta(minutes=minutes)

    @rule()
    def the_timer_fires(self):
        change = payables.on_timer(self.world.payable, self.now, 1)
        if change is not None and self.now >= PAY_BY - timedelta(minutes=1):
            self.world.payable = changed(self.world.payable, change)

    @rule(order=st.sampled_from(ORDERS))
    def an_order_closes(self, order):
        was_paid = self.orders[order] == "paid"
        if self.orders[order] in ("waiting", "paid"):
            self.orders[order] = "closed"
            self.mail.append(("closed", {"order_id": order, "was_paid": was_paid}))

    @rule(order=st.sampled_from(ORDERS), freight=st.sampled_from([0, 0, 1, 500]))
    def an_order_completes(self, order, freight=0):
        if self.orders[order] == "paid":
            self.orders[order] = "completed"
            bp = {"commission_bp": self.commission, "commission_policy": "p"}
            when = {"completed_at": self.now, "settlement_days": self.days}
            goods = max(0, self.prices[order] - freight)
            self.mail.append(("completed", {"order_id": order, "goods_amount": goods, **bp, **when}))

    @rule(order=st.sampled_from(ORDERS), amount=st.integers(1, 2000), again=st.booleans())
    def a_line_is_given_back(self, order, amount, again=False):
        """By its merchant, without a case; ``again``: told twice."""
        busy = any(case["order_id"] == order and case["state"] != "over" for case in self.cases.values())
        if self.orders[order] in ("paid", "completed") and not busy:
            number = f"rf-{order}-m{self.revisions['grants'] + 1}"
            self.revisions["grants"] += 1
            told = {"order_id": order, "refund_id": number, "amount": amount, "shop_id": SHOP}
            self.mail += [("granted", told)] * (2 if again else 1)

    @rule(order=st.sampled_from(ORDERS), claim=st.integers(1, 2500))
    def a_case_opens(self, order, claim):
        busy = any(case["order_id"] == order and case["state"] != "over" for case in self.cases.values())
        if self.orders[order] in ("paid", "completed") and not busy:
            name = f"case_{len(self.cases)}"
            self.cases[name] = {"case_id": name, "order_id": order, "claim": claim, "state": "open"}
            self.mail.append(("opened", dict(self.cases[name])))

    @precondition(lambda self: self.cases)
    @rule(data=st.data(), platform=st.booleans())
    def a_case_is_ruled(self, data, platform):
        case = data.draw(st.sampled_from(sorted(self.cases)))
        case = self.cases[case]
        if case["state"] == "open":
            case["state"] = "ruled"
            refund = data.draw(st.integers(1, case["claim"] + self.beyond))
            payer = "platform" if platform else "merchant"
            self.mail.append(("ruled", {**case, "refund": refund, "payer": payer}))

    @precondition(lambda self: self.cases)
    @rule(data=st.data())
    def a_case_is_withdrawn(self, data):
        case = self.cases[data.draw(st.sampled_from(sorted(self.cases)))]
        if case["state"] == "open":
            self._end(case)

    def _end(self, case):
        case["state"] = "over"
        self.mail.append(("ended", dict(case)))

    # --------------------------------------------------------------------------------------- what payments does

    @precondition(lambda self: self.mail)
    @rule(data=st.data(), keep=st.booleans())
    def a_message_comes(self, data, keep):
        """In any order; with ``keep`` it stays and comes again."""
        message = data.draw(st.sampled_from(self.mail))
        if self._handle(message) and not keep:
            self._acked(message)

    @precondition(lambda self: self.mail)
    @rule()
    def what_lies_there_comes(self):
        for message in list(self.mail):
            if self._handle(message):
                self._acked(message)

    @precondition(lambda self: self.delivered)
    @rule(data=st.data())
    def an_old_message_comes_again(self, data):
        assert self._handle(data.draw(st.sampled_from(self.delivered)))

    @precondition(lambda self: len(self.mail) > 1)
    @rule(data=st.data())
    def two_messages_race(self, data):
        """The first is decided, the second decided and written, then the first tries to write."""
        first, second = data.draw(st.permutations(self.mail))[:2]
        books, plan = self._decide(first)
        if not self._handle(second) or not isinstance(plan, Plan):
            return
        self._acked(second)
        try:
            self.world.write(plan, books)
        except MovedError:
            return
        self._hear()

    @precondition(lambda self: self.mail)
    @rule(data=st.data())
    def a_crash_before_the_write(self, data):
        self._decide(data.draw(st.sampled_from(self.mail)))

    @rule(most=st.integers(1, 3))
    def credits_are_folded(self, most):
        books = self.world.books()
        rows = list(books.credits)[:most]
        plan = purse.fold(books.shop, rows)
        if isinstance(plan, Plan):
            self.world.write(plan, books)

    @precondition(lambda self: self.world.refunds)
    @rule(data=st.data())
    def the_channel_gives_back(self, data):
        self._give_back(data.draw(st.sampled_from(sorted(self.world.refunds))))

    def _give_back(self, number):
        row = self.world.refunds[number]
        known = row["state"] == "succeeded"
        assert (refunds.succeeded(row, self.now) is None) == known
        self.world.refunded(number)
        self._hear()

    def _acked(self, message):
        self.mail.remove(message)
        self.delivered.append(message)

    def _decide(self, message):
        kind, told = message
        books = self.world.books(told.get("order_id", ""))
        if kind == "success":
            success = Success(told["number"], told["transaction"], told["amount"], "CNY")
            return books, self._right(message, books, payables.collect(books.payable, success, self.now))
        if not cases.needs_shop(books.payable, told["order_id"]) or not {"case_id", "refund_id"} & told.keys():
            books = Books(books.payable)
        return books, self._right(message, books, PLANNERS[kind](books, told))

    def _right(self, message, books, plan):
        kind, told = message
        if isinstance(plan, Plan) and kind in RIGHT:
            RIGHT[kind](self.world, books, told, plan)
        return plan

    def _handle(self, message) -> bool:
        """Whether the message may be acked."""
        books, plan = self._decide(message)
        if isinstance(plan, Decision):
            return plan.verdict is not Verdict.EARLY
        self.world.write(plan, books)
        self._hear()
        return True

    def _hear(self):
        """Orders and disputes hear what payments tells, and answer."""
        new, self.heard = self.world.facts[self.heard :], len(self.world.facts)
        for fact in new:
            if fact.type.endswith("payment.succeeded.v1"):
                self.transactions[fact.data["transaction_id"]] += 1
                for share in fact.data["shares"]:
                    self._share_came(share["order_id"], share["amount"])
            elif fact.data["case_id"] and self.cases[fact.data["case_id"]]["state"] == "ruled":
                self._end(self.cases[fact.data["case_id"]])

    def _share_came(self, order, amount):
        if self.orders[order] == "waiting" and self.prices[order] == amount:
            self.orders[order] = "paid"
        else:
            self.mail.append(("rejected", {"order_id": order}))

    # ------------------------------------------------------------------------------------------------- what holds

    @invariant()
    def the_books_balance(self):
        if hasattr(self, "world"):
            self.world.check()
            assert sum(self.transactions.values()) <= 1

    def teardown(self):
        """Everything comes to its end: each trade is over, each case is closed, each refund arrived."""
        if not hasattr(self, "world"):
            return
        for order in ORDERS:
            for end in self.ends:
                end(self, order)
        for case in self.cases.values():
            if case["state"] == "open":
                self._end(case)
        self._drain()
        self.world.check()
        assert all(share["escrow"] == 0 for share in self.world.payable["shares"])
        assert self.world.purse().held == {}
        assert self.world.collected() == sum(self.paid_at_channel.values())
        kinds = Counter(entry["kind"] for entry in self.world.entries.values())
        assert kinds["collect"] + kinds["return"] == len(self.paid_at_channel) + self.paid_by_wallet
        assert kinds["refund"] == sum(1 for row in self.world.refunds.values() if row["amount"])
        oracles.bills_close(self.world)
        oracles.sums_of_periods_are_the_journal_s(self.world)
        oracles.the_channel_agrees(self.world, self.taken_by_the_channel())

    def taken_by_the_channel(self):
        return {f"t{number}": amount for number, amount in self.paid_at_channel.items()}

    def _drain(self):
        for _ in range(200):
            self.what_lies_there_comes()
            for number in sorted(self.world.refunds):
                self._give_back(number)
            if not self.mail:
                return
        raise AssertionError(f"never handled: {self.mail}")


TestTrade = Trade.TestCase
TestTrade.settings = settings(max_examples=histories(90), stateful_step_count=30, deadline=None)
