"""What the chapters about orders have in common: products to buy, placing, paying at the channel's cashier."""

from collections.abc import Iterable
from typing import Any, Final

from services.cli.api import Answer, Api
from services.cli.demo.catalog import product
from services.cli.demo.story import Story

ADDRESS: Final = {
    "receiver_name": "王小明",
    "province": "浙江省",
    "city": "杭州市",
    "zone": "西湖区",
    "address": "文三路 1 号 2 幢 301",
    "mobile": "13800000000",
}
Line = dict[str, Any]


class Goods:
    """One product of one SKU that a chapter made for itself."""

    def __init__(self, shop: Api, external_id: str, price: int, quantity: int, *, freight: int = 0) -> None:
        """Create and list it. Price and freight in fen."""
        self.shop, self.price, self.freight = shop, price, freight
        item = product(external_id, f"故事商品 {external_id}", price, quantity, freight=freight)
        result = shop.post("/v1/products:bulkUpsert", {"items": [item]})["results"][0]
        self.product_id = str(result["product_id"])
        self.sku_id = str(self.stock()["sku_id"])

    def stock(self) -> dict[str, Any]:
        """Its SKU as the merchant sees it: on_hand, reserved, available."""
        found: dict[str, Any] = self.shop.get(f"/v1/products/{self.product_id}")["product"]["skus"][0]
        return found

    def line(self, quantity: int = 1) -> Line:
        """A line of a checkout."""
        return {"product_id": self.product_id, "sku_id": self.sku_id, "quantity": quantity}


def place(buyer: Api, lines: Iterable[Line], *, key: str = "") -> dict[str, Any]:
    """Place a checkout; answers it. Raises UnexpectedAnswer."""
    checkout: dict[str, Any] = buyer.post("/v1/checkouts", {"lines": list(lines), "address": ADDRESS}, key=key)[
        "checkout"
    ]
    return checkout


def open_payment(buyer: Api, checkout_id: str, method: str = "native") -> dict[str, Any]:
    """Open a payment of the checkout at the channel; answers it. Raises UnexpectedAnswer."""
    body = {"checkout_id": checkout_id, "method": method}
    payment: dict[str, Any] = buyer.post("/v1/payments", body)["payment"]
    return payment


def pay(buyer: Api, payment: dict[str, Any], **notify: Any) -> Answer:
    """Pay at the channel's cashier. ``notify``: copies, delay_seconds, hold."""
    body: dict[str, Any] = {"outcome": "success", "notify": {"copies": 1, **notify}}
    return buyer.as_caller("").ask(
        "POST", f"{payment['cashier_url']}/pay", body
    )  # a stranger: it gets no token of ours


def release(buyer: Api, payment: dict[str, Any]) -> Answer:
    """Let the channel send the notifications that it was told to hold."""
    return buyer.as_caller("").ask("POST", f"{payment['cashier_url']}/release")


def buy(story: Story, buyer: Api, *lines: Line, method: str = "native") -> dict[str, Any]:
    """Place, pay and wait until every order of the checkout is paid; answers the checkout."""
    checkout = place(buyer, lines)
    pay(buyer, open_payment(buyer, checkout["checkout_id"], method))
    return until_state(story, buyer, checkout["checkout_id"], "paid")


def until_state(story: Story, buyer: Api, checkout_id: str, *states: str) -> dict[str, Any]:
    """Wait until every order of the checkout is in one of ``states``; answers the checkout."""

    def read() -> dict[str, Any]:
        found: dict[str, Any] = buyer.get(f"/v1/checkouts/{checkout_id}")["checkout"]
        return found

    return story.until(
        read,
        lambda found: {order["state"] for order in found["orders"]} <= set(states),
        f"orders to be {' or '.join(states)}",
    )


def order(caller: Api, order_id: str) -> dict[str, Any]:
    """An order as the caller may see it."""
    found: dict[str, Any] = caller.get(f"/v1/orders/{order_id}")["order"]
    return found


def ship(shop: Api, order_id: str) -> None:
    """The merchant ships by 顺丰."""
    shop.post(
        f"/v1/orders/{order_id}:ship", {"delivery_company": "003shunfeng", "delivery_track_no": f"SF{order_id[-12:]}"}
    )


def balance(merchant: Api, shop_id: str) -> dict[str, Any]:
    """A shop's balance as its merchant sees it."""
    found: dict[str, Any] = merchant.get(f"/v1/shops/{shop_id}/balance")["balance"]
    return found


def refunds(buyer: Api, checkout_id: str) -> list[dict[str, Any]]:
    """The refunds of a checkout."""
    found: list[dict[str, Any]] = buyer.get("/v1/refunds", checkout_id=checkout_id)["refunds"]
    return found


def until_refunded(story: Story, buyer: Api, checkout_id: str, wanted: list[tuple[str, int]]) -> None:
    """Wait until exactly these refunds (cause, fen) of the checkout have succeeded."""

    def as_told() -> list[tuple[str, int]]:
        return sorted(
            (row["cause"], row["amount"]) for row in refunds(buyer, checkout_id) if row["state"] == "succeeded"
        )

    story.until(as_told, lambda found: found == sorted(wanted), f"refunds {wanted}")
