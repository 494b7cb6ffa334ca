"""Chapter 5: orders and their payments, the ordinary ones and the unlucky ones."""

from typing import Final

from services.chassis import clock
from services.cli.api import Api
from services.cli.demo import trade
from services.cli.demo.story import Story
from services.cli.demo.trade import Goods

TITLE = "5 orders"
PAY_WINDOW_AND_CLOSE_S: Final = 1800 + 60 + 5
FORGED: Final = {
    "Wechatpay-Nonce": "forged",
    "Wechatpay-Signature": "Zm9yZ2Vk",
    "Wechatpay-Serial": "0000",
}


def tell(story: Story) -> None:
    """Paid, repeated, late, forged, unpaid, paid too late, paid twice, paid for less than everything."""
    tea = Goods(story.shop(0), "story-tea", 12_800, 200, freight=800)
    cup = Goods(story.shop(0), "story-cup", 3_900, 200)
    shirt = Goods(story.shop(1), "story-shirt", 9_900, 200)
    two_shops(story, tea, cup, shirt)
    late_notice(story, cup)
    forged_notice(story, cup)
    never_paid(story, tea)
    paid_after_close(story, shirt)
    paid_twice(story, cup)
    child_closed_before_payment(story, tea, shirt)
    template_messages(story)


def two_shops(story: Story, tea: Goods, cup: Goods, shirt: Goods) -> None:
    """Three lines of two shops, paid once, told twice; shipped and confirmed."""
    expect, buyer = story.expect, story.buyer(0)
    lines = [tea.line(2), cup.line(), shirt.line()]
    checkout = trade.place(buyer, lines, key="story-two-shops")
    again = trade.place(buyer, lines, key="story-two-shops")
    expect.equal(again["checkout_id"], checkout["checkout_id"], "the same request is the same checkout")
    goods = 2 * tea.price + cup.price + shirt.price
    expect.equal(checkout["amount"], goods + tea.freight, "goods and freight of the checkout")
    expect.equal(len(checkout["orders"]), 2, "one order a shop")
    expect.true(all(each["seller"]["identity"]["name"] for each in checkout["orders"]), "the sellers' legal identity")
    expect.equal(tea.stock()["reserved"], 2, "stock held for the checkout")
    payment = trade.open_payment(buyer, checkout["checkout_id"])
    trade.pay(buyer, payment, copies=2)
    trade.until_state(story, buyer, checkout["checkout_id"], "paid")
    story.until(tea.stock, lambda sku: (sku["on_hand"], sku["reserved"]) == (198, 0), "the tea to be sold")
    stranger = story.buyer(1).ask("GET", f"/v1/checkouts/{checkout['checkout_id']}")
    expect.refused(stranger, "NOT_FOUND", "another buyer's checkout")
    entries = story.admin.get("/v1/ledger/entries", ref=checkout["checkout_id"])["entries"]
    expect.equal([entry["kind"] for entry in entries], ["collect"], "a payment that was told twice is collected once")
    expect.equal(trade.refunds(buyer, checkout["checkout_id"]), [], "and nothing of it goes back")
    for order in checkout["orders"]:
        complete(story, buyer, order["order_id"], order["seller"]["shop_id"])
    story.figure("one checkout of two shops, fen", checkout["amount"])


def complete(story: Story, buyer: Api, order_id: str, shop_id: str) -> None:
    """The merchant ships, the buyer confirms."""
    number = next(i for i, shop in enumerate(story.shops) if shop.shop_id == shop_id)
    other = story.shop(1 - number).ask("POST", f"/v1/orders/{order_id}:ship", {"need_delivery": False})
    story.expect.refused(other, "NOT_FOUND", "another shop's order shipped")
    trade.ship(story.shop(number), order_id)
    story.expect.equal(trade.order(buyer, order_id)["state"], "shipped", "a shipped order")
    buyer.post(f"/v1/orders/{order_id}:confirm")
    story.expect.equal(trade.order(buyer, order_id)["state"], "completed", "a confirmed order")


def late_notice(story: Story, cup: Goods) -> None:
    """The notification is held back: the order waits; the buyer's query pays it, the late notification changes nothing."""
    buyer = story.buyer(1)
    checkout = trade.place(buyer, [cup.line()])
    payment = trade.open_payment(buyer, checkout["checkout_id"], "jsapi")
    trade.pay(buyer, payment, hold=True)
    waiting = buyer.get(f"/v1/checkouts/{checkout['checkout_id']}")["checkout"]["state"]
    story.expect.equal(waiting, "awaiting_payment", "paid at the channel, not told yet")
    asked = buyer.post(f"/v1/payments/{payment['payment_id']}:query")["payment"]
    story.expect.equal(asked["state"], "paid", "a query finds the payment")
    trade.until_state(story, buyer, checkout["checkout_id"], "paid")
    trade.release(buyer, payment)
    story.expect.equal(trade.refunds(buyer, checkout["checkout_id"]), [], "the late notification changes nothing")


def forged_notice(story: Story, cup: Goods) -> None:
    """Somebody says that an order was paid, without the channel's signature."""
    buyer = story.buyer(2)
    checkout = trade.place(buyer, [cup.line()])
    payment = trade.open_payment(buyer, checkout["checkout_id"])
    wall_s = clock.wall_ms() // 1000
    told = {"id": "forged", "event_type": "TRANSACTION.SUCCESS", "resource": {"out_trade_no": payment["out_trade_no"]}}
    answer = story.api.ask(
        "POST", "/v1/channel/notifications", told, headers={**FORGED, "Wechatpay-Timestamp": str(wall_s)}
    )
    story.expect.equal(answer.status, 401, f"a forged notification is refused: {answer.body}")
    state = buyer.get(f"/v1/checkouts/{checkout['checkout_id']}")["checkout"]["state"]
    story.expect.equal(state, "awaiting_payment", "a forged notification pays nothing")
    order_id = checkout["orders"][0]["order_id"]
    buyer.post(f"/v1/orders/{order_id}:cancel")
    story.expect.equal(trade.order(buyer, order_id)["state"], "closed", "the buyer cancels what was not paid")


def never_paid(story: Story, tea: Goods) -> None:
    """Half an hour and a minute later the order closes by itself and its stock comes back."""
    buyer = story.buyer(1)
    before = tea.stock()
    checkout = trade.place(buyer, [tea.line(3)])
    story.expect.equal(tea.stock()["available"], before["available"] - 3, "stock held while unpaid")
    story.advance(seconds=PAY_WINDOW_AND_CLOSE_S)
    trade.until_state(story, buyer, checkout["checkout_id"], "closed")
    closed = trade.order(buyer, checkout["orders"][0]["order_id"])
    story.expect.equal(closed["close_reason"], "timeout", "why it closed")
    story.until(tea.stock, lambda sku: sku["available"] == before["available"], "the stock to come back")


def paid_after_close(story: Story, shirt: Goods) -> None:
    """The buyer pays, the channel tells only after the order has closed: the money goes back by itself."""
    buyer = story.buyer(2)
    checkout = trade.place(buyer, [shirt.line()])
    payment = trade.open_payment(buyer, checkout["checkout_id"])
    story.advance(seconds=PAY_WINDOW_AND_CLOSE_S)
    trade.until_state(story, buyer, checkout["checkout_id"], "closed")
    trade.pay(buyer, payment)
    trade.until_refunded(story, buyer, checkout["checkout_id"], [("late", checkout["amount"])])
    order = trade.order(buyer, checkout["orders"][0]["order_id"])
    story.expect.equal(order["state"], "closed", "an order that closed before its payment came")
    story.figure("late payment refunded, fen", checkout["amount"])


def paid_twice(story: Story, cup: Goods) -> None:
    """QR code and jsapi are both paid: one of the two goes back."""
    buyer = story.buyer(0)
    checkout = trade.place(buyer, [cup.line(2)])
    by_code = trade.open_payment(buyer, checkout["checkout_id"], "native")
    in_app = trade.open_payment(buyer, checkout["checkout_id"], "jsapi")
    for payment in (by_code, in_app):
        trade.pay(buyer, payment, hold=True)
    for payment in (by_code, in_app):
        trade.release(buyer, payment)
    trade.until_state(story, buyer, checkout["checkout_id"], "paid")
    trade.until_refunded(story, buyer, checkout["checkout_id"], [("paid_twice", checkout["amount"])])
    story.figure("second payment of one order refunded, fen", checkout["amount"])


def child_closed_before_payment(story: Story, tea: Goods, shirt: Goods) -> None:
    """Of two orders in one checkout the buyer cancels one, then pays: only its share goes back."""
    buyer = story.buyer(1)
    checkout = trade.place(buyer, [tea.line(), shirt.line()])
    payment = trade.open_payment(buyer, checkout["checkout_id"])
    children = {order["seller"]["shop_id"]: order for order in checkout["orders"]}
    gone, kept = (children[story.shops[number].shop_id] for number in (1, 0))
    buyer.post(f"/v1/orders/{gone['order_id']}:cancel")
    trade.pay(buyer, payment)
    story.until(
        lambda: trade.order(buyer, kept["order_id"]),
        lambda found: found["state"] == "paid",
        "the other order to be paid",
    )
    trade.until_refunded(story, buyer, checkout["checkout_id"], [("rejected", gone["amount"])])
    story.expect.equal(trade.order(buyer, gone["order_id"])["state"], "closed", "the cancelled order stays closed")
    story.figure("share of a cancelled order refunded, fen", gone["amount"])


def template_messages(story: Story) -> None:
    """The buyer is told of payment and shipping in the account's inbox."""
    account_id = story.shops[0].account_id
    openid = story.buyers[0].openids[account_id]

    def kinds() -> list[str]:
        found = story.buyer(0).get("/v1/inbox", openid=openid, account_id=account_id, page_size=50)
        return [message["kind"] for message in found["messages"]]

    story.until(kinds, lambda found: found.count("template") >= 2, "template messages of payment and shipping")
