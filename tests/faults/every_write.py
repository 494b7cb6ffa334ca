"""A story in which every command of the API that changes something is given once, each under a key of its own."""

from datetime import datetime, timedelta
from typing import Any

from services.chassis import clock
from services.chassis.calendar import day
from services.cli import world
from services.cli.api import Api
from services.cli.demo.catalog import product
from services.cli.demo.trade import ADDRESS
from services.cli.world import FIRST_ADMIN_KEY, Merchant
from tests.backends.pictures import drawn
from tests.backends.processes import wait_until
from tests.backends.strangers import strange_payment
from tests.faults.clients import Client, Journal, patiently
from tests.faults.conftest import MortalStack

PRICE = 150_000
RULING = {
    "liability": "merchant",
    "payer": "merchant",
    "reason_code": "NOT_AS_DESCRIBED",
    "reasoning": "实物与描述不符",
}
CUPS = b"Handle,Title,Published,Option1 Name,Option1 Value,Variant Inventory Qty,Variant Price\ncup,cup,true,Title,Default Title,5,9.90\n"
BROKEN = CUPS + b"mug,mug,true,Title,Default Title,5,\n"
RULE = {"start_units": 1, "start_fee": 800, "step_units": 1, "step_fee": 200}


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
        self.categories()
        self.catalog()
        self.shelf()
        self.buyer = self.acting(
            self.nobody.post("/v1/sandbox/buyers", {"name": "小明", "account_ids": [self.shop.account_id]})["token"],
            "buyer",
        )
        self.orders()
        self.cases()
        self.reconciliation()
        self.followers()
        self.vouchers()
        waiting = {"checkout_id": self.placed()["checkout_id"], "method": "native"}
        self.buyer.post("/v1/payments", waiting)  # nobody pays it: its code can be scanned
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

    def open_shop(self, name: str = "") -> Merchant:
        """An account, its credentials, its shop."""
        account, called = self.account("店"), f"{self.name}{name}"
        identity = {"name": called, "identity": world.legal_identity(called)}
        asking = self.acting(self.token(account), f"applicant-{name}")
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

    def categories(self) -> None:
        """A category is made, changed, retired and restored."""
        colour = [{"name": "颜色", "values": ["黑色", "白色"]}]
        body = {"name": f"类目{self.name}", "sku_attributes": colour, "reason": "新业务"}
        made = self.admin.post("/v1/categories", {**body, "parent_id": 1, "leaf": True})["category"]
        path = f"/v1/categories/{made['id']}"
        self.admin.write("PUT", path, body={**body, "name": f"改名{self.name}", "etag": made["etag"]})
        self.admin.post(f"{path}:retire", {"reason": "停办"})
        self.admin.post(f"{path}:restore", {"reason": "恢复"})

    def spare(self) -> None:
        """A product whose price and state change in bulk, and which is deleted; its id is used again."""
        spare = [{**product("spare", "备用", PRICE, 5), "listed": False}]
        made = self.merchant.post("/v1/products:bulkUpsert", {"items": spare})["results"][0]["product_id"]
        sku = self.merchant.get(f"/v1/products/{made}")["product"]["skus"][0]["sku_id"]
        self.merchant.post("/v1/products:bulkUpdatePrice", {"items": [{"sku_id": sku, "price": PRICE - 1}]})
        for state in ("listed", "delisted"):
            items = [{"external_id": "spare", "state": state}]
            self.merchant.post("/v1/products:bulkUpdateStatus", {"items": items})
        self.merchant.post("/v1/products:bulkDelete", {"items": [{"external_id": "spare"}]})
        self.merchant.post("/v1/products:bulkUpsert", {"items": spare})

    def freight(self) -> None:
        """A template is made, changed and deleted."""
        template = {"name": "标准", "carriers": [{"carrier_class": "express", "default_rule": RULE}]}
        made = self.merchant.post("/v1/freight-templates", template)["template"]
        path = f"/v1/freight-templates/{made['template_id']}"
        self.merchant.write("PUT", path, body={**template, "name": "加急", "etag": made["etag"]})
        self.merchant.write("DELETE", path)
        self.merchant.post("/v1/freight-templates", {**template, "name": "常用"})

    def pictures(self) -> None:
        """One is uploaded and taken off the list."""
        files = {"file": ("a.png", drawn(), "image/png")}
        image = self.merchant.post("/v1/images", files=files)["image"]["image_id"]
        self.merchant.post("/v1/images", files={"file": ("b.png", drawn(colour="blue"), "image/png")})
        self.merchant.write("DELETE", f"/v1/images/{image}")

    def files(self) -> None:
        """A file whose failed products are tried again and whose others are put back; the catalog as a file."""
        import_id = self.upload(BROKEN)
        self.ended(import_id)
        self.merchant.post(f"/v1/imports/{import_id}:fetchImages")
        self.merchant.until(f"/v1/imports/{import_id}/images", lambda told: told["state"] == "done", "the pictures")
        self.ended(self.merchant.post(f"/v1/imports/{import_id}:retry")["import_id"])
        self.ended(self.merchant.post(f"/v1/imports/{import_id}:undo")["import_id"])
        export_id = self.merchant.post("/v1/exports", {"format": "jsonl"})["export_id"]
        path = f"/v1/exports/{export_id}"
        self.merchant.until(path, lambda told: told["export"]["state"] == "completed", "the export")

    def ended(self, import_id: str) -> None:
        """The import has gone through its file."""
        self.merchant.until(f"/v1/imports/{import_id}", lambda job: job["state"] == "completed", "the import")

    def catalog(self) -> None:
        """Products by call and by file; a file that is stopped."""
        self.spare()
        self.freight()
        self.pictures()
        self.files()
        self.admin.post("/v1/search:rebuild")
        self.admin.post("/v1/search:rebuild", {"shop_id": self.shop.shop_id})
        items = [product(f"lamp-{number}", f"灯 {number}", PRICE, 50) for number in range(3)]
        made = self.merchant.post("/v1/products:bulkUpsert", {"items": items})["results"]
        self.products = [row["product_id"] for row in made]
        lamp = self.merchant.get(f"/v1/products/{self.products[0]}")["product"]
        self.line = {"product_id": self.products[0], "sku_id": lamp["skus"][0]["sku_id"], "quantity": 1}
        delta = {"sku_id": self.line["sku_id"], "delta": 7, "request_id": "more"}
        self.merchant.post("/v1/products:bulkUpdateStock", {"items": [delta]})
        self.sale_window(self.products[1])
        self.merchant.post(f"/v1/products/{self.products[2]}:delist")
        self.merchant.post(f"/v1/products/{self.products[2]}:list")
        # Asked for what was so already; repeated later, when it is not so any more, it must not make it so.
        self.merchant.post(f"/v1/products/{self.products[1]}:list")
        self.merchant.post(f"/v1/products/{self.products[1]}:delist")
        self.ended(self.upload())
        self.stack.hold("jobs")
        try:
            import_id = self.upload()
            self.merchant.post(f"/v1/imports/{import_id}:cancel")
        finally:
            self.stack.release("jobs")

    def sale_window(self, product_id: str) -> None:
        """A flash sale that is made, changed and taken back."""
        lamp = self.merchant.get(f"/v1/products/{product_id}")["product"]
        ends_at = (datetime.fromisoformat(lamp["update_time"]) + timedelta(days=1)).isoformat()
        items = [{"sku_id": lamp["skus"][0]["sku_id"], "price": PRICE - 1, "quantity": 3}]
        said = {"product_id": product_id, "kind": "flash", "ends_at": ends_at, "items": items}
        window = self.merchant.post("/v1/sale-windows", said)["window"]
        path = f"/v1/sale-windows/{window['window_id']}"
        self.merchant.write("PUT", path, body={"etag": "1", "ends_at": ends_at, "items": [{**items[0], "quantity": 4}]})
        self.merchant.post(f"{path}:cancel")

    def upload(self, content: bytes = CUPS) -> str:
        """A product file."""
        form, files = {"format": "shopify-csv", "policy": "reject_failed"}, {"file": ("cups.csv", content, "text/csv")}
        return str(self.merchant.post("/v1/imports", form=form, files=files)["import_id"])

    def shelf(self) -> None:
        """Groups and shelves, made, changed, published now and later, taken back and deleted."""
        group = self.merchant.post("/v1/groups", {"name": "新品", "product_ids": self.products[:1]})["group"][
            "group_id"
        ]
        self.merchant.post(f"/v1/groups/{group}:addProducts", {"product_ids": self.products[1:]})
        self.merchant.post(f"/v1/groups/{group}:removeProducts", {"product_ids": self.products[2:]})
        change = {"add": self.products[2:], "remove": self.products[:1]}
        self.merchant.post(f"/v1/groups/{group}:changeProducts", change)
        self.merchant.post(f"/v1/groups/{group}:moveProducts", {"product_ids": self.products[2:], "position": 0})
        self.merchant.write("PATCH", f"/v1/groups/{group}", body={"name": "上新"})
        gone = self.merchant.post("/v1/groups", {"name": "旧"})["group"]["group_id"]
        self.merchant.write("DELETE", f"/v1/groups/{gone}")
        modules = [{"kind": "products", "groups": [{"group_id": group}], "count": 4}]
        body = {"name": "春", "slug": f"s-{self.name}", "modules": modules}
        shelf = self.merchant.post("/v1/shelves", body)["shelf"]["shelf_id"]
        changed = {"name": "夏", "modules": modules}
        self.merchant.write("PUT", f"/v1/shelves/{shelf}", body=changed)
        self.merchant.post(f"/v1/shelves/{shelf}:publish")
        self.merchant.post(f"/v1/shelves/{shelf}:schedule", {"publish_time": "2026-12-31T00:00:00+08:00"})
        self.merchant.post(f"/v1/shelves/{shelf}:cancelSchedule")
        self.merchant.post(f"/v1/shelves/{shelf}:unpublish")
        self.merchant.post(f"/v1/shelves/{shelf}:publish", {"version": 1})
        gone = self.merchant.post("/v1/shelves", {"name": "旧", "modules": modules})["shelf"]["shelf_id"]
        self.merchant.write("PUT", f"/v1/shelves/{gone}", body=changed)
        self.merchant.write("DELETE", f"/v1/shelves/{gone}")

    # ---------------------------------------------------------------------------------------------------------------- orders

    def orders(self) -> None:
        """One cancelled, one that goes all the way; a deposit."""
        path = f"/v1/shops/{self.shop.shop_id}"
        deposit = self.merchant.post(f"{path}/deposits", {"amount": 5_000})
        paying = {"outcome": "success", "notify": {"copies": 1}}
        patiently(self.api, "POST", f"{deposit['cashier_url']}/pay", body=paying)
        self.merchant.until(f"{path}/balance", lambda told: told["balance"]["deposit"] == 5_000, "the deposit")
        checkout = self.placed()
        asked = {"checkout_id": checkout["checkout_id"], "method": "native"}
        given_up = self.buyer.post("/v1/payments", asked)["payment"]
        self.buyer.post(f"/v1/payments/{given_up['payment_id']}:close")
        self.till(checkout["checkout_id"], given_up["cashier_url"].partition("/cashier/")[0])
        order_id = checkout["orders"][0]["order_id"]
        self.buyer.post(f"/v1/orders/{order_id}:cancel")
        order_id = self.bought({"delivery_company": "003shunfeng", "delivery_track_no": "SF00000001"})
        number = {"delivery_company": "003shunfeng", "delivery_track_no": f"SF{order_id}"}
        self.merchant.post(f"/v1/orders/{order_id}:correctParcel", {"parcel": 1, **number})
        self.merchant.post("/v1/sandbox/tracking", {**number, "script": "normal"})
        self.admin.post("/v1/carriers/003shunfeng:setSecret")
        event = {"event_id": "1", "status": "collected", "occurred_at": "2026-01-05T10:00:00+08:00"}
        self.merchant.post("/v1/sandbox/tracking", {**number, "events": [event]})
        self.admin.post("/v1/carriers/003shunfeng:closeDoor")
        self.buyer.post(f"/v1/orders/{order_id}:extendConfirmation")
        self.buyer.post(f"/v1/orders/{order_id}:confirm")
        self.desk()
        self.money()
        self.share()
        self.addresses()

    def till(self, checkout_id: str, channel: str) -> None:
        """The shop scans a code whose owner never types the password, and reverses it."""
        code = patiently(self.api, "POST", f"{channel}/paycodes", body={"payer": "guest", "outcome": "userpaying"})
        asked = {"checkout_id": checkout_id, "method": "micropay", "auth_code": code.body["auth_code"]}
        scanned = self.merchant.post("/v1/payments", asked)["payment"]["payment_id"]
        self.merchant.post(f"/v1/payments/{scanned}:reverse")
        self.merchant.post(f"/v1/payments/{scanned}:query")

    def addresses(self) -> None:
        """Two, of which one is changed, made the default, ordered with and deleted."""
        self.buyer.post("/v1/addresses", {"address": ADDRESS})
        saved = self.buyer.post("/v1/addresses", {"address": {**ADDRESS, "zone": "上城区"}})["address_id"]
        path = f"/v1/addresses/{saved}"
        self.buyer.write("PUT", path, body={"address": ADDRESS, "etag": "1"})
        self.buyer.post(f"{path}:setDefault")
        self.buyer.post("/v1/checkouts", {"lines": [self.line], "address_id": saved})
        self.buyer.write("DELETE", path)

    def money(self) -> None:
        """Terms of the shop, part of its deposit back, and from available to the bank."""
        path = f"/v1/shops/{self.shop.shop_id}"
        terms = {"settlement_days": 0, "deposit_required": 1_000, "reason": "灯具类目"}
        self.admin.post(f"{path}/money-terms", terms)
        self.merchant.post(f"{path}/deposit:release", {"amount": 1_000})
        self.merchant.until(f"{path}/balance", lambda told: told["balance"]["available"] > 1_000, "the settlement")
        account = {"holder": "灯铺", "number": "6222000000001234", "bank": "招商银行"}
        body = {"amount": 700, "account": account}
        made = self.merchant.post(f"{path}/withdrawals", body)["withdrawal"]["withdrawal_id"]
        done = f"{path}/withdrawals/{made}"
        self.merchant.until(done, lambda told: told["withdrawal"]["state"] == "paid", "the bank to pay")
        gift = {"kind": "lucky", "total": 100, "count": 2, "greeting": "恭喜发财"}
        packet = self.merchant.post(f"{path}/red-packets", gift)["packet"]["packet_id"]
        self.buyer.post(f"/v1/red-packets/{packet}:claim")
        self.buyer.post("/v1/red-packets", {"kind": "normal", "total": 1, "count": 1, "greeting": "谢谢"})

    def share(self) -> None:
        """Part of an order's profit for another shop, some of it back, the rest unfrozen."""
        path, other = f"/v1/shops/{self.shop.shop_id}/profit-sharings", self.open_shop("branch")
        receiver = self.acting(other.token, "receiver")
        balance = f"/v1/shops/{other.shop_id}/balance"
        wait_until(lambda: receiver.api.ask("GET", balance).fine, "payments to know the shop")
        order_id = self.bought()
        checkout_id = self.merchant.get(f"/v1/orders/{order_id}")["order"]["checkout_id"]
        self.merchant.post(path, {"checkout_id": checkout_id, "order_id": order_id})
        self.buyer.post(f"/v1/orders/{order_id}:confirm")
        door = f"{path}/{order_id}"
        wait_until(lambda: self.merchant.api.ask("GET", door).fine, "the frozen part")
        parts = [{"account": other.shop_id, "amount": 100, "description": "推广费"}]
        self.merchant.post(f"{door}:share", {"out_order_no": "S1", "receivers": parts})
        self.merchant.post(f"{door}:unfreeze")
        back = {"out_order_no": "S1", "out_return_no": "R1", "amount": 40}
        receiver.post(f"/v1/shops/{other.shop_id}/profit-sharings/{order_id}:return", back)

    def desk(self) -> None:
        """What a merchant does at the desk: a refund for a line, prices of unpaid orders, a file of the orders."""
        order_id = self.bought()
        self.merchant.post(f"/v1/orders/{order_id}:refundLine", {"line": 1, "amount": 300})
        path = f"/v1/orders/{order_id}"
        self.buyer.until(path, lambda told: told["order"]["refunded"] == 300, "the refund")
        unpaid = [self.placed()["orders"][0]["order_id"] for _ in range(2)]
        self.merchant.post(f"/v1/orders/{unpaid[0]}:changePrice", {"goods_amount": PRICE - 1})
        self.merchant.post("/v1/orders:mergeShipping", {"order_ids": unpaid})
        export_id = self.merchant.post("/v1/order-exports", {"format": "xlsx"})["export_id"]
        path = f"/v1/order-exports/{export_id}"
        self.merchant.until(path, lambda told: told["export"]["state"] == "completed", "the file of orders")

    def vouchers(self) -> None:
        """One that is redeemed, taken back and redeemed again."""
        dinner = {**product("dinner", "晚餐", PRICE, 5), "fulfilment": "voucher"}
        made = self.merchant.post("/v1/products:bulkUpsert", {"items": [dinner]})["results"][0]["product_id"]
        sku_id = self.merchant.get(f"/v1/products/{made}")["product"]["skus"][0]["sku_id"]
        order_id = self.paid({"product_id": made, "sku_id": sku_id, "quantity": 1})
        code = {"code": self.buyer.get(f"/v1/orders/{order_id}/vouchers")["vouchers"][0]["code"]}
        for verb in ("redeem", "reverse", "redeem"):
            self.merchant.post(f"/v1/vouchers:{verb}", code)

    def placed(self, line: dict[str, Any] | None = None) -> dict[str, Any]:
        """A checkout of one lamp, or of something else."""
        asked = {"lines": [line or self.line], "address": ADDRESS}
        checkout: dict[str, Any] = self.buyer.post("/v1/checkouts", asked)["checkout"]
        return checkout

    def bought(self, parcel: dict[str, Any] | None = None, *, by_wallet: bool = False) -> str:
        """An order that is paid and shipped."""
        order_id = self.paid(by_wallet=by_wallet)
        self.merchant.post(f"/v1/orders/{order_id}:ship", parcel or {"need_delivery": False})
        return order_id

    def paid(self, line: dict[str, Any] | None = None, *, by_wallet: bool = False) -> str:
        """An order that is paid, at the cashier or out of the wallet."""
        checkout = self.placed(line)
        asked = {"checkout_id": checkout["checkout_id"], "method": "wallet" if by_wallet else "native"}
        if by_wallet:
            self.topped_up(checkout["amount"])
        payment = self.buyer.post("/v1/payments", asked)["payment"]
        if not by_wallet:
            self.scanned(payment)
            self.buyer.post(f"/v1/payments/{payment['payment_id']}:query")
        order_id = str(checkout["orders"][0]["order_id"])
        self.buyer.until(
            f"/v1/orders/{order_id}", lambda told: told["order"]["state"] == "paid", "the order to be paid"
        )
        return order_id

    def topped_up(self, amount: int) -> None:
        """Money in the wallet."""
        topup = self.buyer.post("/v1/wallet/topups", {"amount": amount, "method": "native"})["topup"]
        self.scanned(topup)
        self.buyer.post(f"/v1/wallet/topups/{topup['topup_id']}:query")

    def scanned(self, payment: dict[str, Any]) -> None:
        """It is paid at the channel, which tells nobody."""
        paying = {"outcome": "success", "notify": {"copies": 0}}
        patiently(self.api, "POST", f"{payment['cashier_url']}/pay", body=paying)

    def cases(self) -> None:
        """One withdrawn, one agreed to, one ruled by two people and accepted."""
        order_id = self.bought()
        withdrawn = self.claimed(order_id, 500)
        self.buyer.post(f"/v1/disputes/{withdrawn}:withdraw")
        self.wait_over(order_id)
        agreed = self.claimed(order_id, 500)
        self.merchant.post(f"/v1/disputes/{agreed}:accept")
        self.wait_over(order_id)
        ruled = self.claimed(self.bought(by_wallet=True), 120_000)
        self.merchant.post(f"/v1/disputes/{ruled}:refuse", {"reason": "合格", "evidence": ["质检单"]})
        self.buyer.post(f"/v1/disputes/{ruled}:escalate", {"reason": "请平台介入"})
        self.arbitrator.post(f"/v1/disputes/{ruled}:rule", {**RULING, "remedy": "refund_full"})
        self.second.post(f"/v1/disputes/{ruled}:rejectRuling", {"reason": "请先看质检单"})
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

    # --------------------------------------------------------------------------------------------------------- reconciliation

    def reconciliation(self) -> None:
        """The present day of the channel, with a payment on its bill that nobody here knows; an admin ends that difference."""
        number = strange_payment(self.stack)
        today = day(clock.wall())
        self.admin.post("/v1/reconciliations", {"date": today})
        path = f"/v1/reconciliations/{today}"
        self.admin.until(path, lambda told: told["reconciliation"]["state"] == "done", "the reconciliation")
        rows = self.admin.get(path)["differences"]
        (found,) = [row["difference_id"] for row in rows if row["out_trade_no"] == number]
        self.admin.post(f"{path}/differences/{found}:resolve", {"resolution": "corrected", "note": "渠道已冲正"})

    # ------------------------------------------------------------------------------------------------------------- broadcast

    def followers(self) -> None:
        """They come, one goes, some are tagged, the others are sent something."""
        openids = [f"o{self.name}-{number}".ljust(28, "y")[:28] for number in range(20)]
        quota = self.merchant.api
        wait_until(lambda: quota.ask("GET", "/v1/broadcast-quota").fine, "the account to be known")
        self.merchant.post("/v1/followers:bulkFollow", {"openids": openids, "source": "import"})
        self.merchant.post("/v1/followers:bulkUnfollow", {"openids": openids[:1]})
        self.merchant.post("/v1/followers:bulkUnfollow", {"openids": openids[5:6], "mute": True})
        self.merchant.post("/v1/followers:bulkUnmute", {"openids": openids[5:6]})
        tag = self.merchant.post("/v1/tags", {"name": "灯友"})["tag"]["tag_id"]
        self.merchant.post(f"/v1/tags/{tag}:assign", {"openids": openids[1:5]})
        job = self.merchant.post("/v1/broadcasts", {"to_all": True, "content": {"text": "新灯"}})["broadcast"]["job_id"]
        self.merchant.until(f"/v1/broadcasts/{job}", lambda told: told["broadcast"]["state"] == "sent", "the broadcast")
