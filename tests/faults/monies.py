"""Errands of a market that are about money beside orders: the bank, red packets, wallets, profit sharing, deposits, reconciliation."""

from services.chassis import clock
from services.chassis.calendar import day
from tests.backends.processes import wait_until
from tests.faults.clients import Client, patiently
from tests.faults.market import Market

BANK = {"holder": "茶铺", "number": "6222000000001234", "bank": "招商银行"}


def withdraws(market: Market, name: str) -> None:
    """A shop's money goes to its bank, in two parts."""
    shop, path = own(market, name, 0)
    for amount in (700, 300):
        made = shop.post(f"{path}/withdrawals", {"amount": amount, "account": BANK})["withdrawal"]
        market.finds(
            shop,
            f"{path}/withdrawals/{made['withdrawal_id']}",
            lambda told, amount=amount: (told["withdrawal"]["state"], told["withdrawal"]["amount"]) == ("paid", amount),
            f"{amount} at the bank",
        )


def own(market: Market, name: str, number: int) -> tuple[Client, str]:
    """A merchant who acts in an errand of their own, and the path of their shop."""
    return Client(market.merchants[number].api, name, market.journal), f"/v1/shops/{market.town.shops[number].shop_id}"


def gives_away(market: Market, name: str) -> None:
    """A shop's packet, of which two people take a part; one of them gives hers on and nobody takes it: it comes back."""
    shop, path = own(market, name, 0)
    gift = {"kind": "lucky", "total": 300, "count": 3, "greeting": "恭喜发财"}
    packet = f"/v1/red-packets/{shop.post(f'{path}/red-packets', gift)['packet']['packet_id']}"
    got = []
    for number in range(2):
        buyer = market.buyer(f"{name}-{number}")
        got.append(buyer.post(f"{packet}:claim")["amount"])
        has(market, buyer, got[-1])
    own_gift = {"kind": "normal", "total": got[-1], "count": 1, "greeting": "转赠"}
    given = buyer.post("/v1/red-packets", own_gift)["packet"]["packet_id"]
    market.finds(buyer, f"/v1/red-packets/{given}", lambda told: told["packet"]["returned"] == got[-1], "it is back")
    market.finds(
        shop,
        packet,
        lambda told: (
            (sorted(row["amount"] for row in told["packet"]["claims"]), told["packet"]["returned"])
            == (sorted(got), 300 - sum(got))
        ),
        f"claims {got}",
    )


def has(market: Market, buyer: Client, amount: int) -> None:
    """Note what is in the buyer's wallet in the end."""
    market.finds(buyer, "/v1/wallet", lambda told: told["wallet"]["balance"] == amount, f"{amount} in the wallet")


def pays_by_wallet(market: Market, name: str) -> None:
    """Into the wallet, out of it for two orders; one is cancelled, a part of the other goes back."""
    buyer = market.buyer(name)
    topup = buyer.post("/v1/wallet/topups", {"amount": 20_000, "method": "native"})["topup"]
    market.scan(buyer, topup)
    buyer.until("/v1/wallet", lambda told: told["wallet"]["balance"] == 20_000, "the money")
    spent = []
    for label in ("tea", "shirt"):
        checkout = market.ordered(buyer, **{label: 1})
        asked = {"checkout_id": checkout["checkout_id"], "method": "wallet"}
        buyer.post("/v1/payments", asked)
        spent.append(market.until_paid(buyer, checkout)["orders"][0])
    tea, shirt = spent
    buyer.post(f"/v1/orders/{tea['order_id']}:cancel")
    shop = market.merchant_of(shirt["seller"]["shop_id"])
    shop.post(f"/v1/orders/{shirt['order_id']}:refundLine", {"line": 1, "amount": 500})
    market.parcel(shirt)
    market.ends(buyer, shirt, "completed")
    has(market, buyer, 20_000 - shirt["amount"] + 500)


def scans(market: Market, name: str) -> None:
    """A till scans the buyer's code."""
    buyer = market.buyer(name)
    checkout = market.ordered(buyer, song=1)
    shown = patiently(buyer.api.as_caller(""), "POST", f"{market.channel}/paycodes", body={"payer": name}).body
    asked = {"checkout_id": checkout["checkout_id"], "method": "micropay", "auth_code": shown["auth_code"]}
    buyer.post("/v1/payments", asked)
    market.until_paid(buyer, checkout)
    market.money_is_there(buyer, checkout, 1)


def shares(market: Market, name: str) -> None:
    """Part of what an order gave is for the other shop, some of it goes back; the rest is unfrozen by time."""
    buyer = market.buyer(name)
    checkout = market.bought(buyer, tea=2)
    (order,) = checkout["orders"]
    shop, path = own(market, name, 0)
    friend, friends = own(market, f"{name}-friend", 1)
    asked = {"checkout_id": checkout["checkout_id"], "order_id": order["order_id"]}
    shop.post(f"{path}/profit-sharings", asked)
    market.parcel(order)
    market.confirmed(buyer, order)
    door = f"{path}/profit-sharings/{order['order_id']}"
    wait_until(lambda: shop.api.ask("GET", door).fine, "the settlement")
    parts = [{"account": market.town.shops[1].shop_id, "amount": 100, "description": "推广费"}]
    shop.post(f"{door}:share", {"out_order_no": "S1", "receivers": parts})
    back = {"out_order_no": "S1", "out_return_no": "R1", "amount": 40}
    friend.post(f"{friends}/profit-sharings/{order['order_id']}:return", back)
    market.finds(
        shop,
        door,
        lambda told: (
            ([row["out_order_no"] for row in told["sharing"]["shares"]], told["sharing"]["frozen"]) == (["S1"], 0)
        ),
        "S1 shared, nothing frozen",
    )


def secures(market: Market, name: str) -> None:
    """A deposit is paid, more is required, and it is taken from available when its time is over."""
    shop, path = own(market, name, 0)
    shop.post(f"{path}/deposits", {"amount": 400})
    paid = sum(line.given["body"]["amount"] for line in market.journal.lines if line.path == f"{path}/deposits")
    asked = {"settlement_days": 0, "deposit_required": paid + 300, "reason": "风控"}
    market.admin.post(f"{path}/money-terms", asked)
    market.finds(shop, f"{path}/deposit", lambda told: told["shortfall"] == 0, "nothing is missing")


def reconciles(market: Market, name: str) -> None:
    """The channel's present day, in the middle of it."""
    today = day(clock.wall())
    admin = Client(market.admin.api, name, market.journal)
    admin.post("/v1/reconciliations", {"date": today})
    path = f"/v1/reconciliations/{today}"
    admin.until(path, lambda told: told["reconciliation"]["state"] == "done", "the reconciliation")


MONIES = (withdraws, gives_away, pays_by_wallet, scans, shares, secures, reconciles)
