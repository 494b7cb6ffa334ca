"""Random histories of one order against its table: commands, events in any order and any number of times, timers."""

import itertools
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.chassis.decisions import KEEP, Verdict
from services.chassis.errors import Refusal
from services.orders.model import (
    deadlines,
    events,
    outstanding,
    parcels,
    redeeming,
    refunding,
    states,
    tracking,
    vouchers,
)
from services.orders.model import order as orders
from services.orders.model.states import CATALOG, DISPUTES, PAYMENTS, TABLE, TIMER, Known, Move, State, Step
from tests.examples import histories
from tests.unit.orders import making

BUYER, MERCHANT = Known("buyer", making.BUYER), Known("merchant", "acc_1", "shop_1")
SHIPMENT = {"delivery_company": "003shunfeng", "delivery_track_no": "SF1234567", "is_others": False}
FINISHED = (Verdict.DONE, Verdict.STALE)


def payment(order, payment_id="pay_1", amount=None):
    share = {
        "order_id": order["_id"],
        "shop_id": order["shop_id"],
        "amount": order["amount"] if amount is None else amount,
    }
    return {"payment_id": payment_id, "transaction_id": "4200", "checkout_id": "chk_1", "shares": [share]}


def refund(order, refund_id, amount, cause="dispute", case_id=""):
    named = {"refund_id": refund_id, "order_id": order["_id"], "checkout_id": "chk_1", "case_id": case_id}
    return {**named, "amount": amount, "cause": cause}


def take(order, data, step):
    return events.paid(order, data["shares"][0], data, step)


class OrderMachine(RuleBasedStateMachine):
    """One order in a world that says anything at any time."""

    @initialize(
        price=st.integers(1, 5000),
        freight=st.integers(0, 900),
        gone=st.sampled_from([0, 1, 2, 2, 2, 3]),
        kind=st.sampled_from(["", "", "virtual", "voucher"]),
    )
    def place(self, price, freight, gone, kind):
        """Begin anywhere on the straight way, for random steps seldom get far: most of what may happen ends an order."""
        nature = {"fulfilment": kind} if kind else {}
        self.order = making.order({**making.reserved(price=price, freight=freight), **nature})
        self.now = making.NOW
        self.due = deadlines.unpaid_until(self.order)
        self.facts, self.moves, self.seen = [], [], []
        self.numbers = itertools.count()
        straight = [lambda: self.payment_succeeds("pay_1", 0), self.merchant_ships, self.buyer_confirms]
        for step in straight[:gone]:
            step()

    # ---------------------------------------------------------------------------------------------------- how things happen

    def write(self, change):
        before = self.order
        self.order = making.after(before, change)
        self.facts += change.facts
        if change.due is not KEEP:
            self.due = change.due
        if before["state"] != self.order["state"]:
            self.moves.append((before["state"], self.order["state"]))
        return change

    def hear(self, decide, data, actor):
        step = Step(self.now, actor, f"e{next(self.numbers)}")
        decision = decide(self.order, data, step)
        if decision.verdict is Verdict.APPLY:
            self.write(decision.change)
        if decision.verdict is not Verdict.EARLY:
            self.seen.append((decide, data, actor))
        return decision

    def ask(self, decide, *arguments):
        try:
            named = {"sandbox": arguments[-1]} if isinstance(arguments[-1], bool) else {}
            return self.write(decide(self.order, *arguments[: len(arguments) - len(named)], **named))
        except Refusal as refusal:
            if refusal.reason in ("WRONG_STATE", "INVALID_ARGUMENT", "CONDITION_UNMET"):
                return None
            raise

    # ------------------------------------------------------------------------------------------------------------------ rules

    @rule(payment_id=st.sampled_from(["pay_1", "pay_2"]), wrong=st.sampled_from([0, 0, 0, 1]))
    def payment_succeeds(self, payment_id, wrong):
        known = {self.order["payment_id"], *(row["payment_id"] for row in self.order["rejected_payments"])}
        was, told = self.order["state"], len(self.facts)
        decision = self.hear(take, payment(self.order, payment_id, self.order["amount"] + wrong), PAYMENTS)
        if payment_id in known:
            assert decision.verdict is Verdict.DONE
            return
        assert decision.verdict is Verdict.APPLY, "money is never met by silence"
        (fact,) = self.facts[told:]
        took = was == State.AWAITING_PAYMENT and not wrong
        assert fact.type == f"jishi.orders.order.{'paid' if took else 'payment_rejected'}.v1"

    @rule(part=st.integers(1, 100), cause=st.sampled_from(["dispute", "cancelled", "rejected", "paid_twice", "late"]))
    def refund_succeeds(self, part, cause):
        held = orders.held(self.order)
        most = self.order["rejected"] - self.order["returned"] if cause == "rejected" else held
        amount = most if part > 70 else most * part // 100
        if cause in ("dispute", "cancelled", "rejected") and not amount:
            return
        decision = self.hear(events.refunded, refund(self.order, f"r{next(self.numbers)}", amount, cause), PAYMENTS)
        assert decision.verdict is Verdict.APPLY
        if held and amount == held and cause in events.OF_THE_PAYMENT and self.order["state"] != State.COMPLETED:
            assert self.order["state"] == State.CLOSED

    @rule(
        quantity=st.integers(0, 2),
        amount=st.none() | st.integers(1, 3000),
        restock=st.sampled_from([None, None, True, False]),
    )
    def merchant_gives_back(self, quantity, amount, restock):
        """What is given back is not to be sent any more; an order of which the rest is given back is shipped."""
        before = self.order
        try:
            change = refunding.grant(before, Step(self.now, MERCHANT), 1, quantity, amount, "", restock=restock)
        except Refusal:
            return
        self.write(change)
        gone = sum(outstanding.units(before).values()) - sum(outstanding.units(self.order).values())
        assert 0 <= gone <= quantity
        assert change.answer["restocked"] == {None: gone, True: quantity, False: 0}[restock]
        if before["state"] == State.PAID and before.get("parcels"):
            assert (self.order["state"] == State.SHIPPED) is (not parcels.left(self.order))

    @precondition(lambda self: hasattr(self, "order") and self.order.get("line_refunds"))
    @rule()
    def a_granted_refund_arrives(self):
        waiting = [row for row in self.order["line_refunds"] if row["state"] == "pending"]
        for row in waiting[:1]:
            amount = min(row["amount"], orders.held(self.order))
            self.hear(events.refunded, refund(self.order, row["refund_id"], amount, "merchant"), PAYMENTS)
            assert not outstanding.is_void(self.order), "of an order that is over the rest goes back"

    @rule()
    def refund_before_its_payment_waits(self):
        if not self.order["paid"]:
            assert self.hear(events.refunded, refund(self.order, "rx", 1), PAYMENTS).verdict is Verdict.EARLY

    @rule(case_id=st.sampled_from(["case_1", "case_2"]))
    def case_opens(self, case_id):
        decision = self.hear(events.case_opened, {"case_id": case_id, "kind": "refund_only"}, DISPUTES)
        if decision.verdict is Verdict.EARLY:
            assert self.order["state"] == State.AWAITING_PAYMENT

    @rule(case_id=st.sampled_from(["case_1", "case_2"]))
    def case_closes(self, case_id):
        data = {"case_id": case_id, "outcome": "withdrawn", "refunded": 0}
        self.hear(events.case_closed, data, DISPUTES)

    @rule()
    def stock_is_gone(self):
        was = self.order["state"]
        decision = self.hear(events.ran_out, {"order_id": self.order["_id"]}, CATALOG)
        if was == State.PAID and self.order.get("first_sent_at"):
            assert decision.verdict is Verdict.STALE, "the goods were there after all"
        elif was == State.PAID:
            assert decision.verdict is Verdict.APPLY
            assert self.order["state"] == State.CLOSED
            assert not self.facts[-1].data["lines"]

    @rule(actor=st.sampled_from([BUYER, MERCHANT]), reason=st.sampled_from(["", "缺货"]))
    def somebody_cancels(self, actor, reason):
        was, held, sent = self.order["state"], orders.held(self.order), self.order.get("first_sent_at")
        change = self.ask(orders.cancel, Step(self.now, actor), reason)
        if change:
            assert was in (State.AWAITING_PAYMENT, State.PAID)
            assert not sent, "nothing is cancelled of which a part is on its way"
            assert change.answer["refund_amount"] == held == self.facts[-1].data["amount"]

    @rule(part=st.sampled_from([0, 0, 0, 1]), script=st.sampled_from(["", "NORMAL", "LOST", "RETURNED"]))
    def merchant_ships(self, part=0, script=""):
        """All that is left, or one unit of it."""
        before, told = self.order, len(self.facts)
        lines = [{"line": 1, "quantity": part}] if part else []
        track_no = f"SF{next(self.numbers)}000-{script}" if script else f"SF{next(self.numbers)}000"
        asked = {**SHIPMENT, "delivery_track_no": track_no, "lines": lines}
        if self.ask(orders.ship, Step(self.now, MERCHANT), asked, 5, script != ""):
            assert before["state"] == State.PAID
            assert (self.order["state"] == State.SHIPPED) is (not parcels.left(self.order))
            assert len(self.facts) - told == (self.order["state"] == State.SHIPPED), (
                "shipped is told with the last parcel"
            )

    @rule(number=st.integers(1, 3))
    def merchant_corrects_a_number(self, number):
        asked = {**SHIPMENT, "delivery_track_no": f"YT{next(self.numbers)}000"}
        sent = len(parcels.all_of(self.order))
        if self.ask(orders.correct, Step(self.now, MERCHANT), number, asked):
            parcel = self.order["parcels"][number - 1]
            assert (parcel["status"], len(self.order["parcels"])) == ("", sent)
            assert self.now - parcel["sent_at"] <= timedelta(days=1)

    @rule(status=st.sampled_from(tracking.STATUSES), hours=st.integers(0, 30), number=st.integers(1, 3))
    def carrier_tells(self, status, hours, number):
        """Late and in any order; the same thing twice changes nothing."""
        if len(self.order.get("parcels", ())) < number:
            return
        parcel = self.order["parcels"][number - 1]
        event = {"event_id": f"c{next(self.numbers)}", "status": status, "place": "", "text": ""}
        asked = {"events": [{**event, "occurred_at": self.now - timedelta(hours=hours)}]}
        where = (parcel["company"], parcel["track_no"], asked, 60)
        change = orders.tracked(self.order, Step(self.now, Known("admin")), *where)
        if self.order["state"] not in deadlines.MOVING:
            assert change is None
            return
        self.write(change)
        newest = max(self.order["parcels"][number - 1]["events"], key=tracking.age)
        assert self.order["parcels"][number - 1]["status"] == newest["status"]
        before = self.order
        self.write(orders.tracked(self.order, Step(self.now, Known("admin")), *where))
        loose = ("version", "timeline")
        assert {name: self.order[name] for name in before if name not in loose} == {
            name: before[name] for name in before if name not in loose
        }

    @rule()
    def buyer_takes_more_time(self):
        extended, before = self.order.get("confirmation_extended"), self.order.get("auto_confirm_at")
        if self.ask(orders.extend, Step(self.now, BUYER)):
            assert not extended
            assert self.order["auto_confirm_at"] == before + timedelta(days=3)

    @rule()
    def buyer_confirms(self):
        disputed = self.order["in_dispute"]
        if self.ask(orders.confirm, Step(self.now, BUYER)):
            assert not disputed

    @rule(voucher=st.integers(0, 3))
    def merchant_redeems(self, voucher):
        """A voucher counts once, and only while its order is paid."""
        before, reason = self.order, ""
        try:
            change = redeeming.redeem(before, Step(self.now, MERCHANT), voucher, "1号台")
        except Refusal as refusal:
            reason = refusal.reason
        known = vouchers.redemption(before, voucher) if before["paid"] else None
        assert (reason == "ALREADY_REDEEMED") is (known is not None)
        if reason:
            return
        assert (before["state"], before["in_dispute"]) == (State.PAID, False)
        self.write(change)

    @rule(voucher=st.integers(1, 2))
    def merchant_takes_a_redemption_back(self, voucher):
        row = vouchers.redemption(self.order, voucher)
        try:
            change = redeeming.reverse(self.order, Step(self.now, MERCHANT), voucher)
        except Refusal:
            return
        assert self.order["state"] == State.PAID
        assert self.now - row["redeemed_at"] < timedelta(minutes=30)
        self.write(change)
        assert vouchers.redemption(self.order, voucher) is None

    @rule(hours=st.sampled_from([0, 1, 73, 241, 366 * 24]))
    def time_passes(self, hours):
        self.now += timedelta(hours=hours)
        if self.due is None or self.due > self.now:
            return
        was, disputed, before = self.order["state"], self.order["in_dispute"], self.due
        self.write(orders.overdue(self.order, self.now))
        assert self.due is None or self.due > before, "a timer that is due does something, once"
        if self.order["state"] == State.COMPLETED:
            assert was == State.SHIPPED or self.order["redemptions"]
            assert not disputed, "a dispute stops auto-completion"

    @precondition(lambda self: getattr(self, "seen", None))
    @rule(data=st.data())
    def an_event_comes_again(self, data):
        decide, payload, actor = data.draw(st.sampled_from(self.seen))
        before = self.order
        assert self.hear(decide, payload, actor).verdict in FINISHED
        assert self.order is before

    # ------------------------------------------------------------------------------------------------------------- invariants

    @invariant()
    def only_the_table_moves(self):
        assert set(getattr(self, "moves", ())) <= {(row.source, row.target) for row in TABLE}

    @invariant()
    def each_end_is_told_once(self):
        told = [fact.type.split(".")[3] for fact in getattr(self, "facts", ())]
        assert all(told.count(name) <= 1 for name in ("paid", "shipped", "completed", "closed"))
        returned = [fact.data["return_id"] for fact in self.facts if fact.type.endswith("goods_returned.v1")]
        assert len(returned) == len(set(returned))
        assert not {"completed", "closed"} <= set(told)

    @invariant()
    def money_is_never_lost(self):
        if not hasattr(self, "order"):
            return
        order = self.order
        counted = [row["amount"] for row in order["refunds"] if row["cause"] in events.OF_THE_PAYMENT]
        assert order["refunded"] == sum(counted)
        assert order["rejected"] == sum(row["amount"] for row in order["rejected_payments"])
        rejected = [fact.data["amount"] for fact in self.facts if fact.type.endswith("payment_rejected.v1")]
        assert sum(rejected) == order["rejected"]
        assert order["paid"] in (0, order["amount"])
        if order["state"] == State.AWAITING_PAYMENT:
            assert order["paid"] == 0
        if order["state"] in (State.PAID, State.SHIPPED):
            assert orders.held(order) > 0

    @invariant()
    def no_unit_comes_back_twice(self):
        """What came back, and what was sent or redeemed, is never more than was bought; what an order says came back it has told."""
        if not hasattr(self, "order"):
            return
        order, told = self.order, 0
        for fact in self.facts:
            is_end = fact.type == "jishi.orders.order.closed.v1" and fact.data["was_paid"]
            if is_end or fact.type == "jishi.orders.order.goods_returned.v1":
                told += sum(line["quantity"] for line in fact.data["lines"])
        rows = [row for back in order["refunds"] for row in back.get("restocked", ())] + order.get("stock_back", [])
        by_hand = sum(row["restocked"] for row in order.get("line_refunds", ()))
        assert (
            told == by_hand + sum(row["quantity"] for row in rows) <= sum(line["quantity"] for line in order["lines"])
        )

    @invariant()
    def a_paid_order_that_closes_gives_everything_back(self):
        for fact in getattr(self, "facts", ()):
            if fact.type == "jishi.orders.order.closed.v1" and fact.data["was_paid"]:
                earlier = [row["amount"] for row in self.order["refunds"] if row["cause"] in events.OF_THE_PAYMENT]
                assert 0 <= fact.data["amount"] <= self.order["paid"]
                assert fact.data["amount"] + sum(earlier) >= self.order["paid"]

    @invariant()
    def the_timer_fits_the_state(self):
        if not hasattr(self, "order"):
            return
        state = self.order["state"]
        assert self.due == deadlines.next_due(self.order)
        if state == State.AWAITING_PAYMENT:
            assert self.due == deadlines.unpaid_until(self.order)
        if state == State.SHIPPED and not self.order["in_dispute"]:
            assert self.due <= self.order["auto_confirm_at"] == deadlines.confirm_at(self.order)
        if state in (State.CLOSED, State.COMPLETED):
            assert self.due is None


OrderMachine.TestCase.settings = settings(max_examples=histories(150), stateful_step_count=30, deadline=None)
TestOrderMachine = OrderMachine.TestCase


# ------------------------------------------------------------------------------------------------------------- shuffled deliveries


def deliver(order, told):
    """Deliver events, letting early ones wait until another was applied; the order when all are finished."""
    waiting = list(told)
    for _ in range(len(told) + 1):
        left = []
        for decide, data, actor in waiting:
            decision = decide(order, data, Step(making.NOW, actor, "e"))
            if decision.verdict is Verdict.APPLY:
                order = making.after(order, decision.change)
            elif decision.verdict is Verdict.EARLY:
                left.append((decide, data, actor))
        waiting = left
    assert not waiting
    return order


STORIES = {
    "refunded in full": [("dispute", 1.0, "refunded_full")],
    "refunded in part": [("dispute", 0.3, "refunded_partial")],
    "withdrawn": [(None, 0, "withdrawn")],
    "two cases": [("dispute", 0.3, "refunded_partial"), ("dispute", 0.2, "refunded_partial")],
}


@pytest.mark.parametrize("story", STORIES)
@given(data=st.data())
def test_any_order_of_delivery_leads_to_the_same_order(story, data):
    order = making.order()
    told = [(take, payment(order), PAYMENTS)]
    for number, (cause, part, outcome) in enumerate(STORIES[story]):
        case_id, amount = f"case_{number}", int(order["amount"] * part)
        told.append((events.case_opened, {"case_id": case_id, "kind": "refund_only"}, DISPUTES))
        if cause:
            told.append((events.refunded, refund(order, f"r{number}", amount, cause, case_id), PAYMENTS))
        told.append((events.case_closed, {"case_id": case_id, "outcome": outcome, "refunded": amount}, DISPUTES))
    expected = deliver(order, told)
    found = deliver(order, data.draw(st.permutations(told + told)))
    loose = ("timeline", "refunds", "cases")
    assert {name: value for name, value in found.items() if name not in loose} == {
        name: value for name, value in expected.items() if name not in loose
    }
    for name, key in (("refunds", "refund_id"), ("cases", "case_id")):
        assert sorted(found[name], key=lambda row: row[key]) == sorted(expected[name], key=lambda row: row[key])


# ----------------------------------------------------------------------------------------------------------------------- the table


def test_a_wrong_command_says_which_state_would_do():
    with pytest.raises(Refusal) as caught:
        orders.ship(making.order(), Step(making.NOW, MERCHANT), SHIPMENT)
    assert caught.value.info["wanted"] == "paid"
    with pytest.raises(Refusal) as caught:
        states.target(making.order(), Move.PAY, BUYER)
    assert caught.value.reason == "PERMISSION_DENIED"


def test_status_codes_of_the_2014_api():
    order = making.order()
    codes = [states.wechat_status({**order, "state": state}) for state in State]
    assert dict(zip(State, codes, strict=True)) == {
        "awaiting_payment": 1,
        "paid": 2,
        "shipped": 3,
        "completed": 5,
        "closed": 4,
    }
    assert states.wechat_status({**order, "in_dispute": True}) == 8


def test_one_row_for_each_source_and_move():
    keys = [(row.source, row.move) for row in TABLE]
    assert len(keys) == len(set(keys))


def test_a_timeline_is_bounded_and_keeps_its_beginning():
    order = making.order()
    for number in range(orders.TIMELINE_KEPT + 20):
        line = orders.entry("refunded", Step(making.NOW, TIMER), str(number))
        order = making.after(order, orders.changed(order, line, {}))
    assert len(order["timeline"]) == orders.TIMELINE_KEPT
    assert order["timeline"][0]["action"] == "placed"
    assert order["timeline"][-1]["note"] == str(orders.TIMELINE_KEPT + 19)


def test_a_whole_payment_that_went_back_is_no_orders_money():
    gone = {"refund_id": "r", "order_id": "", "cause": "paid_twice", "amount": 1, "case_id": ""}
    assert events.refunded(None, gone, Step(making.NOW, PAYMENTS)).verdict is Verdict.STALE


@pytest.mark.parametrize("decide", [events.refunded, events.ran_out, events.case_opened, events.case_closed])
def test_events_of_an_order_that_is_not_here_yet_wait(decide):
    data = {"refund_id": "r", "order_id": "1", "case_id": "c"}
    assert decide(None, data, Step(making.NOW, PAYMENTS)).verdict is Verdict.EARLY
    assert events.all_paid({}, payment(making.order()), Step(making.NOW, PAYMENTS)).verdict is Verdict.EARLY


def test_of_a_shipped_order_refunded_in_full_nothing_returns_to_the_warehouse():
    order = deliver(making.order(), [(take, payment(making.order()), PAYMENTS)])
    unshipped = events.refunded(order, refund(order, "r", order["amount"]), Step(making.NOW, PAYMENTS)).change
    assert unshipped.facts[0].data["lines"]
    assert unshipped.facts[0].data["amount"] == 0
    order = making.after(order, orders.ship(order, Step(making.NOW, MERCHANT), SHIPMENT))
    assert events.refunded(order, refund(order, "r", order["amount"]), Step(making.NOW, PAYMENTS)).change.facts == ()


def test_a_timer_that_still_fires_in_a_dispute_is_only_cleared():
    order = deliver(making.order(), [(take, payment(making.order()), PAYMENTS)])
    order = making.after(order, orders.ship(order, Step(making.NOW, MERCHANT), SHIPMENT))
    order = deliver(order, [(events.case_opened, {"case_id": "c", "kind": "refund_only"}, DISPUTES)])
    change = orders.overdue(order, making.NOW + timedelta(days=20))
    assert (change.set, change.facts, change.due) == ({}, (), None)
