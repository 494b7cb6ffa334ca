"""What a shop and a buyer have beside orders, in any order and however often: red packets, wallets, deposits; part of the money's machine."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from services.chassis.decisions import Change
from services.chassis.errors import Refusal
from services.payments.model import deposits, ledger, packets, payable, wallet
from services.payments.model.ledger import Entry, Posting
from services.payments.model.payable import Success
from services.payments.model.plan import Books, Credit, Plan, Row
from tests.unit.payments import oracles
from tests.unit.payments.books import SHOP, TOP_UP, MovedError
from tests.unit.payments.test_any_history import Trade

BUYER = "buyer"
PACKET = packets.Limits(5, 1, 20_000, timedelta(days=1))


class Pockets(Trade):
    """Packets, wallets and the deposit of the shop."""

    def _shop_does(self, plan_of, shop=SHOP) -> Plan | None:
        """Write what the shop asks for, twice: the second time nothing is added. None: it was refused, and nothing moved."""
        books = self.world.books(shop=shop)
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
    @rule(data=st.data(), who=st.sampled_from(["u1", "u2", "u3", "u4"]), hours=st.sampled_from([0, 0, 0, 24]))
    def somebody_claims(self, data, who, hours):
        """Perhaps too late."""
        self.world.now += timedelta(hours=hours)
        packet = data.draw(st.sampled_from(self.world.of(packets.ROWS)))
        if packets.claim_of(packet, who) is None:
            known = self.world.rows.get(("wallets", who))
            done = self._shop_does(lambda _: packets.claimed(packet, known, who, self.now))
            assert done is None or self.now < packet["expires_at"]

    @rule(total=st.integers(1, 600))
    def the_buyer_gives_a_packet(self, total):
        row = {"_id": f"pkt_{len(self.world.of(packets.ROWS))}", "kind": "normal", "count": 2, "greeting": ""}
        row["total"], purse = total * 2, self.world.rows.get(("wallets", BUYER))
        self._shop_does(lambda _: packets.given(purse, BUYER, row, PACKET, self.now, lambda most: total % most))

    @precondition(lambda self: self.world.of(packets.ROWS))
    @rule(data=st.data(), hours=st.sampled_from([0, 25]))
    def a_packet_expires(self, data, hours):
        packet, when = data.draw(st.sampled_from(self.world.of(packets.ROWS))), self.now + timedelta(hours=hours)
        givers = self.world.rows.get(("wallets", packet.get("giver", "")))
        plan = packets.expired(packet, when, givers)
        if isinstance(plan, Plan):
            assert when >= packet["expires_at"]
            account = ledger.wallet(packet["giver"]) if "giver" in packet else ledger.available(packet["shop_id"])
            assert oracles.moves(plan, "packet_back")[account] == packet["left"], "to who gave it"
        self._beside(plan)

    # --------------------------------------------------------------------------------------------------------- wallets

    @rule(amount=st.integers(1, 3000))
    def the_wallet_is_topped_up(self, amount):
        number = f"t_{len(self.topped_up)}"
        row = {**wallet.topup(number, BUYER, amount, "native", 10**6), "version": 1}
        change, entry = wallet.topped_up(row, Success(number, f"x{number}", amount, "CNY"), self.now)
        assert change.set["state"] == "paid"
        self.topped_up[f"x{number}"] = amount
        known = self.world.rows.get(("wallets", BUYER))
        empty = {"_id": BUYER, "currency": "CNY", "balance": amount}
        into = Row("wallets", known, Change(inc={"balance": amount})) if known else Row("wallets", empty)
        self._beside(Plan(entries=(entry,), rows=(into,)))

    @rule()
    def the_buyer_pays_by_wallet(self):
        found, purse = self.world.payable, self.world.rows.get(("wallets", BUYER))
        price, is_open = sum(self.prices.values()), set(self.orders.values()) == {"waiting"}
        if purse is None or purse["balance"] < price or not is_open or found["amount"] != price:
            return
        try:
            change, plan = wallet.spend(
                found, payable.attempt(f"w_{len(found['payments'])}", "wallet", price), self.now
            )
        except Refusal:
            return
        spent = Row("wallets", purse, Change(inc={"balance": -price}))
        self.world.write(replace(plan, payable=change, rows=(spent,)), Books(found))
        self.paid_by_wallet += 1
        self._hear()

    def taken_by_the_channel(self):
        return super().taken_by_the_channel() | self.topped_up

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
        change = deposits.terms_set(self.world.shop, asked, 10**6, self.now, TOP_UP)
        self.world.write(Plan(shop=change), self.world.books())

    @rule(days=st.sampled_from([0, 4]))
    def the_time_to_top_up_is_over(self, days):
        when, before = self.now + timedelta(days=days), self.world.purse()
        by, required = self.world.shop.get("top_up_by"), self.world.shop.get("deposit_required", 0)
        done = self._shop_does(lambda books: deposits.due(books.shop, books.credits, when))
        if done is None:
            return
        assert by <= when
        free = max(0, before.available - before.receivable)
        taken = min(max(0, required - before.deposit), free)
        after = self.world.purse()
        assert (after.deposit, after.available) == (before.deposit + taken, free - taken)
        overdue = required > after.deposit
        assert (self.world.shop.get("deposit_overdue", False), "top_up_by" in self.world.shop) == (overdue, overdue)

    @rule(amount=st.integers(1, 500))
    def some_of_the_deposit_is_asked_back(self, amount):
        number = f"release:{len(self.world.entries)}"
        done = self._shop_does(lambda books: deposits.released(books.shop, books.credits, amount, number))
        assert done is None or self.world.shop["deposit"] >= self.world.shop.get("deposit_required", 0)
