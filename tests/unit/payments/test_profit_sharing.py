"""Profit sharing: a part of a marked order is frozen, shared once a number, unfrozen in the end, and a refund takes it first."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from services.chassis.commit import Cause
from services.chassis.errors import Refusal
from services.chassis.once import Result
from services.payments.commands import sharing as commands
from services.payments.queries import sharing as queries
from tests.unit.payments.ledger_house import OTHER, SHOP

OPENED, RULED, ENDED = (f"jishi.disputes.case.{what}.v1" for what in ("opened", "ruled", "closed"))


def mark(books, trade, shop_id=SHOP, key="m"):
    asked = {"shop_id": shop_id, "checkout_id": trade[0], "order_id": trade[1]}
    return commands.mark(books.store, Cause(f"cmd:{key}", "h"), asked)


def settled(books, amount=1000) -> tuple[str, str]:
    """A marked order that is settled: 2 % commission, 30 % frozen."""
    trade = books.paid(amount)
    mark(books, trade, key=trade[1])
    assert books.complete(*trade) is Result.APPLIED
    return trade


def share(books, order_id, *amounts, number="n1", unfreeze=False, account=OTHER):
    receivers = [{"account": account, "amount": amount, "description": "推广费"} for amount in amounts]
    asked = {"shop_id": SHOP, "order_id": order_id, "out_order_no": number, "receivers": receivers}
    cause = Cause(f"cmd:{number}:{amounts}", "h")
    return commands.share_profit(books.store, cause, {**asked, "unfreeze_unsplit": unfreeze})


def give_back(books, order_id, amount, number="r1", shop_id=OTHER, shared="n1"):
    asked = {"shop_id": shop_id, "order_id": order_id, "out_order_no": shared, "out_return_no": number}
    return commands.return_share(books.store, Cause(f"cmd:{number}:{amount}", "h"), {**asked, "amount": amount})


def test_a_marked_order_keeps_thirty_percent_and_shares_it_once_a_number(books):
    trade = settled(books)
    assert books.purse() == {"available": 680}
    found, replayed = share(books, trade[1], 200)
    assert (replayed, found["frozen"]) == (False, 100)
    assert share(books, trade[1], 200)[1] is True, "the same number and list is the same sharing"
    with pytest.raises(Refusal, match="分账接收方与原请求不一致"):
        share(books, trade[1], 201)
    with pytest.raises(Refusal, match="100 fen"):
        share(books, trade[1], 101, number="n2")
    share(books, trade[1], 60, number="n2", unfreeze=True)
    assert books.purse() == {"available": 720}
    books.fold(OTHER)
    assert books.shop(OTHER)["available"] == 260
    with pytest.raises(Refusal, match="WRONG_STATE"):
        share(books, trade[1], 1, number="n3")
    first = queries.after_sharing(books.store.sharing(trade[1]), "n1")
    assert (first["frozen"], first["state"], len(first["shares"])) == (100, "open", 1)


def test_sharings_at_once_never_share_more_than_is_frozen(books):
    trade = settled(books)

    def one(number):
        try:
            return sum(
                part["amount"]
                for part in share(books, trade[1], 70, number=f"n{number}")[0]["shares"][-1:][0]["receivers"]
            )
        except Refusal as refusal:
            return 0 if refusal.reason == "INSUFFICIENT_FUNDS" else -1000

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(one, range(8))) == 280
    assert books.store.sharing(trade[1])["frozen"] == 20
    assert books.purse() == {"available": 680}


def test_what_is_frozen_is_unfrozen_by_the_shop_or_after_thirty_days(books):
    first, second = settled(books), settled(books)
    assert books.purse() == {"available": 1360}
    for again in (False, True):
        assert commands.unfreeze(books.store, Cause("cmd:u", "h"), SHOP, first[1]) is again
    assert commands.unfreeze(books.store, Cause("cmd:another", "h"), SHOP, first[1]) is False, (
        "nothing left is no error"
    )
    assert books.purse() == {"available": 1660}
    books.pass_time(days=29)
    assert books.fire("sharings") == 0
    books.pass_time(days=2)
    assert books.fire("sharings") == 1
    assert books.purse() == {"available": 1960}
    assert books.store.sharing(second[1])["state"] == "finished"


def test_a_refund_takes_the_frozen_part_first_and_then_the_shop_s_own(books):
    trade = settled(books)
    share(books, trade[1], 100)
    case = {"order_id": trade[1], "case_id": "case_1"}
    books.hear(OPENED, trade[0], **case, claim=150, buyer_id="buyer", kind="refund_only")
    assert books.purse() == {"available": 680, "held": 150}
    assert books.store.sharing(trade[1])["frozen"] == 50
    books.hear(RULED, trade[0], **case, refund=400, payer="merchant", decided_by="platform")
    (refund,) = books.store.refunds_of({"order_id": trade[1]})
    drawn = [(one["account"], one["amount"]) for one in refund["sources"]]
    assert drawn == [("hold", 150), ("frozen", 50), ("available", 200)]
    books.hear(ENDED, trade[0], **case)
    assert books.purse() == {"available": 480}


def test_a_receiver_gives_back_what_it_got_and_no_more(books):
    trade = settled(books)
    share(books, trade[1], 200)
    assert give_back(books, trade[1], 150) is False
    assert give_back(books, trade[1], 150) is True
    with pytest.raises(Refusal, match="another return"):
        give_back(books, trade[1], 20)
    with pytest.raises(Refusal, match="1 to 50 fen"):
        give_back(books, trade[1], 51, "r2")
    assert books.purse() == {"available": 830}
    with pytest.raises(Refusal, match="NOT_FOUND"):
        give_back(books, trade[1], 1, "r3", SHOP)


def test_who_may_mark_and_who_may_get(books):
    trade = books.paid(1000)
    with pytest.raises(Refusal, match="NOT_FOUND"):
        mark(books, trade, OTHER)
    told, _ = mark(books, trade)
    assert (told["state"], told["most_bp"]) == ("marked", 3000)
    books.complete(*trade)
    plain = books.paid(500)
    books.complete(*plain)
    with pytest.raises(Refusal, match="before it completes"):
        mark(books, plain, key="late")
    with pytest.raises(Refusal, match="NOT_FOUND"):
        queries.of_order(books.store, OTHER, trade[1])
    for account, amounts, field in (
        ("shop_of_nobody", (5,), "receivers[0].account"),
        (SHOP, (5,), "receivers[0].account"),
        (OTHER, (5, 6), "receivers[1].account"),
        (OTHER, (0,), "receivers[0].amount"),
        (OTHER, (), "receivers"),
    ):
        with pytest.raises(Refusal) as refused:
            share(books, trade[1], *amounts, account=account)
        assert refused.value.violations[0].field == field


def test_an_order_in_dispute_settles_into_the_hold_and_freezes_nothing(books):
    trade = books.paid(1000)
    mark(books, trade)
    case = {"order_id": trade[1], "case_id": "case_1"}
    books.hear(OPENED, trade[0], **case, claim=150, buyer_id="buyer", kind="refund_only")
    books.complete(*trade)
    assert books.purse() == {"held": 980}
    assert books.store.sharing(trade[1]) is None
