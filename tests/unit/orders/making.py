"""Orders out of nothing, for the tests of their rules."""

from datetime import UTC, datetime, timedelta

from services.chassis import regions
from services.orders.model import checkout
from services.orders.model.checkout import Frozen, Terms

NOW = datetime(2026, 1, 5, 2, 0, tzinfo=UTC)
BUYER = "usr_1"
ADDRESS = {
    "receiver_name": "张三",
    "province": "广东省",
    "city": "广州市",
    "zone": "天河区",
    "address": "华景路一号",
    "mobile": "13800138000",
}
TERMS = Terms(
    pay_window=timedelta(minutes=30),
    close_slack=timedelta(seconds=60),
    placing_patience=timedelta(seconds=60),
    ship_within=timedelta(hours=72),
    presale_grace=timedelta(days=3),
    auto_confirm=timedelta(days=10),
    commission_bp=200,
    commission_policy="commission_bp@2014-05-29",
    lines=50,
    quantity=999,
    text_length=200,
    notes_length=500,
    vouchers=100,
    versions=("pay_window@2014-05-29",),
    regions=regions.load(),
    times={
        "auto_confirm_virtual_s": 2 * 86_400,
        "delivered_confirm_s": 7 * 86_400,
        "undelivered_s": 30 * 86_400,
        "extension_s": 3 * 86_400,
        "correction_s": 86_400,
        "voucher_valid_s": 365 * 86_400,
        "reversal_s": 1800,
    },
)


def asked(*lines, **changed):
    found = [{"product_id": product, "sku_id": sku, "quantity": count} for product, sku, count in lines]
    return {
        "lines": found or [{"product_id": "p1", "sku_id": "s1", "quantity": 2}],
        "address": ADDRESS,
        "notes": "",
        **changed,
    }


def reserved(product="p1", sku="s1", quantity=2, shop="shop_1", price=1999, freight=500, currency="CNY"):
    """A line as catalog freezes it."""
    return {
        "product_id": product,
        "sku_id": sku,
        "quantity": quantity,
        "shop_id": shop,
        "name": f"商品{product}",
        "image": "https://img.example/1.jpg",
        "sku_text": "红色 / M",
        "price": price,
        "original_price": price + 100,
        "product_version": 3,
        "currency": currency,
        "freight_kind": "flat" if freight else "free",
        "freight_fee": freight,
        "merchant_sku": f"M-{sku}",
        "weight_g": 100,
    }


def shop(shop_id="shop_1", state="open"):
    """A shop as accounts describes it."""
    identity = {"name": "某某商贸有限公司", "registration_number": "91440000", "address": "广州", "contact": "020"}
    return {
        "shop_id": shop_id,
        "account_id": f"acc_of_{shop_id}",
        "name": f"店{shop_id}",
        "state": state,
        "currency": "CNY",
        "identity": identity,
    }


def frozen(*lines, states=None):
    lines = lines or (reserved(),)
    shops = {line["shop_id"]: shop(line["shop_id"], (states or {}).get(line["shop_id"], "open")) for line in lines}
    return Frozen(lines, shops, {each["account_id"]: f"o-{each['account_id']}" for each in shops.values()})


def children(*lines, discounts=()):
    """The child orders of a checkout that was just placed."""
    placing = checkout.opened("chk_1", BUYER, asked(), TERMS, NOW)
    found = frozen(*lines)
    order_ids = [str(10**18 + n) for n, _ in enumerate(found.shops)]
    return checkout.children(placing, found, TERMS, order_ids, NOW, discounts)


def order(*lines):
    """One order that waits for payment."""
    return {**children(*lines)[0], "version": 1}


def after(document, change):
    """The document as a change leaves it."""
    pushed = {name: [*document.get(name, []), *items] for name, items in change.push.items()}
    return {**document, **change.set, **pushed, "version": document["version"] + max(1, len(change.facts))}
