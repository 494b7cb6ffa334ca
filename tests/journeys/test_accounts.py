"""Accounts through HTTP: who may open a shop, what credentials and tokens are good for, and when they stop."""

from datetime import datetime, timedelta

import pytest

from services.cli import world
from services.cli.api import UnexpectedAnswer
from services.cli.clocks import advance
from services.cli.seed import seed
from tests.backends.processes import wait_until

APPLICATION = {"name": "小铺", "identity": world.legal_identity("小铺")}


def test_the_first_admin_is_made_once(stack, api, admin):
    again = api.post(
        "/v1/bootstrap/admin", {"secret": stack.bootstrap_secret, "name": "first admin"}, key=world.FIRST_ADMIN_KEY
    )
    assert again["token"] == admin.token
    body = {"secret": stack.bootstrap_secret, "name": "another"}
    assert api.ask("POST", "/v1/bootstrap/admin", body).reason == "WRONG_STATE"
    assert api.ask("POST", "/v1/bootstrap/admin", {**body, "secret": "guess"}).status == 401


def test_a_subscription_account_is_told_why_it_gets_no_shop(admin):
    account = world.official_account(admin, "日报", kind="subscription")
    answer = admin.as_caller(account.token).ask("POST", "/v1/shops", APPLICATION)
    assert (answer.status, answer.reason) == (409, "CONDITION_UNMET")
    assert "订阅号" in answer.body["detail"]
    assert [error["field"] for error in answer.body["errors"]] == ["kind"]


def test_an_application_needs_the_whole_legal_identity(admin):
    account = world.official_account(admin, "小铺")
    merchant = admin.as_caller(account.token)
    answer = merchant.ask("POST", "/v1/shops", {"name": "小铺", "identity": {"name": "小铺有限公司"}})
    assert answer.status == 400
    fields = [error["field"] for error in answer.body["errors"]]
    assert fields == ["identity.registration_number", "identity.address", "identity.contact"]


def test_a_shop_is_opened_suspended_reopened_and_closed_by_admins_only(admin, shop, api):
    path = f"/v1/shops/{shop.shop_id}"
    assert shop.api.ask("POST", f"{path}:suspend", {"reason": "no"}).status == 403
    assert api.ask("POST", f"{path}:suspend", {"reason": "no"}).status == 401
    assert admin.ask("POST", f"{path}:suspend").body["errors"][0]["field"] == "reason"
    states = []
    for verb, reason in (("suspend", "投诉"), ("reopen", ""), ("close", "违规")):
        admin.post(f"{path}:{verb}", {"reason": reason} if reason else {})
        states.append(api.get(path)["shop"]["state"])
    assert states == ["suspended", "open", "closed"]
    assert admin.ask("POST", f"{path}:reopen").reason == "WRONG_STATE"
    assert api.get(path)["shop"]["identity"]["contact"]


def test_a_command_repeated_with_its_key_answers_as_the_first_time(admin):
    body = {"kind": "service", "name": "重复", "verified": True, "payment_enabled": True, "warmed_up": True}
    first = admin.ask("POST", "/v1/accounts", body, key="repeat-account")
    second = admin.ask("POST", "/v1/accounts", body, key="repeat-account")
    assert (first.status, second.status, second.body) == (201, 201, first.body)
    assert (first.replayed, second.replayed) == (False, True)
    other = admin.ask("POST", "/v1/accounts", {**body, "name": "另一个"}, key="repeat-account")
    assert (other.status, other.reason) == (422, "IDEMPOTENCY_KEY_REUSED")


def test_a_token_answer_has_exactly_the_fields_of_the_standard(api, shop):
    form = {
        "grant_type": "client_credentials",
        "client_id": shop.merchant.appid,
        "client_secret": shop.merchant.secret,
    }
    answer = api.ask("POST", "/v1/oauth/token", form=form)
    assert answer.status == 200
    assert set(answer.body) == {"access_token", "token_type", "expires_in"}
    assert (answer.body["token_type"], answer.body["expires_in"]) == ("Bearer", 7200)
    as_json = api.ask("POST", "/v1/oauth/token", {**form, "scope": "orders:read"})
    assert as_json.body["scope"] == "orders:read"
    assert api.ask("POST", "/v1/oauth/token", form={**form, "client_secret": "x"}).status == 401


def test_a_merchant_sees_only_its_own(shop, open_shop):
    other = open_shop("别家")
    assert shop.api.get(f"/v1/accounts/{shop.account_id}")["account"]["appid"] == shop.merchant.appid
    assert shop.api.ask("GET", f"/v1/accounts/{other.account_id}").status in (403, 404)
    assert shop.api.ask("GET", "/v1/grants", params={"shop_id": other.shop_id}).status == 403
    assert shop.api.ask("GET", "/v1/shops").status == 403


def test_a_narrow_token_is_refused_where_its_scope_ends(api, shop):
    token = world.access_token(api, shop.merchant.appid, shop.merchant.secret, scope="orders:read")
    answer = api.as_caller(token).ask("GET", "/v1/products")
    assert (answer.status, answer.reason) == (403, "SCOPE_MISSING")


def test_a_revoked_token_dies_in_every_service_within_seconds(shop, buyer):
    assert shop.api.ask("GET", "/v1/products").fine
    shop.api.post("/v1/tokens:revoke")
    wait_until(lambda: shop.api.ask("GET", f"/v1/accounts/{shop.account_id}").status == 401, "accounts to refuse it")
    wait_until(lambda: shop.api.ask("GET", "/v1/products").status == 401, "catalog to refuse it")
    wait_until(lambda: shop.api.ask("GET", f"/v1/shops/{shop.shop_id}/balance").status == 401, "payments to refuse it")
    assert buyer.api.ask("GET", "/v1/orders").fine


def test_an_app_works_on_a_shop_while_it_is_installed_there(api, admin, shop, open_shop):
    app = admin.post("/v1/apps", {"name": "批量工具", "scopes": ["products:read", "products:write"]})
    credentials = (app["client_id"], app["client_secret"])
    with pytest.raises(UnexpectedAnswer, match="not installed"):
        world.access_token(api, *credentials, shop_id=shop.shop_id)
    grant = shop.api.post(f"/v1/apps/{app['client_id']}:grant", {"scopes": ["products:read"]})["grant"]
    assert (grant["shop_id"], grant["scopes"], grant["active"]) == (shop.shop_id, ["products:read"], True)
    tool = api.as_caller(world.access_token(api, *credentials, shop_id=shop.shop_id))
    assert tool.ask("GET", "/v1/products").fine
    assert tool.ask("POST", "/v1/groups", {"name": "x"}).reason == "SCOPE_MISSING"
    with pytest.raises(UnexpectedAnswer, match="not installed"):
        world.access_token(api, *credentials, shop_id=open_shop("别家").shop_id)
    shop.api.post(f"/v1/apps/{app['client_id']}:revoke")
    wait_until(lambda: tool.ask("GET", "/v1/products").status == 401, "the app's token to die")
    assert [row["active"] for row in shop.api.get("/v1/grants")["grants"]] == [False]


def test_staff_are_dismissed_with_their_tokens(admin):
    made = admin.post("/v1/staff", {"role": "auditor", "name": "新人"})
    auditor = admin.as_caller(made["token"])
    assert auditor.ask("GET", "/v1/shops").fine
    assert auditor.ask("POST", "/v1/staff", {"role": "admin", "name": "me"}).status == 403
    admin.post(f"/v1/staff/{made['staff_id']}:dismiss")
    wait_until(lambda: auditor.ask("GET", "/v1/shops").status == 401, "the dismissed auditor to be refused")


def test_shops_are_listed_page_by_page(admin, open_shop):
    made = {open_shop(f"列表{number}").shop_id for number in range(3)}
    seen, token = [], ""
    while len(seen) < 200:
        page = admin.get("/v1/shops", state="open", page_size=2, page_token=token)
        seen += [row["shop_id"] for row in page["shops"]]
        token = page["next_page_token"]
        if not token or made <= set(seen):
            break
    assert made <= set(seen)
    assert len(seen) == len(set(seen))
    assert admin.ask("GET", "/v1/shops", params={"state": "closed", "page_token": "x"}).reason == "INVALID_PAGE_TOKEN"


def test_a_buyer_knows_an_openid_for_each_account(shop, open_shop, new_buyer):
    other = open_shop("别家")
    buyer = new_buyer("小红", shop.account_id, other.account_id)
    assert len(set(buyer.openids.values())) == 2
    found = buyer.api.get("/v1/me/openids", account_id=shop.account_id)
    assert found["openid"] == buyer.openids[shop.account_id]
    assert buyer.api.ask("GET", "/v1/me/openids", params={"account_id": "acc_0"}).status == 404


def test_the_clock_moves_for_everybody_and_never_back(admin, api, buyer):
    before = datetime.fromisoformat(api.get("/v1/sandbox/clock")["now"])
    answer = advance(admin, 3600)
    assert answer["quiet"], answer["busy"]
    after = datetime.fromisoformat(api.get("/v1/sandbox/clock")["now"])
    assert timedelta(hours=1) <= after - before < timedelta(hours=2)
    back = admin.ask("POST", "/v1/sandbox/clock:advance", {"until": before.isoformat()})
    assert (back.status, back.body["errors"][0]["field"]) == (400, "until")
    assert buyer.api.ask("POST", "/v1/sandbox/clock:advance", {"seconds": 1}).status == 403


def test_a_seed_has_the_promised_shape_and_can_be_sown_again(stack):
    for _ in range(2):
        world_made = seed(stack.url, stack.bootstrap_secret)
        assert list(world_made) == ["base_url", "shops", "buyers", "admin", "arbitrator"]
        assert world_made["base_url"] == stack.url
        assert len(world_made["shops"]) >= 2
        assert all(list(shop) == ["shop_id", "account_id", "appid", "secret"] for shop in world_made["shops"])
        assert len(world_made["buyers"]) >= 3
        assert all(list(buyer) == ["openid", "token"] for buyer in world_made["buyers"])
        assert list(world_made["admin"]) == list(world_made["arbitrator"]) == ["token"]


def test_a_seeded_openid_is_the_one_for_the_first_shops_account(stack, api):
    made = seed(stack.url, stack.bootstrap_secret)
    for buyer in made["buyers"]:
        found = api.as_caller(buyer["token"]).get("/v1/me/openids", account_id=made["shops"][0]["account_id"])
        assert found["openid"] == buyer["openid"]
