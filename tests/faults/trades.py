"""Errands of a market that are about orders: parcels, virtual goods, vouchers, and every way back."""

from tests.faults.clients import Client
from tests.faults.market import Market

RULING = {
    "liability": "merchant",
    "payer": "platform",
    "reason_code": "NOT_AS_DESCRIBED",
    "reasoning": "实物与描述不符",
}


def parcels(market: Market, name: str) -> None:
    """Two shops in one checkout, each sends two parcels; the buyer confirms."""
    buyer = market.buyer(name)
    checkout = market.bought(buyer, tea=3, shirt=2)
    for order in checkout["orders"]:
        market.parcel(order, "A", lines=[{"line": 1, "quantity": 1}])
        market.parcel(order, "B")
        market.confirmed(buyer, order)


def says_nothing(market: Market, name: str) -> None:
    """Sent, delivered by the carrier, never confirmed: it completes by itself."""
    buyer = market.buyer(name)
    (order,) = market.bought(buyer, tea=1)["orders"]
    market.parcel(order, "-NORMAL")
    market.ends(buyer, order, "completed")


def listens(market: Market, name: str) -> None:
    """Virtual goods beside real ones."""
    buyer = market.buyer(name)
    checkout = market.bought(buyer, song=1, shirt=1)
    for order in checkout["orders"]:
        merchant = market.merchant_of(order["seller"]["shop_id"])
        merchant.post(f"/v1/orders/{order['order_id']}:ship", {"need_delivery": False})
        market.ends(buyer, order, "completed")


def dines(market: Market, name: str) -> None:
    """Three vouchers: one redeemed, one redeemed, taken back and redeemed, one refunded."""
    buyer = market.buyer(name)
    (order,) = market.bought(buyer, dinner=3)["orders"]
    shop, path = market.merchant_of(order["seller"]["shop_id"]), f"/v1/orders/{order['order_id']}"
    codes = [row["code"] for row in buyer.get(f"{path}/vouchers")["vouchers"]]
    shop.post("/v1/vouchers:redeem", {"code": codes[0], "redeemed_by": "1"})
    for verb in ("redeem", "reverse", "redeem"):
        shop.post(f"/v1/vouchers:{verb}", {"code": codes[1]})
    refund = shop.post(f"{path}:refundLine", {"line": 1, "quantity": 1})
    market.ends(buyer, order, "completed")
    market.finds(
        buyer,
        f"{path}/vouchers",
        lambda told: [row["state"] for row in told["vouchers"]] == ["redeemed", "redeemed", "void"],
        "two redeemed, one void",
    )
    refunded(market, buyer, order, refund)


def refunded(market, buyer, order, refund) -> None:
    """Note that a granted refund has reached the buyer, whole."""
    market.finds(
        buyer,
        f"/v1/orders/{order['order_id']}",
        lambda told: (
            (refund["refund_id"], refund["amount"])
            in [(row["refund_id"], row["amount"]) for row in told["order"]["refunds"]]
        ),
        f"refund {refund['refund_id']} of {refund['amount']}",
    )


def cancels(market: Market, name: str) -> None:
    """One order of two is cancelled by its buyer, the other by its shop."""
    buyer = market.buyer(name)
    first, second = market.bought(buyer, tea=1, shirt=1)["orders"]
    buyer.post(f"/v1/orders/{first['order_id']}:cancel", {"reason_code": "changed_mind"})
    shop = market.merchant_of(second["seller"]["shop_id"])
    shop.post(f"/v1/orders/{second['order_id']}:cancel", {"reason_code": "out_of_stock"})
    for order in (first, second):
        market.ends(buyer, order, "closed")


def forgets(market: Market, name: str) -> None:
    """Placed, a code shown, never paid."""
    buyer = market.buyer(name)
    checkout = market.ordered(buyer, tea=1, shirt=1)
    buyer.post("/v1/payments", {"checkout_id": checkout["checkout_id"], "method": "native"})
    for order in checkout["orders"]:
        market.ends(buyer, order, "closed")


def pays_twice(market: Market, name: str) -> None:
    """By QR code and in the app: one of the two goes back."""
    buyer = market.buyer(name)
    checkout = market.ordered(buyer, shirt=1)
    payments = []
    for method in ("native", "jsapi"):
        asked = {"checkout_id": checkout["checkout_id"], "method": method}
        payments.append(buyer.post("/v1/payments", asked)["payment"])
    paid = 0
    for payment in payments:
        market.scan(buyer, payment, copies=1)
        paid += 1
    market.money_is_there(buyer, checkout, paid)
    market.until_paid(buyer, checkout)


def haggles(market: Market, name: str) -> None:
    """The price falls while a code of the old one is shown; the new one is paid."""
    buyer = market.buyer(name)
    checkout = market.ordered(buyer, tea=2)
    (order,) = checkout["orders"]
    buyer.post("/v1/payments", {"checkout_id": checkout["checkout_id"], "method": "native"})
    shop = market.merchant_of(order["seller"]["shop_id"])
    shop.post(f"/v1/orders/{order['order_id']}:changePrice", {"goods_amount": order["goods_amount"] - 100})
    market.paid(buyer, checkout)
    (order,) = market.until_paid(buyer, checkout)["orders"]
    market.parcel(order)
    market.ends(buyer, order, "completed")


def is_given_back(market: Market, name: str) -> None:
    """Part of a line goes back before it is sent, part after it was settled."""
    buyer = market.buyer(name)
    (order,) = market.bought(buyer, shirt=2)["orders"]
    shop, path = market.merchant_of(order["seller"]["shop_id"]), f"/v1/orders/{order['order_id']}:refundLine"
    refunded(market, buyer, order, shop.post(path, {"line": 1, "quantity": 1}))
    market.parcel(order)
    market.confirmed(buyer, order)
    refunded(market, buyer, order, shop.post(path, {"line": 1, "amount": 300}))


def claims(market: Market, name: str) -> None:
    """Sent, claimed, agreed to."""
    buyer = market.buyer(name)
    (order,) = market.bought(buyer, shirt=1)["orders"]
    market.parcel(order)
    case_id = opened(market, buyer, order, 1_200)
    market.merchant_of(order["seller"]["shop_id"]).post(f"/v1/disputes/{case_id}:accept")
    market.finds(buyer, f"/v1/disputes/{case_id}", lambda told: told["case"]["refunded"] == 1_200, "1200 back")


def claims_late(market: Market, name: str) -> None:
    """Claimed when the money is the shop's: held; taken back; claimed again, refused, ruled, paid by the platform."""
    buyer = market.buyer(name)
    (order,) = market.bought(buyer, tea=2)["orders"]
    shop = market.merchant_of(order["seller"]["shop_id"])
    market.parcel(order)
    market.confirmed(buyer, order)
    buyer.post(f"/v1/disputes/{opened(market, buyer, order, 900)}:withdraw")
    calm(buyer, order)
    case_id = opened(market, buyer, order, 1_500)
    path = f"/v1/disputes/{case_id}"
    shop.post(f"{path}:refuse", {"reason": "合格", "evidence": ["质检单"]})
    buyer.post(f"{path}:escalate", {"reason": "请平台介入"})
    market.judge.post(f"{path}:rule", {**RULING, "remedy": "refund_partial", "amount": 700})
    market.finds(buyer, path, lambda told: told["case"]["refunded"] == 700, "700 back")


def opened(market, buyer, order, amount) -> str:
    """A case; it is over in the end."""
    body = {"order_id": order["order_id"], "kind": "refund_only", "amount": amount, "reason": "少一颗扣子"}
    case_id = str(buyer.post("/v1/disputes", body)["case"]["case_id"])
    market.finds(buyer, f"/v1/disputes/{case_id}", lambda told: told["case"]["state"].startswith("closed"), "its end")
    return case_id


def calm(buyer, order) -> None:
    """The order has heard that its case is over."""
    path = f"/v1/orders/{order['order_id']}"
    buyer.until(path, lambda told: told["order"]["cases"] and not told["order"]["in_dispute"], "no dispute any more")


def writes_down(market: Market, name: str) -> None:
    """A merchant's file of all orders."""
    shop = Client(market.merchants[0].api, name, market.journal)
    export_id = shop.post("/v1/order-exports", {"format": "csv"})["export_id"]
    path = f"/v1/order-exports/{export_id}"
    shop.until(path, lambda told: told["export"]["state"] == "completed", "the file of orders")


TRADES = (
    parcels,
    says_nothing,
    listens,
    dines,
    cancels,
    forgets,
    pays_twice,
    haggles,
    is_given_back,
    claims,
    claims_late,
    writes_down,
)
