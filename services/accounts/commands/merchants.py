"""Official accounts and their shops."""

from collections.abc import Mapping
from typing import Any

from services.accounts import model
from services.accounts.commands import credentials
from services.accounts.commands.credentials import House
from services.chassis import clock, commit, ids, policy
from services.chassis.commit import Cause, Decide, Outcome, Taken
from services.chassis.decisions import Change
from services.chassis.errors import Refusal, invalid, not_found
from services.chassis.mongo import Document


def register_account(house: House, cause: Cause, values: Mapping[str, Any]) -> tuple[Outcome, str]:
    """Register an official account: (outcome, its secret).

    ``values``: kind, name, verified, payment_enabled, warmed_up. Raises Refusal INVALID_ARGUMENT.
    """
    if values["kind"] not in model.KIND_NAMES:
        raise invalid("kind", f"must be one of {', '.join(model.KIND_NAMES)}")
    identity = ids.derived_id("acc", cause.id)
    appid = ids.derived_id("wx", cause.id).replace("_", "")[:18]
    account: Document = {
        "_id": identity,
        "kind": values["kind"],
        "name": model.checked_name("name", values["name"]),
        **{name: bool(values.get(name)) for name in ("verified", "payment_enabled", "warmed_up")},
        "appid": appid,
        "secrets": [credentials.hashed(credentials.derived_secret(house.key, appid))],
    }
    outcome = commit.create(house.store.accounts, account, cause, facts=(model.account_changed(account),))
    return outcome, credentials.derived_secret(house.key, outcome.document["appid"])


def update_account(house: House, cause: Cause, account_id: str, wanted: Mapping[str, Any]) -> Outcome:
    """Change name, verified, payment_enabled or warmed_up. Raises Refusal NOT_FOUND, INVALID_ARGUMENT."""
    new = dict(wanted)
    if "name" in new:
        new["name"] = model.checked_name("name", new["name"])
    return commit.change(
        house.store.accounts, account_id, cause, lambda account: model.update_account(account, new), kind="account"
    )


def apply_for_shop(house: House, cause: Cause, account_id: str, values: Mapping[str, Any]) -> Outcome:
    """Apply for the account's one shop; a rejected application is made again with the new values.

    ``values``: name, identity {name, registration_number, address, contact}, currency. Raises Refusal CONDITION_UNMET naming what
    the account lacks, INVALID_ARGUMENT, ALREADY_EXISTS.
    """
    account = house.store.account(account_id)
    if account is None:
        raise not_found("account", account_id)
    model.may_open_shop(account)
    currency = values.get("currency") or policy.load("accounts").value("default_currency", clock.business())
    wanted: Document = {
        "name": model.checked_name("name", values["name"]),
        "identity": model.checked_identity(values.get("identity", {})),
        "currency": model.checked_currency(currency),
    }
    shop: Document = {
        "_id": ids.derived_id("shop", account_id),
        "account_id": account_id,
        "state": "applied",
        "reason": "",
        **wanted,
    }
    try:
        return commit.create(house.store.shops, shop, cause, facts=(model.shop_changed(shop),))
    except Taken:
        return _apply_again(house, cause, shop["_id"], wanted)


def _apply_again(house: House, cause: Cause, shop_id: str, wanted: Document) -> Outcome:
    def decide(shop: Document) -> Change:
        if shop["state"] != "rejected":
            message = f"the account has a shop already ({shop_id}, {shop['state']}); an account has at most one"
            raise Refusal("ALREADY_EXISTS", message, info={"shop_id": shop_id, "state": shop["state"]})
        return model.step_shop(shop, "apply", new=wanted)

    return _changed(house, cause, shop_id, decide)


def step_shop(house: House, cause: Cause, shop_id: str, verb: str, reason: str = "") -> Outcome:
    """Approve, reject, suspend, reopen or close a shop. Raises Refusal NOT_FOUND, WRONG_STATE, INVALID_ARGUMENT (no reason)."""
    return _changed(house, cause, shop_id, lambda shop: model.step_shop(shop, verb, reason))


def _changed(house: House, cause: Cause, shop_id: str, decide: Decide) -> Outcome:
    try:
        return commit.change(house.store.shops, shop_id, cause, decide, kind="shop")
    finally:
        house.store.shop_changed(shop_id)
