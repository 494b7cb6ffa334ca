"""Two stories for the theatre: who does what, and what each waits for before the next step."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from services.accounts import model as accounts
from services.catalog.commands import imports
from services.chassis import clock, commit
from services.disputes import commands as disputes
from services.disputes.model import Party
from services.orders import commands as orders
from services.orders.model.states import Known
from services.payments.store.posting import collected
from tests.faults.theatre import Errand, Theatre

FILE = "Handle,Title,Published,Option1 Name,Option1 Value,Variant Inventory Qty,Variant Price\n" + "".join(
    f"cup-{n},杯 {n},true,Title,Default Title,5,9.90\n" for n in range(3)
)


MOVES = {"s1": (("suspend", "抽查"), ("reopen", "")), "s2": (), "s3": ()}


def opens(shop_id: str, account_id: str) -> Callable[[Theatre], Errand]:
    """A shop opens; the first is suspended and opens again: three facts of which the newest must win everywhere."""

    def errand(house: Theatre) -> Errand:
        house.open_shop(shop_id, account_id)
        for verb, reason in MOVES[shop_id]:
            yield None
            rows = house.database("accounts")["shops"]
            commit.change(rows, shop_id, house.cause(), lambda shop, v=verb, r=reason: accounts.step_shop(shop, v, r))

    return errand


def is_known(house: Theatre, shop_id: str) -> bool:
    """Catalog and payments have heard the last of the shop."""
    copy, last = house.catalog.shop(shop_id), 1 + len(MOVES[shop_id])
    if copy is None or copy["sequence"] < last:
        return False
    books = house.payments.shop(shop_id)
    return books is not None and books["told"] == last


GOODS = {"tea": ("s1", 5000), "book": ("s2", 3000), "lamp": ("s3", 8000)}


def sells(house: Theatre) -> Errand:
    """Three products, one a shop, and a product file."""
    for shop_id in ("s1", "s2", "s3"):
        yield lambda shop_id=shop_id: is_known(house, shop_id)
    for name, (shop_id, price) in GOODS.items():
        (house.goods[name],) = house.sell(shop_id, name, (price, 20))
        yield None
    options = imports.Options("s1", "shopify-csv", "reject_failed", 0, dry_run=False, file_name="cups.csv")
    job = imports.create_import(house.catalog, house.cause(), options, iter([FILE.encode()])).document
    yield lambda: house.catalog.imports.find_one({"_id": job["_id"]})["state"] == "completed"


def has_goods(house: Theatre) -> bool:
    """All products are on sale."""
    return len(house.goods) == len(GOODS)


def placed(house: Theatre, buyer: str, *names: str) -> Any:
    """A checkout of one unit of each."""
    return house.place(buyer, *((house.goods[name], 1) for name in names))


def paid(house: Theatre, checkout_id: str) -> Callable[[], bool]:
    """All orders of the checkout are paid."""
    return lambda: all(order["state"] == "paid" for order in house.orders.orders_of(checkout_id))


def refunded(house: Theatre, checkout_id: str, count: int) -> Callable[[], bool]:
    """So many refunds of the checkout are over."""
    over = {"checkout_id": checkout_id, "state": "succeeded"}
    return lambda: house.payments.refunds.count_documents(over) == count


def pays(house: Theatre, checkout_id: str, buyer: str, method: str = "native", times: int = 1) -> None:
    """Paid, and told so many times."""
    success = house.attempt(checkout_id, buyer, method)
    for _ in range(times):
        collected(house.payments, success)


def completes(house: Theatre) -> Errand:
    """Two shops in one checkout, told twice; both ship, one is confirmed."""
    yield lambda: has_goods(house)
    checkout_id, found = placed(house, "b1", "tea", "book")
    yield None
    pays(house, checkout_id, "b1", times=2)
    yield paid(house, checkout_id)
    for order in found:
        house.ship(order["_id"], order["shop_id"])
        yield None
    tea = next(order for order in found if order["shop_id"] == "s1")
    orders.confirm(house.orders, house.cause(), Known("buyer", "b1"), tea["_id"])


def pays_twice(house: Theatre) -> Errand:
    """By code and in the app."""
    yield lambda: has_goods(house)
    checkout_id, _ = placed(house, "b2", "tea")
    successes = [house.attempt(checkout_id, "b2", method) for method in ("native", "jsapi")]
    for success in successes:
        yield None
        collected(house.payments, success)
    yield refunded(house, checkout_id, 1)


def one_closed_before(house: Theatre) -> Errand:
    """Of two orders one is cancelled before the payment comes: its share goes back."""
    yield lambda: has_goods(house)
    checkout_id, found = placed(house, "b3", "tea", "book")
    success = house.attempt(checkout_id, "b3")
    book = next(order for order in found if order["shop_id"] == "s2")
    house.cancel(book)
    yield None
    collected(house.payments, success)
    yield refunded(house, checkout_id, 1)


def cancelled_after(house: Theatre) -> Errand:
    """Paid, then cancelled at once: catalog and payments hear of both in any order."""
    yield lambda: has_goods(house)
    checkout_id, found = placed(house, "b4", "book")
    pays(house, checkout_id, "b4")
    yield paid(house, checkout_id)
    house.cancel(found[0])
    yield refunded(house, checkout_id, 1)


def paid_late(house: Theatre) -> Errand:
    """The money comes when payments knows that the order is closed."""
    yield lambda: has_goods(house)
    checkout_id, found = placed(house, "b5", "tea")
    success = house.attempt(checkout_id, "b5")
    house.cancel(found[0])
    yield lambda: house.payments.payable(checkout_id)["state"] == "closed"
    collected(house.payments, success)
    yield refunded(house, checkout_id, 1)


def disputed_before(house: Theatre) -> Errand:
    """A case while the money is in escrow."""
    yield lambda: has_goods(house)
    checkout_id, found = placed(house, "b6", "book")
    pays(house, checkout_id, "b6")
    yield paid(house, checkout_id)
    house.ship(found[0]["_id"], "s2")
    yield None
    yield from claims(house, found[0], "b6", 1200)


def disputed_after(house: Theatre) -> Errand:
    """A case when the money is the shop's: from its hold."""
    yield lambda: has_goods(house)
    checkout_id, found = placed(house, "b7", "lamp")
    pays(house, checkout_id, "b7")
    yield paid(house, checkout_id)
    house.deposit("s3", 3000)
    house.ship(found[0]["_id"], "s3")
    orders.confirm(house.orders, house.cause(), Known("buyer", "b7"), found[0]["_id"])
    yield lambda: house.payments.payable(checkout_id)["shares"][0]["state"] == "settled"
    yield from claims(house, found[0], "b7", 8000)


def claims(house: Theatre, order: Any, buyer: str, amount: int) -> Errand:
    """The merchant agrees."""
    asked = {"order_id": order["_id"], "kind": "refund_only", "amount": amount, "reason": "坏了"}
    case = disputes.open_case(house.disputes, house, house.cause(), Party("buyer", buyer, buyer), asked).document
    yield None
    shop_id = order["shop_id"]
    disputes.accept(house.disputes, house.cause(), Party("merchant", shop_id, shop_id), case["_id"])
    yield lambda: house.disputes.case(case["_id"])["state"].startswith("closed")


def never_pays(house: Theatre) -> Errand:
    """Closed by its timer half an hour later."""
    yield lambda: has_goods(house)
    placed(house, "b8", "tea")


def broadcasts(house: Theatre) -> Errand:
    """One chunk to thirty followers."""
    yield lambda: house.database("broadcast")["accounts"].find_one({"_id": "a1"})
    house.follow("a1", 30)
    yield None
    house.send("a1")


def dismissed(house: Theatre) -> Errand:
    """A member of the staff goes: every service hears that their tokens are dead."""
    yield None
    rows, now = house.database("accounts")["staff"], clock.wall()
    commit.create(rows, {"_id": "staff_1", "role": "auditor", "name": "海瑞", "active": True}, house.cause())
    until = now + timedelta(days=1)
    commit.change(rows, "staff_1", house.cause(), lambda member: accounts.dismiss(member, now, until))


Story = dict[str, Callable[[Theatre], Errand]]
BEGINNING: Story = {**{f"opens{n}": opens(f"s{n}", f"a{n}") for n in (1, 2, 3)}, "sells": sells}
STORIES: tuple[Story, Story] = (
    {
        **BEGINNING,
        "completes": completes,
        "one_closed_before": one_closed_before,
        "disputed_after": disputed_after,
        "broadcasts": broadcasts,
        "never_pays": never_pays,
    },
    {
        **BEGINNING,
        "pays_twice": pays_twice,
        "cancelled_after": cancelled_after,
        "paid_late": paid_late,
        "disputed_before": disputed_before,
        "dismissed": dismissed,
    },
)
"""Two, so that a play is short: a seed plays one of them."""
