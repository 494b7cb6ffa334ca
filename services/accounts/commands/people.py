"""The platform's staff, third-party apps and their grants, and buyers."""

from collections.abc import Sequence

from services.accounts import model
from services.accounts.commands import credentials
from services.accounts.commands.credentials import Given, House
from services.accounts.store import grant_id
from services.chassis import commit, ids
from services.chassis.commit import Cause, Outcome, Taken
from services.chassis.errors import invalid, not_found
from services.chassis.mongo import Document


def create_staff(house: House, cause: Cause, role: str, name: str) -> tuple[str, Given]:
    """Add a member of the platform's staff: (staff id, token). Raises Refusal INVALID_ARGUMENT."""
    if role not in model.STAFF_ROLES:
        raise invalid("role", f"must be one of {', '.join(model.STAFF_ROLES)}")
    member = {
        "_id": ids.derived_id("staff", cause.id),
        "role": role,
        "name": model.checked_name("name", name or role),
        "active": True,
    }
    outcome = commit.create(house.store.staff, member, cause)
    given = credentials.give_token(house, cause.part("token"), role, outcome.document["_id"])
    return outcome.document["_id"], given


def dismiss_staff(house: House, cause: Cause, staff_id: str) -> Outcome:
    """End a member's service and revoke their tokens. Raises Refusal NOT_FOUND."""
    before, until = credentials.revocation_span()
    return commit.change(
        house.store.staff, staff_id, cause, lambda member: model.dismiss(member, before, until), kind="staff member"
    )


def register_app(house: House, cause: Cause, name: str, scopes: Sequence[str]) -> tuple[Outcome, str]:
    """Register a developer's app with the most it may be granted: (outcome, its secret). Raises Refusal INVALID_ARGUMENT."""
    client_id = ids.derived_id("app", cause.id)
    app = {
        "_id": client_id,
        "name": model.checked_name("name", name),
        "scopes": model.checked_scopes("scopes", scopes),
        "secrets": [credentials.hashed(credentials.derived_secret(house.key, client_id))],
    }
    outcome = commit.create(house.store.apps, app, cause)
    return outcome, credentials.derived_secret(house.key, outcome.document["_id"])


def grant_app(house: House, cause: Cause, shop_id: str, client_id: str, scopes: Sequence[str]) -> Outcome:
    """Install an app on a shop, or change its scopes there.

    Raises Refusal NOT_FOUND (no such app or shop), INVALID_ARGUMENT (a scope the app has not).
    """
    app, shop = house.store.app(client_id), house.store.shop(shop_id)
    if app is None:
        raise not_found("app", client_id)
    if shop is None:
        raise not_found("shop", shop_id)
    wanted = model.checked_scopes("scopes", scopes, app["scopes"])
    grant: Document = {
        "_id": grant_id(client_id, shop_id),
        "client_id": client_id,
        "app_name": app["name"],
        "shop_id": shop_id,
        "account_id": shop["account_id"],
        "scopes": wanted,
        "active": True,
    }
    try:
        return commit.create(house.store.grants, grant, cause)
    except Taken:
        return commit.change(
            house.store.grants, grant["_id"], cause, lambda found: model.grant(found, wanted), kind="grant"
        )


def revoke_grant(house: House, cause: Cause, shop_id: str, client_id: str) -> Outcome:
    """Take an app off a shop. All the app's tokens issued so far die; for other shops it asks anew. Raises Refusal NOT_FOUND."""
    before, until = credentials.revocation_span()
    return commit.change(
        house.store.grants,
        grant_id(client_id, shop_id),
        cause,
        lambda found: model.revoke_grant(found, before, until),
        kind="grant",
    )


def sandbox_buyer(house: House, cause: Cause, name: str) -> tuple[str, Given]:
    """A buyer for trying things: (user id, token). Raises Refusal INVALID_ARGUMENT."""
    buyer = {"_id": ids.derived_id("user", cause.id), "name": model.checked_name("name", name or "buyer")}
    outcome = commit.create(house.store.buyers, buyer, cause)
    given = credentials.give_token(house, cause.part("token"), "buyer", outcome.document["_id"])
    return outcome.document["_id"], given
