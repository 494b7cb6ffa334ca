"""Chapter 6: settlement, and two disputes: one before it, one after."""

from typing import Any, Final

from services.cli.api import Api
from services.cli.demo import trade
from services.cli.demo.story import Story
from services.cli.demo.trade import Goods
from services.cli.world import Merchant

TITLE = "6 disputes"
PRICE: Final = 15_000
DEPOSIT: Final = 100_000
RULING: Final = {
    "liability": "merchant",
    "remedy": "refund_full",
    "payer": "merchant",
    "reason_code": "NOT_AS_DESCRIBED",
    "reasoning": "实物与描述不符，支持买家仅退款",
}


def tell(story: Story) -> None:
    """A shop of its own, so that every fen of its balance is explained."""
    merchant = story.new_shop("讲理杂货")
    shop = story.api.as_caller(merchant.token)
    trade.pay(shop, shop.post(f"/v1/shops/{merchant.shop_id}/deposits", {"amount": DEPOSIT}))
    story.until(
        lambda: shop.get(f"/v1/shops/{merchant.shop_id}/deposit"),
        lambda found: found["deposit"] == DEPOSIT,
        "the deposit to be paid in",
    )
    goods = Goods(shop, "story-lamp", PRICE, 50)
    buyer = story.new_buyer("小莉")
    before_settlement(story, merchant, shop, buyer, goods)
    after_settlement(story, merchant, shop, buyer, goods)


def before_settlement(story: Story, merchant: Merchant, shop: Api, buyer: Api, goods: Goods) -> None:
    """Shipped, not confirmed: the money is still in escrow and goes back from there."""
    order_id = bought(story, shop, buyer, goods)
    ruled(story, shop, buyer, order_id)
    refund = refunded(story, buyer, order_id)
    sources = [(source["account"].rpartition(":")[2], source["amount"]) for source in refund["sources"]]
    story.expect.equal(sources, [("escrow", PRICE)], "the refund's sources before settlement")
    found = trade.balance(shop, merchant.shop_id)
    story.expect.equal((found["available"], found["held"]), (0, 0), "the shop earned nothing")
    story.figure("refund from escrow, fen", refund["amount"])


def after_settlement(story: Story, merchant: Merchant, shop: Api, buyer: Api, goods: Goods) -> None:
    """Confirmed and settled: the money goes back from the shop's hold, the commission's part from its deposit."""
    order_id = bought(story, shop, buyer, goods)
    buyer.post(f"/v1/orders/{order_id}:confirm")
    order = trade.order(shop, order_id)
    commission = order["goods_amount"] * order["commission_bp"] // 10_000
    story.until(
        lambda: trade.balance(shop, merchant.shop_id)["available"],
        lambda available: available == PRICE - commission,
        f"the settlement of {PRICE - commission} fen",
    )
    story.figure("settled to the shop, fen", PRICE - commission)
    case_id = ruled(story, shop, buyer, order_id, held=PRICE)
    refund = refunded(story, buyer, order_id)
    sources = [(source["account"].partition(":")[0], source["amount"]) for source in refund["sources"]]
    story.expect.equal(sum(amount for _, amount in sources), PRICE, f"the refund's sources after settlement: {sources}")
    entries = story.auditor.get("/v1/ledger/entries", ref=case_id)["entries"]
    postings = [posting for entry in entries if entry["kind"] == "hold" for posting in entry["postings"]]
    taken = {posting["account"].rpartition(":")[2]: -posting["amount"] for posting in postings if posting["amount"] < 0}
    story.expect.equal(taken, {"available": PRICE - commission, "deposit": commission}, "what the hold was made of")
    story.until(
        lambda: trade.balance(shop, merchant.shop_id),
        lambda found: (found["available"], found["held"], found["deposit"]) == (0, 0, DEPOSIT - commission),
        "the shop's balance after the ruling",
    )
    story.figure("refund from hold: settled part + deposit, fen", f"{PRICE - commission:,} + {commission}")


def bought(story: Story, shop: Api, buyer: Api, goods: Goods) -> str:
    """One lamp, paid and shipped; answers the order's id."""
    checkout = trade.buy(story, buyer, goods.line())
    order_id = str(checkout["orders"][0]["order_id"])
    trade.ship(shop, order_id)
    return order_id


def ruled(story: Story, shop: Api, buyer: Api, order_id: str, *, held: int = 0) -> str:
    """The buyer claims, the merchant refuses, the buyer escalates, the platform rules for the buyer; answers the case's id.

    ``held``: what the case then holds of the shop's money, once it is settled (fen).
    """
    body = {"order_id": order_id, "kind": "refund_only", "amount": PRICE, "reason": "灯不亮"}
    case_id = str(buyer.post("/v1/disputes", body)["case"]["case_id"])
    story.until(lambda: trade.order(buyer, order_id), lambda found: found["in_dispute"], "the order to be in dispute")
    if held:
        shop_id = trade.order(shop, order_id)["seller"]["shop_id"]
        story.until(
            lambda: trade.balance(shop, shop_id)["held"], lambda found: found == held, "the hold on the shop's balance"
        )
    twice = buyer.ask("POST", "/v1/disputes", body)
    story.expect.true(not twice.fine, "a second case on the same order")
    early = story.arbitrator.ask("POST", f"/v1/disputes/{case_id}:rule", RULING)
    story.expect.refused(early, "WRONG_STATE", "a ruling before the merchant answered")
    shop.post(f"/v1/disputes/{case_id}:refuse", {"reason": "出厂检验合格", "evidence": ["质检单 2026-01"]})
    buyer.post(f"/v1/disputes/{case_id}:escalate", {"reason": "请平台介入"})
    story.arbitrator.post(f"/v1/disputes/{case_id}:rule", RULING)
    story.until(
        lambda: buyer.get(f"/v1/disputes/{case_id}")["case"],
        lambda found: found["state"] == "closed_refund_full" and found["refunded"] == PRICE,
        "the case to close with the money returned",
    )
    return case_id


def refunded(story: Story, buyer: Api, order_id: str) -> dict[str, Any]:
    """The order shows the refund and is out of dispute; answers the refund as payments tells it."""
    story.until(
        lambda: trade.order(buyer, order_id),
        lambda found: (found["refund_state"], found["refunded"], found["in_dispute"]) == ("refunded", PRICE, False),
        "the order to show the refund",
    )
    rows = buyer.get("/v1/refunds", order_id=order_id)["refunds"]
    story.expect.equal(
        [(row["cause"], row["state"]) for row in rows], [("dispute", "succeeded")], "one refund by dispute"
    )
    refund: dict[str, Any] = rows[0]
    return refund
