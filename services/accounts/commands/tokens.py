"""Tokens: the first admin's, those of credentials, and revocation."""

import hmac

from services.accounts import model
from services.accounts.commands import credentials
from services.accounts.commands.credentials import Given, House
from services.chassis import commit, ids
from services.chassis.commit import Cause, Outcome, Taken
from services.chassis.errors import Refusal, Violation, invalid, not_found
from services.chassis.mongo import Document
from services.chassis.tokens import Caller

APP_PREFIX = "app_"
RENEWING = frozenset({"merchant", "buyer"})
"""Kinds of callers who can get another token by themselves."""


def bootstrap_admin(house: House, cause: Cause, known_secret: str, secret: str, name: str) -> tuple[str, Given]:
    """Make the first admin: (staff id, token). Works once; the same request again answers the same.

    Raises Refusal INVALID_CREDENTIALS for a wrong secret (or where there is none), WRONG_STATE when there is a first admin.
    """
    if not known_secret or not hmac.compare_digest(known_secret.encode(), secret.encode()):
        raise Refusal(
            "INVALID_CREDENTIALS", "not the bootstrap secret; it is in the data folder's file bootstrap-secret"
        )
    member = {
        "_id": ids.derived_id("staff", cause.id),
        "role": "admin",
        "name": model.checked_name("name", name or "first admin"),
        "active": True,
        "bootstrap": True,
    }
    try:
        outcome = commit.create(house.store.staff, member, cause)
    except Taken as error:
        raise Refusal("WRONG_STATE", "the first admin was made already; ask an admin for a staff account") from error
    given = credentials.give_token(house, cause.part("token"), "admin", outcome.document["_id"])
    return outcome.document["_id"], given


def issue(
    house: House, cause: Cause, *, grant_type: str, client_id: str, client_secret: str, scope: str, shop_id: str
) -> Given:
    """Exchange credentials for a token: of an official account (its appid) or of an app for a shop it is installed on.

    ``scope``: space separated, empty for all allowed. Raises Refusal INVALID_ARGUMENT, INVALID_CREDENTIALS, PERMISSION_DENIED
    (app not installed on the shop).
    """
    if grant_type != "client_credentials":
        raise invalid("grant_type", 'must be "client_credentials"')
    wanted = scope.split()
    if client_id.startswith(APP_PREFIX):
        return _issue_to_app(house, cause, client_id, client_secret, wanted, shop_id)
    return _issue_to_account(house, cause, client_id, client_secret, wanted, shop_id)


def _issue_to_account(house: House, cause: Cause, appid: str, secret: str, wanted: list[str], shop_id: str) -> Given:
    account = _checked(house.store.account_by_appid(appid), secret)
    shop = house.store.shop_of(account["_id"])
    own = shop["_id"] if shop else ""
    if shop_id and shop_id != own:
        raise Refusal("PERMISSION_DENIED", f"{appid} does not speak for shop {shop_id}")
    scopes = model.checked_scopes("scope", wanted) if wanted else ["*"]
    return credentials.give_token(
        house, cause, "merchant", account["_id"], scopes=scopes, shop_id=own, account_id=account["_id"]
    )


def _issue_to_app(house: House, cause: Cause, client_id: str, secret: str, wanted: list[str], shop_id: str) -> Given:
    _checked(house.store.app(client_id), secret)
    if not shop_id:
        raise invalid("shop_id", "an app names the shop that it wants to speak for")
    grant = house.store.grant(client_id, shop_id)
    if grant is None or not grant["active"]:
        raise Refusal("PERMISSION_DENIED", f"{client_id} is not installed on shop {shop_id}; the merchant grants it")
    scopes = model.checked_scopes("scope", wanted, grant["scopes"])
    return credentials.give_token(
        house, cause, "merchant", client_id, scopes=scopes, shop_id=shop_id, account_id=grant["account_id"]
    )


def _checked(known: Document | None, secret: str) -> Document:
    """The account or app ``known`` whose secret this is. Raises Refusal INVALID_CREDENTIALS naming which of the two is wrong: client ids are public, as appids are."""
    if known is None:
        found = Violation("client_id", "no official account or app has this id")
    elif not credentials.matches(known["secrets"], secret):
        found = Violation("client_secret", "is not the secret of this client_id; it may have been replaced")
    else:
        return known
    raise Refusal("INVALID_CREDENTIALS", "client_id and client_secret do not belong together", (found,))


def revoke(house: House, cause: Cause, caller: Caller, token_id: str, subject: str) -> Outcome:
    """Revoke one token, or all tokens of a subject issued up to now; by default the caller's own.

    Admins may revoke anybody's. Staff must name whose: who has none left gets none again but from another admin. Raises Refusal NOT_FOUND (no such token of the caller's), PERMISSION_DENIED, INVALID_ARGUMENT.
    """
    if token_id and subject:
        raise invalid("subject", "name a token or a subject, not both")
    if not (token_id or subject) and caller.kind not in RENEWING:
        raise invalid("token_id", f"name the token, or as subject whose; to end all of your own say {caller.subject}")
    whose = subject or caller.subject
    if token_id:
        row = house.store.token(token_id)
        if row is None or (caller.kind != "admin" and row["subject"] != caller.subject):
            raise not_found("token", token_id)
        whose = row["subject"]
    elif whose != caller.subject and caller.kind != "admin":
        raise Refusal("PERMISSION_DENIED", "only admins revoke the tokens of others")
    before, until = credentials.revocation_span()
    fact = model.token_revoked(token_id, whose, before, until)
    row = {"_id": ids.derived_id("rev", cause.id), "token_id": token_id, "subject": whose, "by": caller.identity}
    # The row keeps its events until they are sent: only then may it expire, which `until` leaves ample time for.
    return commit.create(house.store.revocations, {**row, "expire_at": until}, cause, facts=(fact,))
