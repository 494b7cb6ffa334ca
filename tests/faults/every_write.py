"""A story in which every command of the API that changes something is given once, each under a key of its own."""

from typing import Any

from services.cli import world
from services.cli.api import Api
from services.cli.demo.catalog import product
from services.cli.demo.trade import ADDRESS
from services.cli.world import FIRST_ADMIN_KEY, Merchant
from tests.faults.conftest import MortalStack
from tests.faults.traffic import PATIENCE_S, Client, Journal, patiently, wait_until

PRICE = 150_000
RULING = {
    "liability": "merchant",
    "payer": "merchant",
    "reason_code": "NOT_AS_DESCRIBED",
    "reasoning": "实物与描述不符",
}
CUPS = b"Handle,Title,Published,Option1 Name,Option1 Value,Variant Inventory Qty,Variant Price\ncup,cup,true,Title,Default Title,5,9.90\n"


class EveryWrite:
    """The story; its journal holds what was asked and answered."""

    def __init__(self, stack: MortalStack, name: str) -> None:
        self.stack, self.name, self.journal = stack, name, Journal()
        self.api = Api(stack.url)
        self.nobody = Client(self.api, name, self.journal)

    def tell(self) -> None:
        """All of it."""
        self.platform()
        self.shop = self.open_shop()
        self.merchant = self.acting(self.shop.token, "merchant")
        self.shops_end()
        self.catalog()
        self.shelf()
        self.buyer = self.acting(self.nobody.post("/v1/sandbox/buyers", {"name": "小明"})["token"], "buyer")
        self.orders()
        self.cases()
        self.followers()
        self.admin.post("/v1/sandbox/clock:advance", {"seconds": 1})

    def acting(self, token: str, who: str) -> Client:
        """Somebody with a token."""
        return Client(self.api.as_caller(token), f"{self.name}-{who}", self.journal)

    # -------------------------------------------------------------------------------------------------------------- accounts

    def platform(self) -> None:
        """The first admin, staff, an app."""
        first = {"secret": self.stack.bootstrap_secret, "name": "first admin"}
        token = self.nobody.write("POST", "/v1/bootstrap/admin", body=first, key=FIRST_ADMIN_KEY)["token"]
        self.admin = self.acting(token, "admin")
        self.arbitrator, self.second = (
            self.acting(self.admin.post("/v1/staff", {"role": role, "name": role})["token"], role)
            for role in ("arbitrator", "supervisor")
        )
        gone = self.admin.post("/v1/staff", {"role": "auditor", "name": "gone"})["staff_id"]
        self.admin.post(f"/v1/staff/{gone}:dismiss")
        self.admin.post("/v1/tokens:revoke", {"subject": gone})

    def open_shop(self) -> Merchant:
        """An account, its credentials, its shop."""
        account = self.account("店")
        identity = {"name": self.name, "identity": world.legal_identity(self.name)}
        asking = self.acting(self.token(account), "applicant")
        shop_id = asking.post("/v1/shops", identity)["shop"]["shop_id"]
        self.admin.post(f"/v1/shops/{shop_id}:approve")
        token = self.token(account)
        world.wait_known(self.api.as_caller(token), shop_id)
        return Merchant(account["account_id"], account["appid"], account["secret"], token, shop_id)

    def account(self, name: str) -> dict[str, Any]:
        """A registered account past its warm-up."""
        kind = {"kind": "service", "verified": True, "payment_enabled": True}
        made = self.admin.post("/v1/accounts", {**kind, "name": name})
        self.admin.write("PATCH", f"/v1/accounts/{made['account_id']}", body={"warmed_up": True})
        return made

    def token(self, account: dict[str, Any]) -> str:
        """Credentials → token."""
        form = {"client_id": account["appid"], "client_secret": account["secret"], "grant_type": "client_credentials"}
        return str(self.nobody.post("/v1/oauth/token", form=form)["access_token"])

    def shops_end(self) -> None:
        """Another shop is rejected, applies again, is suspended, opened again and closed; an app comes and goes."""
        account = self.account("过客")
        other = self.acting(self.token(account), "other")
        identity = {"name": "过客", "identity": world.legal_identity("过客")}
        path = f"/v1/shops/{other.post('/v1/shops', identity)['shop']['shop_id']}"
        self.admin.post(f"{path}:reject", {"reason": "材料不全"})
        other.post("/v1/shops", identity)
        self.admin.post(f"{path}:approve")
        self.admin.post(f"{path}:suspend", {"reason": "抽查"})
        self.admin.post(f"{path}:reopen")
        self.admin.post(f"{path}:close", {"reason": "歇业"})
        app = self.admin.post("/v1/apps", {"name": "erp"})["client_id"]
        self.merchant.post(f"/v1/apps/{app}:grant")
        self.merchant.post(f"/v1/apps/{app}:revoke")

    # --------------------------------------------------------------------------------------------------------------- catalog

    def catalog(self) -> None:
        """Products by call and by file; a file that is stopped."""
        items = [product(f"lamp-{number}", f"灯 {number}", PRICE, 50) for number in range(3)]
        made = self.merchant.post("/v1/products:bulkUpsert", {"items": items})["results"]
        self.products = [row["product_id"] for row in made]
        lamp = self.merchant.get(f"/v1/products/{self.products[0]}")["product"]
        self.line = {"product_id": self.products[0], "sku_id": lamp["skus"][0]["sku_id"], "quantity": 1}
        delta = {"sku_id": self.line["sku_id"], "delta": 7, "request_id": "more"}
        self.merchant.post("/v1/products:bulkUpdateStock", {"items": [delta]})
        self.merchant.post(f"/v1/products/{self.products[2]}:delist")
        self.merchant.post(f"/v1/products/{self.products[2]}:list")
        # Asked for what was so already; repeated later, when it is not so any more, it must not make it so.
        self.merchant.post(f"/v1/products/{self.products[1]}:list")
        self.merchant.post(f"/v1/products/{self.products[1]}:delist")
        import_id = self.upload()
        self.merchant.until(f"/v1/imports/{import_id}", lambda job: job["state"] == "completed", "the import")
        self.stack.hold("jobs")
        try:
            import_id = self.upload()
            self.merchant.post(f"/v1/imports/{import_id}:cancel")
        finally:
            self.stack.release("jobs")

    def upload(self) -> str:
        """The product file."""
        form, files = {"format": "shopify-csv", "policy": "reject_failed"}, {"file": ("cups.csv", CUPS, "text/csv")}
        return str(self.merchant.post("/v1/imports", form=form, files=files)["import_id"])

    def shelf(self) -> None:
        """A group and a shelf, made, changed and published."""
        group = self.merchant.post("/v1/groups", {"name": "新品", "product_ids": self.products[:1]})["group"][
            "group_id"
        ]
        self.merchant.post(f"/v1/groups/{group}:addProducts", {"product_ids": self.products[1:]})
        self.merchant.post(f"/v1/groups/{group}:removeProducts", {"product_ids": self.products[2:]})
        modules = [{"kind": "products", "groups": [{"group_id": group}], "count": 4}]
        body = {"name": "春", "slug": f"s-{self.name}", "modules": modules}
        shelf = self.merchant.post("/v1/shelves", body)["shelf"]["shelf_id"]
        changed = {"name": "夏", "modules": modules}
        self.merchant.write("PUT", f"/v1/shelves/{shelf}", body=changed)
        self.merchant.post(f"/v1/shelves/{shelf}:publish")

    # ---------------------------------------------------------------------------------------------------------------- orders

    def orders(self) -> None:
        """One cancelled, one that goes all the way; a deposit."""
        self.merchant.post(f"/v1/shops/{self.shop.shop_id}/deposits", {"amount": 5_000})
        order_id = self.placed()["orders"][0]["order_id"]
        self.buyer.post(f"/v1/orders/{order_id}:cancel")
        order_id = self.bought()
        self.buyer.post(f"/v1/orders/{order_id}:confirm")

    def placed(self) -> dict[str, Any]:
        """A checkout of one lamp."""
        checkout: dict[str, Any] = self.buyer.post("/v1/checkouts", {"lines": [self.line], "address": ADDRESS})[
            "checkout"
        ]
        return checkout

    def bought(self) -> str:
        """An order that is paid and shipped."""
        checkout = self.placed()
        asked = {"checkout_id": checkout["checkout_id"], "method": "native"}
        payment = self.buyer.post("/v1/payments", asked)["payment"]
        paying = {"outcome": "success", "notify": {"copies": 0}}
        patiently(self.api, "POST", f"{payment['cashier_url']}/pay", body=paying)
        self.buyer.post(f"/v1/payments/{payment['payment_id']}:query")
        order_id = str(checkout["orders"][0]["order_id"])
        self.buyer.until(
            f"/v1/orders/{order_id}", lambda told: told["order"]["state"] == "paid", "the order to be paid"
        )
        self.merchant.post(f"/v1/orders/{order_id}:ship", {"need_delivery": False})
        return order_id

    def cases(self) -> None:
        """One withdrawn, one agreed to, one ruled by two people and accepted."""
        order_id = self.bought()
        withdrawn = self.claimed(order_id, 500)
        self.buyer.post(f"/v1/disputes/{withdrawn}:withdraw")
        self.wait_over(order_id)
        agreed = self.claimed(order_id, 500)
        self.merchant.post(f"/v1/disputes/{agreed}:accept")
        self.wait_over(order_id)
        ruled = self.claimed(self.bought(), 120_000)
        self.merchant.post(f"/v1/disputes/{ruled}:refuse", {"reason": "合格", "evidence": ["质检单"]})
        self.buyer.post(f"/v1/disputes/{ruled}:escalate", {"reason": "请平台介入"})
        self.arbitrator.post(f"/v1/disputes/{ruled}:rule", {**RULING, "remedy": "refund_full"})
        self.second.post(f"/v1/disputes/{ruled}:confirmRuling")
        self.merchant.post(f"/v1/disputes/{ruled}:acceptRuling")
        self.buyer.until(f"/v1/disputes/{ruled}", lambda told: told["case"]["refunded"], "the ruled refund")

    def claimed(self, order_id: str, amount: int) -> str:
        """A case; the order has heard of it."""
        body = {"order_id": order_id, "kind": "refund_only", "amount": amount, "reason": "灯不亮"}
        case_id = str(self.buyer.post("/v1/disputes", body)["case"]["case_id"])
        self.buyer.until(f"/v1/orders/{order_id}", lambda told: told["order"]["in_dispute"], "the dispute")
        return case_id

    def wait_over(self, order_id: str) -> None:
        """No dispute any more."""
        self.buyer.until(
            f"/v1/orders/{order_id}", lambda told: not told["order"]["in_dispute"], "the end of the dispute"
        )

    # ------------------------------------------------------------------------------------------------------------- broadcast

    def followers(self) -> None:
        """They come, one goes, some are tagged, the others are sent something."""
        openids = [f"o{self.name}-{number}".ljust(28, "y")[:28] for number in range(20)]
        quota = self.merchant.api
        wait_until(lambda: quota.ask("GET", "/v1/broadcast-quota").fine, "the account to be known", seconds=PATIENCE_S)
        self.merchant.post("/v1/followers:bulkFollow", {"openids": openids, "source": "import"})
        self.merchant.post("/v1/followers:bulkUnfollow", {"openids": openids[:1]})
        tag = self.merchant.post("/v1/tags", {"name": "灯友"})["tag"]["tag_id"]
        self.merchant.post(f"/v1/tags/{tag}:assign", {"openids": openids[1:5]})
        job = self.merchant.post("/v1/broadcasts", {"to_all": True, "content": {"text": "新灯"}})["broadcast"]["job_id"]
        self.merchant.until(f"/v1/broadcasts/{job}", lambda told: told["broadcast"]["state"] == "sent", "the broadcast")
