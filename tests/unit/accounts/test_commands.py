"""The commands of accounts on a real database."""

import pytest

from services.accounts import queries
from services.accounts.commands import merchants, people, sandbox, tokens
from services.accounts.commands.credentials import House
from services.accounts.store import COLLECTIONS, Store
from services.chassis import clock, ids, mongo
from services.chassis.commit import Cause
from services.chassis.errors import Refusal
from services.chassis.tokens import Caller, Signer, Verifier

ACCOUNT = {"kind": "service", "name": "茶", "verified": True, "payment_enabled": True, "warmed_up": True}
IDENTITY = {"name": "杭州茶业有限公司", "registration_number": "91330100", "address": "杭州", "contact": "0571-1"}


@pytest.fixture
def store(memory_world):
    database = memory_world.database("accounts")
    mongo.declare(database, COLLECTIONS)
    shared = memory_world.database("jishi")
    clock.open_sandbox(shared)
    yield Store(database, memory_world.client, shared)
    clock.reset()


@pytest.fixture
def house(store, memory_world):
    return House(store, Signer(memory_world.settings, "accounts"), b"k" * 32, sandbox=True)


@pytest.fixture
def verify(memory_world):
    return Verifier(memory_world.settings).verify


def cause(name=None, body=""):
    return Cause(f"cmd:{name or ids.secret()}", body)


def open_shop(house):
    account, secret = merchants.register_account(house, cause(), ACCOUNT)
    values = {"name": "茶铺", "identity": IDENTITY}
    shop = merchants.apply_for_shop(house, cause(), account.document["_id"], values).document
    merchants.step_shop(house, cause(), shop["_id"], "approve")
    return account.document, secret, shop["_id"]


def issue(house, client_id, secret, *, by=None, scope="", shop_id="", grant_type="client_credentials"):
    return tokens.issue(
        house,
        by or cause(),
        grant_type=grant_type,
        client_id=client_id,
        client_secret=secret,
        scope=scope,
        shop_id=shop_id,
    )


def facts(rows):
    return [(event["type"], event["data"]) for row in rows.find() for event in row.get("outbox", ())]


def test_the_bootstrap_secret_makes_one_admin_and_the_same_request_the_same_one(house, verify):
    first = cause("first")
    staff_id, given = tokens.bootstrap_admin(house, first, "s3cret", "s3cret", "王")
    assert verify(given.text).kind == "admin"
    again_id, again = tokens.bootstrap_admin(house, first, "s3cret", "s3cret", "王")
    assert (again_id, again.text, again.replayed) == (staff_id, given.text, True)
    with pytest.raises(Refusal, match="WRONG_STATE"):
        tokens.bootstrap_admin(house, cause(), "s3cret", "s3cret", "李")
    assert house.store.staff.count_documents({}) == 1


@pytest.mark.parametrize(("known", "sent"), [("s3cret", "guess"), ("", ""), ("s3cret", "")])
def test_without_the_bootstrap_secret_there_is_no_admin(house, known, sent):
    with pytest.raises(Refusal, match="INVALID_CREDENTIALS"):
        tokens.bootstrap_admin(house, cause(), known, sent, "x")
    assert house.store.staff.count_documents({}) == 0


def test_an_account_gets_its_secret_again_for_the_same_request_although_only_a_hash_is_stored(house):
    by = cause("account", "body")
    first, secret = merchants.register_account(house, by, ACCOUNT)
    second, same = merchants.register_account(house, by, ACCOUNT)
    assert second.replayed
    assert (second.document["_id"], same) == (first.document["_id"], secret)
    assert secret not in str(house.store.accounts.find_one())
    with pytest.raises(Refusal, match="IDEMPOTENCY_KEY_REUSED"):
        merchants.register_account(house, cause("account", "other body"), ACCOUNT)
    [(kind, data)] = facts(house.store.accounts)
    assert (kind, data["account_id"], data["kind"]) == (
        "jishi.accounts.account.changed.v1",
        first.document["_id"],
        "service",
    )


def test_credentials_become_a_token_for_the_account_and_its_shop(house, verify):
    account, secret, shop_id = open_shop(house)
    by = cause("token")
    given = issue(house, account["appid"], secret, by=by)
    caller = verify(given.text)
    assert (caller.kind, caller.account_id, caller.shop_id) == ("merchant", account["_id"], shop_id)
    assert caller.may("products:write")
    assert given.lifetime_s == 7200
    assert issue(house, account["appid"], secret, by=by).text == given.text
    narrow = verify(issue(house, account["appid"], secret, scope="orders:read").text)
    assert narrow.may("orders:read")
    assert not narrow.may("products:write")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"secret": "wrong"}, "INVALID_CREDENTIALS"),
        ({"client_id": "wx0000"}, "INVALID_CREDENTIALS"),
        ({"client_id": "app_0"}, "INVALID_CREDENTIALS"),
        ({"grant_type": "password"}, "INVALID_ARGUMENT"),
        ({"shop_id": "shop_other"}, "PERMISSION_DENIED"),
        ({"scope": "everything"}, "INVALID_ARGUMENT"),
    ],
)
def test_what_gets_no_token(house, change, reason):
    account, secret, _ = open_shop(house)
    wanted = {"client_id": account["appid"], "secret": secret, **change}
    with pytest.raises(Refusal) as refused:
        issue(house, **wanted)
    assert refused.value.reason == reason
    assert house.store.tokens.count_documents({}) == 0


def test_only_a_fit_account_applies_and_only_for_one_shop(house):
    subscription, _ = merchants.register_account(house, cause(), {**ACCOUNT, "kind": "subscription"})
    values = {"name": "茶铺", "identity": IDENTITY}
    with pytest.raises(Refusal, match=r"订阅号.*cannot open a shop"):
        merchants.apply_for_shop(house, cause(), subscription.document["_id"], values)
    with pytest.raises(Refusal, match="NOT_FOUND"):
        merchants.apply_for_shop(house, cause(), "acc_0", values)
    account, _, shop_id = open_shop(house)
    with pytest.raises(Refusal) as refused:
        merchants.apply_for_shop(house, cause(), account["_id"], values)
    assert (refused.value.reason, refused.value.info["shop_id"]) == ("ALREADY_EXISTS", shop_id)


def test_a_rejected_application_is_made_again(house):
    account = merchants.register_account(house, cause(), ACCOUNT)[0].document
    values = {"name": "茶铺", "identity": IDENTITY}
    shop_id = merchants.apply_for_shop(house, cause(), account["_id"], values).document["_id"]
    merchants.step_shop(house, cause(), shop_id, "reject", "blurred licence")
    by = cause("again")
    again = merchants.apply_for_shop(house, by, account["_id"], {**values, "name": "新茶铺"})
    assert (again.document["state"], again.document["name"], again.document["reason"]) == ("applied", "新茶铺", "")
    assert merchants.apply_for_shop(house, by, account["_id"], {**values, "name": "新茶铺"}).replayed
    states = [data["state"] for _, data in facts(house.store.shops)]
    assert states == ["applied", "rejected", "applied"]


def test_a_step_repeated_answers_as_the_first_time_after_the_shop_moved_on(house):
    _, _, shop_id = open_shop(house)
    by = cause("suspend")
    first = merchants.step_shop(house, by, shop_id, "suspend", "complaints")
    merchants.step_shop(house, cause(), shop_id, "reopen")
    again = merchants.step_shop(house, by, shop_id, "suspend", "complaints")
    assert again.replayed
    assert again.answer == first.answer == {"state": "suspended", "reason": "complaints"}
    assert house.store.shop(shop_id)["state"] == "open"


def test_an_app_speaks_for_a_shop_while_it_is_installed_there(house, verify):
    _, _, shop_id = open_shop(house)
    app, secret = people.register_app(house, cause(), "批量工具", ["products:write", "orders:read"])
    client_id = app.document["_id"]
    for wanted in ({"shop_id": shop_id}, {"shop_id": ""}):
        with pytest.raises(Refusal):
            issue(house, client_id, secret, **wanted)
    people.grant_app(house, cause(), shop_id, client_id, ["products:write"])
    caller = verify(issue(house, client_id, secret, shop_id=shop_id).text)
    assert (caller.subject, caller.shop_id, caller.scopes) == (client_id, shop_id, {"products:write"})
    with pytest.raises(Refusal, match="orders:read not among"):
        issue(house, client_id, secret, shop_id=shop_id, scope="orders:read")
    with pytest.raises(Refusal, match="broadcast:send not among"):
        people.grant_app(house, cause(), shop_id, client_id, ["broadcast:send"])
    people.revoke_grant(house, cause(), shop_id, client_id)
    with pytest.raises(Refusal, match="PERMISSION_DENIED"):
        issue(house, client_id, secret, shop_id=shop_id)
    [(kind, data)] = facts(house.store.grants)
    assert (kind, data["subject"], data["shop_id"]) == ("jishi.accounts.token.revoked.v1", client_id, shop_id)
    again = people.grant_app(house, cause(), shop_id, client_id, [])
    assert again.document["scopes"] == ["orders:read", "products:write"]


@pytest.mark.parametrize(("client", "shop"), [("app_0", None), (None, "shop_0")])
def test_a_grant_needs_an_app_and_a_shop(house, client, shop):
    _, _, shop_id = open_shop(house)
    app, _ = people.register_app(house, cause(), "批量工具", [])
    with pytest.raises(Refusal, match="NOT_FOUND"):
        people.grant_app(house, cause(), shop or shop_id, client or app.document["_id"], [])


def test_a_caller_revokes_its_own_tokens_and_only_an_admin_those_of_others(house, verify):
    user_id, given = people.sandbox_buyer(house, cause(), "小明")
    token_id = verify(given.text).jti
    buyer, other, admin = Caller("buyer", user_id), Caller("buyer", "user_2"), Caller("admin", "staff_1")
    with pytest.raises(Refusal, match="NOT_FOUND"):
        tokens.revoke(house, cause(), other, token_id, "")
    with pytest.raises(Refusal, match="PERMISSION_DENIED"):
        tokens.revoke(house, cause(), other, "", user_id)
    with pytest.raises(Refusal, match="INVALID_ARGUMENT"):
        tokens.revoke(house, cause(), admin, token_id, user_id)
    with pytest.raises(Refusal, match="INVALID_ARGUMENT: token_id: name the token"):
        tokens.revoke(house, cause(), admin, "", "")
    tokens.revoke(house, cause(), buyer, token_id, "")
    tokens.revoke(house, cause(), admin, "", user_id)
    told = sorted((data.get("token_id", ""), data["subject"]) for _, data in facts(house.store.revocations))
    assert told == [("", user_id), (token_id, user_id)]


def test_staff_have_a_role_and_are_dismissed_with_their_tokens(house, verify):
    staff_id, given = people.create_staff(house, cause(), "arbitrator", "包青天")
    assert verify(given.text).kind == "arbitrator"
    assert given.lifetime_s > 60 * 86_400
    with pytest.raises(Refusal, match="INVALID_ARGUMENT"):
        people.create_staff(house, cause(), "emperor", "x")
    people.dismiss_staff(house, cause(), staff_id)
    people.dismiss_staff(house, cause(), staff_id)
    assert [data["subject"] for _, data in facts(house.store.staff)] == [staff_id]


def test_a_buyer_is_another_openid_to_every_account(house, verify):
    account, _, shop_id = open_shop(house)
    user_id, given = people.sandbox_buyer(house, cause(), "小明")
    assert verify(given.text).account_id == ""
    found = queries.describe_parties(house.store, house.key, user_id, [shop_id, "shop_0"], ["acc_other"])
    assert [(shop["shop_id"], shop["identity"]) for shop in found["shops"]] == [(shop_id, IDENTITY)]
    openids = {row["account_id"]: row["openid"] for row in found["openids"]}
    assert set(openids) == {account["_id"], "acc_other"}
    assert len(set(openids.values())) == 2
    assert all(len(openid) == 28 and openid.startswith("o") for openid in openids.values())


def test_a_shop_that_is_suspended_is_so_described_at_once(house):
    _, _, shop_id = open_shop(house)

    def described():
        return queries.describe_parties(house.store, house.key, "", [shop_id], [])["shops"][0]["state"]

    assert described() == "open"
    merchants.step_shop(house, cause(), shop_id, "suspend", "假货")
    assert described() == "suspended"
    merchants.step_shop(house, cause(), shop_id, "reopen", "误判")
    assert described() == "open"


def test_an_application_is_hidden_from_strangers(house):
    account = merchants.register_account(house, cause(), ACCOUNT)[0].document
    shop = merchants.apply_for_shop(house, cause(), account["_id"], {"name": "茶铺", "identity": IDENTITY}).document
    with pytest.raises(Refusal, match="NOT_FOUND"):
        queries.shop(house.store, Caller("buyer", "user_1"), shop["_id"])
    with pytest.raises(Refusal, match="NOT_FOUND"):
        queries.shop(house.store, Caller("anyone"), "shop_0")
    own = Caller("merchant", account["_id"], account_id=account["_id"])
    assert queries.shop(house.store, own, shop["_id"])["_id"] == shop["_id"]


def test_shops_are_listed_in_pages_without_gap_or_repeat(house):
    made = {open_shop(house)[2] for _ in range(5)}
    seen, after = [], None
    while True:
        page, last = queries.shops_page(house.store, {"state": "open"}, after, 2)
        seen += [shop["_id"] for shop in page]
        if not last:
            break
        after = last
    assert sorted(seen) == sorted(made)
    assert queries.shops_page(house.store, {"state": "closed"}, None, 0) == ([], [])
    with pytest.raises(Refusal, match="INVALID_ARGUMENT"):
        queries.shops_page(house.store, {}, None, 101)


def test_an_account_is_updated_once_and_tells_of_it(house):
    account = merchants.register_account(house, cause(), ACCOUNT)[0].document
    by = cause("update")
    for _ in range(2):
        merchants.update_account(house, by, account["_id"], {"verified": False, "name": " 新茶 "})
    found = queries.account(house.store, account["_id"])
    assert (found["verified"], found["name"]) == (False, "新茶")
    assert len(facts(house.store.accounts)) == 2
    with pytest.raises(Refusal, match="NOT_FOUND"):
        queries.account(house.store, "acc_0")


def test_moves_of_the_clock_add_up_and_a_repeated_one_counts_once(store):
    start = clock.read_offset(store.shared)
    by = cause("move", "body")
    assert sandbox.advance_clock(store, by, 60, None) == (start + 60_000, False)
    assert sandbox.advance_clock(store, by, 60, None) == (start + 60_000, True)
    assert sandbox.advance_clock(store, cause(), 5, None)[0] == start + 65_000
    assert clock.read_offset(store.shared) == start + 65_000
    with pytest.raises(Refusal, match="IDEMPOTENCY_KEY_REUSED"):
        sandbox.advance_clock(store, cause("move", "other"), 61, None)
