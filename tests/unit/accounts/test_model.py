"""The rules of accounts, without a database."""

from datetime import UTC, datetime, timedelta

import pytest

from services.accounts import model
from services.chassis.errors import Refusal

NOW = datetime(2026, 1, 5, 2, tzinfo=UTC)
ACCOUNT = {
    "_id": "acc_1",
    "kind": "service",
    "name": "茶",
    "verified": True,
    "payment_enabled": True,
    "warmed_up": True,
    "appid": "wx1",
}
IDENTITY = {"name": "杭州茶业有限公司", "registration_number": "91330100", "address": "杭州", "contact": "0571-1"}


def shop(state):
    return {
        "_id": "shop_1",
        "account_id": "acc_1",
        "name": "茶铺",
        "state": state,
        "currency": "CNY",
        "identity": IDENTITY,
        "reason": "",
    }


def test_a_verified_service_account_with_payment_may_open_a_shop():
    model.may_open_shop(ACCOUNT)


@pytest.mark.parametrize(
    ("change", "field", "said"),
    [
        ({"kind": "subscription"}, "kind", "a subscription account (订阅号) cannot open a shop"),
        ({"kind": "enterprise"}, "kind", "an enterprise account (企业号) cannot open a shop"),
        ({"verified": False}, "verified", "not verified"),
        ({"payment_enabled": False}, "payment_enabled", "payment is not enabled"),
    ],
)
def test_the_missing_condition_is_named(change, field, said):
    with pytest.raises(Refusal) as refused:
        model.may_open_shop({**ACCOUNT, **change})
    assert refused.value.reason == "CONDITION_UNMET"
    assert [violation.field for violation in refused.value.violations] == [field]
    assert said in refused.value.message


def test_every_missing_condition_is_named_at_once():
    bare = {**ACCOUNT, "kind": "subscription", "verified": False, "payment_enabled": False}
    with pytest.raises(Refusal) as refused:
        model.may_open_shop(bare)
    assert [violation.field for violation in refused.value.violations] == ["kind", "verified", "payment_enabled"]


@pytest.mark.parametrize("verb", model.SHOP_STEPS)
@pytest.mark.parametrize("state", ["applied", "rejected", "open", "suspended", "closed"])
def test_a_shop_moves_only_along_the_declared_steps(verb, state):
    step = model.SHOP_STEPS[verb]
    if state not in step.sources:
        with pytest.raises(Refusal, match="WRONG_STATE"):
            model.step_shop(shop(state), verb, "because")
        return
    change = model.step_shop(shop(state), verb, "because")
    assert change.set["state"] == step.target
    assert [(fact.type, fact.data["state"]) for fact in change.facts] == [(model.SHOP_CHANGED, step.target)]


@pytest.mark.parametrize("verb", ["reject", "suspend", "close"])
def test_what_hurts_the_merchant_needs_a_reason(verb):
    with pytest.raises(Refusal) as refused:
        model.step_shop(shop(model.SHOP_STEPS[verb].sources[0]), verb, "  ")
    assert refused.value.violations[0].field == "reason"


def test_an_application_is_private_and_a_closed_shop_still_has_a_respondent():
    assert not model.may_see_shop(shop("applied"), kind="anyone", account_id="")
    assert not model.may_see_shop(shop("rejected"), kind="merchant", account_id="acc_2")
    assert model.may_see_shop(shop("applied"), kind="merchant", account_id="acc_1")
    assert model.may_see_shop(shop("applied"), kind="admin", account_id="")
    assert model.may_see_shop(shop("closed"), kind="anyone", account_id="")


def test_the_legal_identity_has_four_parts():
    assert model.checked_identity({**IDENTITY, "name": " 杭州茶业有限公司 "}) == IDENTITY
    with pytest.raises(Refusal) as refused:
        model.checked_identity({"name": "x", "address": " "})
    fields = [violation.field for violation in refused.value.violations]
    assert fields == ["identity.registration_number", "identity.address", "identity.contact"]


@pytest.mark.parametrize("name", ["", "  ", "x" * 121, "a\x00b", "a\nb"])
def test_a_name_has_a_length(name):
    with pytest.raises(Refusal, match="1 to 120"):
        model.checked_name("name", name)


@pytest.mark.parametrize("currency", ["", "cny", "CN", "元元元", "C1Y"])
def test_a_currency_is_an_iso_code(currency):
    with pytest.raises(Refusal, match="ISO 4217"):
        model.checked_currency(currency)


def test_scopes_stay_within_what_is_allowed():
    assert model.checked_scopes("scopes", [], {"b", "a"}) == ["a", "b"]
    assert model.checked_scopes("scopes", ["a", "a"], {"b", "a"}) == ["a"]
    with pytest.raises(Refusal, match="c not among"):
        model.checked_scopes("scopes", ["a", "c"], {"b", "a"})


def test_updating_an_account_tells_the_whole_of_it_and_only_when_something_changed():
    assert model.update_account(ACCOUNT, {"verified": True}) is None
    change = model.update_account(ACCOUNT, {"verified": False, "name": "茶"})
    assert change.set == {"verified": False}
    assert change.facts[0].data == {
        "account_id": "acc_1",
        "kind": "service",
        "name": "茶",
        "verified": False,
        "payment_enabled": True,
        "warmed_up": True,
        "appid": "wx1",
    }


def test_the_clock_moves_forward_by_seconds_or_to_a_moment():
    assert model.clock_target(NOW, 5, 60, None) == 60_005
    assert model.clock_target(NOW, 5, 0, NOW + timedelta(milliseconds=7)) == 12
    for seconds, until in ((0, None), (1, NOW), (-1, None), (0, NOW - timedelta(seconds=1))):
        with pytest.raises(Refusal, match="INVALID_ARGUMENT"):
            model.clock_target(NOW, 5, seconds, until)


@pytest.mark.parametrize(
    ("now", "seconds", "until", "field"),
    [
        (NOW, 2**62, None, "seconds"),
        (NOW, 11 * 366 * 86_400, None, "seconds"),
        (NOW, 0, NOW + timedelta(days=11 * 366), "until"),
        (model.CLOCK_END - timedelta(days=1), 86_401, None, "seconds"),
        (model.CLOCK_END - timedelta(days=1), 0, model.CLOCK_END + timedelta(seconds=1), "until"),
    ],
)
def test_the_clock_goes_no_further_than_dates_can(now, seconds, until, field):
    with pytest.raises(Refusal) as refused:
        model.clock_target(now, 5, seconds, until)
    assert [found.field for found in refused.value.violations] == [field]
    assert model.clock_target(model.CLOCK_END - timedelta(days=1), 5, 86_400, None) == 86_400_005


def test_taking_an_app_off_a_shop_revokes_its_tokens_for_that_shop_once():
    later = NOW + timedelta(days=1)
    grant = {"_id": "app_1:shop_1", "client_id": "app_1", "shop_id": "shop_1", "active": True, "scopes": ["a"]}
    told = {"token_id": "", "subject": "app_1", "shop_id": "shop_1", "issued_before": NOW, "expire_time": later}
    assert model.revoke_grant(grant, NOW, later).facts[0].data == told
    assert model.revoke_grant({**grant, "active": False}, NOW, later) is None
    assert model.grant(grant, ["a"]) is None
    assert model.grant({**grant, "active": False}, ["a"]).set == {"active": True, "scopes": ["a"]}
    assert model.dismiss({"_id": "staff_1", "active": False}, NOW, later) is None
