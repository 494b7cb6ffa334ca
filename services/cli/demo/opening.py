"""Chapter 1: the first admin, accounts, shops, credentials."""

from services.cli import world
from services.cli.demo.story import Story
from services.cli.world import Merchant

TITLE = "1 opening"
SHOPS = ("山野茶铺", "云间布衣")


def tell(story: Story) -> None:
    """Who may open a shop, and who may not."""
    first_admin(story)
    subscription_account(story)
    for name in SHOPS:
        story.shops.append(open_shop(story, name))
    credentials(story)
    staff_and_buyers(story)


def first_admin(story: Story) -> None:
    """The bootstrap secret makes one admin."""
    api, expect = story.api, story.expect
    wrong = api.ask("POST", "/v1/bootstrap/admin", {"secret": "guessed", "name": "x"})
    expect.refused(wrong, "INVALID_CREDENTIALS", "a guessed bootstrap secret")
    token = world.first_admin(api, story.bootstrap_secret)
    expect.equal(world.first_admin(api, story.bootstrap_secret), token, "the same request answers the same token")
    second = api.ask("POST", "/v1/bootstrap/admin", {"secret": story.bootstrap_secret, "name": "second"})
    expect.refused(second, "WRONG_STATE", "a second first admin")
    story.admin = api.as_caller(token)
    nobody = api.ask("POST", "/v1/accounts", {"kind": "service", "name": "x"})
    expect.refused(nobody, "UNAUTHENTICATED", "registering an account without a token")


def subscription_account(story: Story) -> None:
    """A subscription account asks for a shop and is told why not."""
    account = world.official_account(story.admin, "每日茶讯", kind="subscription")
    story.subscription = account
    body = {"name": "每日茶讯", "identity": world.legal_identity("每日茶讯")}
    answer = story.api.as_caller(account.token).ask("POST", "/v1/shops", body)
    story.expect.refused(answer, "CONDITION_UNMET", "a shop for a subscription account")
    story.expect.true("订阅号" in str(answer.body.get("detail")), f"the refusal names the condition: {answer.body}")
    story.figure("subscription account refused", str(answer.body.get("detail", ""))[:60])
    bare = world.official_account(story.admin, "无证小铺", verified=False, payment_enabled=False)
    answer = story.api.as_caller(bare.token).ask("POST", "/v1/shops", {**body, "name": "无证小铺"})
    named = [error["field"] for error in answer.body.get("errors", ())]
    story.expect.equal(named, ["verified", "payment_enabled"], "every missing condition is named")


def open_shop(story: Story, name: str) -> Merchant:
    """Account → application → approval → a token that speaks for the shop."""
    expect, admin = story.expect, story.admin
    account = world.official_account(admin, name)
    shop_id = world.apply_for_shop(admin, account, name)
    hidden = story.api.ask("GET", f"/v1/shops/{shop_id}")
    expect.refused(hidden, "NOT_FOUND", "an application seen by strangers")
    again = story.api.as_caller(account.token)
    twice = again.ask("POST", "/v1/shops", {"name": "again", "identity": world.legal_identity("again")})
    expect.refused(twice, "ALREADY_EXISTS", "a second shop of one account")
    admin.post(f"/v1/shops/{shop_id}:approve")
    card = story.api.get(f"/v1/shops/{shop_id}")["shop"]
    expect.equal(card["state"], "open", "the approved shop is open")
    expect.equal(card["identity"], world.legal_identity(name), "the card shows the legal identity")
    token = world.access_token(admin, account.appid, account.secret)
    world.wait_known(admin.as_caller(token), shop_id)
    return Merchant(account.account_id, account.appid, account.secret, token, shop_id)


def credentials(story: Story) -> None:
    """``POST /v1/oauth/token`` as any OAuth library sends it."""
    shop = story.shops[0]
    form = {"grant_type": "client_credentials", "client_id": shop.appid, "client_secret": shop.secret}
    answer = story.api.ask("POST", "/v1/oauth/token", form=form)
    story.expect.equal(set(answer.body), {"access_token", "token_type", "expires_in"}, "the token answer's fields")
    wrong = story.api.ask("POST", "/v1/oauth/token", form={**form, "client_secret": "guessed"})
    story.expect.refused(wrong, "INVALID_CREDENTIALS", "a guessed secret")
    other = story.shop(0).ask("GET", f"/v1/accounts/{story.shops[1].account_id}")
    story.expect.true(not other.fine, "a merchant reads another's account")
    story.figure("shops opened", len(story.shops))


def staff_and_buyers(story: Story) -> None:
    """An arbitrator, an auditor, and three buyers."""
    story.arbitrator = story.api.as_caller(world.staff(story.admin, "arbitrator", "包拯"))
    story.auditor = story.api.as_caller(world.staff(story.admin, "auditor", "海瑞"))
    accounts = [shop.account_id for shop in story.shops]
    story.buyers.extend(world.buyer(story.api, name, *accounts) for name in ("小明", "小红", "小刚"))
    openids = list(story.buyers[0].openids.values())
    story.expect.equal(len(set(openids)), len(accounts), "a buyer is another openid to every account")
    resolved = story.buyer(0).get("/v1/me/openids", account_id=accounts[0])["openid"]
    story.expect.equal(resolved, openids[0], "the buyer's own openid")
