"""What people do, each errand from beginning to end."""

from services.chassis import ids
from services.cli import world
from tests.backends.processes import wait_until
from tests.faults.clients import Client, patiently
from tests.faults.traffic import Traffic


def completes(traffic: Traffic, name: str) -> None:
    """Two shops in one checkout, shipped and confirmed."""
    buyer = traffic.buyer(name)
    checkout = traffic.bought(buyer, "tea", "shirt")
    for order in checkout["orders"]:
        traffic.ship(order)
        buyer.post(f"/v1/orders/{order['order_id']}:confirm")
    traffic.until_state(buyer, checkout, "completed")
    traffic.took("tea", "shirt")


def never_pays(traffic: Traffic, name: str) -> None:
    """Placed and forgotten."""
    buyer = traffic.buyer(name)
    traffic.unpaid.append((buyer, traffic.place(buyer, "tea")["checkout_id"]))


def changes_mind(traffic: Traffic, name: str) -> None:
    """Paid and cancelled: the money goes back once."""
    buyer = traffic.buyer(name)
    checkout = traffic.bought(buyer, "shirt")
    buyer.post(f"/v1/orders/{checkout['orders'][0]['order_id']}:cancel")
    traffic.until_refunded(buyer, checkout, checkout["amount"])


def pays_twice(traffic: Traffic, name: str) -> None:
    """By QR code and in the app: one of the two goes back."""
    buyer = traffic.buyer(name)
    checkout = traffic.place(buyer, "tea")
    asked = {"checkout_id": checkout["checkout_id"]}
    payments = [buyer.post("/v1/payments", {**asked, "method": how})["payment"] for how in ("native", "jsapi")]
    for payment in payments:
        body = {"outcome": "success", "notify": {"copies": 1}}
        patiently(buyer.api.as_caller(""), "POST", f"{payment['cashier_url']}/pay", body=body)
    traffic.until_state(buyer, checkout, "paid")
    traffic.until_refunded(buyer, checkout, checkout["amount"])
    traffic.took("tea")


def disputes(traffic: Traffic, name: str) -> None:
    """Shipped, claimed, agreed to: part of the money goes back."""
    buyer = traffic.buyer(name)
    checkout = traffic.bought(buyer, "shirt")
    (order,) = checkout["orders"]
    traffic.ship(order)
    body = {"order_id": order["order_id"], "kind": "refund_only", "amount": 1_200, "reason": "少一颗扣子"}
    case_id = buyer.post("/v1/disputes", body)["case"]["case_id"]
    traffic.merchant_of(order["seller"]["shop_id"]).post(f"/v1/disputes/{case_id}:accept")
    buyer.until(f"/v1/disputes/{case_id}", lambda told: told["case"]["state"].startswith("closed"), "the case to close")
    traffic.until_refunded(buyer, checkout, 1_200)
    shown = buyer.until(
        f"/v1/orders/{order['order_id']}", lambda told: not told["order"]["in_dispute"], "no dispute any more"
    )["order"]
    assert shown["refunded"] == 1_200
    traffic.took("shirt")


def broadcasts(traffic: Traffic, name: str) -> None:
    """An account of its own reaches each of its followers once."""
    account = world.official_account(traffic.town.admin.as_caller(traffic.town.admin.token), name)
    merchant = Client(traffic.line.as_caller(account.token), name, traffic.journal)
    quota = merchant.api.as_caller(account.token)
    wait_until(lambda: quota.ask("GET", "/v1/broadcast-quota").fine, "the account to be known")
    openids = [ids.derived_id("o", name, str(number))[:28] for number in range(60)]
    for first in (0, 30):
        done = merchant.post("/v1/followers:bulkFollow", {"openids": openids[first : first + 30], "source": "import"})
        assert done["followed"] == 30, done
    job = merchant.post("/v1/broadcasts", {"to_all": True, "content": {"text": name}})["broadcast"]
    path = f"/v1/broadcasts/{job['job_id']}"
    found = merchant.until(path, lambda told: told["broadcast"]["state"] == "sent", "the broadcast")["broadcast"]
    assert (found["total_count"], found["sent_count"], found["error_count"]) == (60, 60, 0), found
    reached = merchant.get(f"{path}/deliveries", outcome="sent", page_size=200)["openids"]
    assert sorted(reached) == sorted(openids)


def restocks(traffic: Traffic, name: str) -> None:
    """A deposit and two movements of stock, up and down."""
    merchant, shop = traffic._shops()[0]
    merchant = Client(merchant.api, name, traffic.journal)
    sku = next(sku for sku, (_, _, label, _) in traffic.goods.items() if label == "tea")
    asked = merchant.post(f"/v1/shops/{shop.shop_id}/deposits", {"amount": 700})
    traffic.pay_in(merchant.api, shop.shop_id, asked, 700)
    for number, delta in enumerate((5, -5)):
        item = {"sku_id": sku, "delta": delta, "request_id": f"{name}-{number}"}
        done = merchant.post("/v1/products:bulkUpdateStock", {"items": [item]})
        assert done["results"][0]["ok"], done


def imports(traffic: Traffic, name: str) -> None:
    """A small product file."""
    shop = traffic.town.shops[1]
    merchant = Client(traffic.line.as_caller(shop.token), name, traffic.journal)
    lines = ["Handle,Title,Published,Option1 Name,Option1 Value,Variant Inventory Qty,Variant Price"]
    lines += [f"{name}-{n},杯 {n},true,Title,Default Title,5,9.90" for n in range(20)]
    form = {"format": "shopify-csv", "policy": "reject_failed"}
    files = {"file": ("cups.csv", "\n".join(lines).encode(), "text/csv")}
    import_id = merchant.post("/v1/imports", form=form, files=files)["import_id"]
    done = merchant.until(f"/v1/imports/{import_id}", lambda told: told["state"] == "completed", "the import")
    assert (done["created"], done["failed"]) == (20, 0), done


EVERYTHING = (completes, never_pays, changes_mind, pays_twice, disputes, broadcasts, restocks, imports)
