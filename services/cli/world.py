"""People and shops for seeds, demos and journeys, made through the API as anybody would make them."""

import time
from dataclasses import asdict, dataclass
from typing import Any, Final

from services.chassis import clock
from services.cli.api import Api, UnexpectedAnswer

FIRST_ADMIN_KEY: Final = "jishi-first-admin"
"""Whoever knows the bootstrap secret and repeats this request gets the first admin's token again."""
KNOWN_WITHIN_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Merchant:
    """An official account with its credentials, and its shop where it has one."""

    account_id: str
    appid: str
    secret: str
    token: str
    shop_id: str = ""


@dataclass(frozen=True, slots=True)
class Buyer:
    """A buyer: id, token, and openid by account."""

    user_id: str
    token: str
    openids: dict[str, str]


def first_admin(api: Api, bootstrap_secret: str) -> str:
    """The first admin's token. Raises UnexpectedAnswer where another request made that admin."""
    body = {"secret": bootstrap_secret, "name": "first admin"}
    return str(api.post("/v1/bootstrap/admin", body, key=FIRST_ADMIN_KEY)["token"])


def staff(admin: Api, role: str, name: str) -> str:
    """A new staff member's token."""
    return str(admin.post("/v1/staff", {"role": role, "name": name})["token"])


def official_account(
    admin: Api, name: str, *, kind: str = "service", verified: bool = True, payment_enabled: bool = True
) -> Merchant:
    """A registered official account past its warm-up, without a shop."""
    body = {"kind": kind, "name": name, "verified": verified, "payment_enabled": payment_enabled, "warmed_up": True}
    made = admin.post("/v1/accounts", body)
    token = access_token(admin, made["appid"], made["secret"])
    return Merchant(made["account_id"], made["appid"], made["secret"], token)


def access_token(api: Api, client_id: str, client_secret: str, **more: str) -> str:
    """Credentials → token, by the form that OAuth libraries send. Raises UnexpectedAnswer."""
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret, **more}
    answer = api.as_caller("").ask("POST", "/v1/oauth/token", form=form)
    if not answer.fine:
        raise UnexpectedAnswer("POST /v1/oauth/token", answer)
    return str(answer.body["access_token"])


def apply_for_shop(admin: Api, account: Merchant, name: str) -> str:
    """Apply for the account's shop; answers the shop's id."""
    body = {"name": name, "identity": legal_identity(name)}
    shop: dict[str, Any] = admin.as_caller(account.token).post("/v1/shops", body)["shop"]
    return str(shop["shop_id"])


def legal_identity(name: str) -> dict[str, str]:
    """A legal identity (主体信息) as the sandbox makes them up."""
    return {
        "name": f"{name}有限公司",
        "registration_number": "91330106MA2XXXXX0Q",
        "address": "浙江省杭州市西湖区文三路 1 号",
        "contact": "0571-88880000",
    }


def open_shop(admin: Api, name: str) -> Merchant:
    """An official account whose shop is open, with a token that speaks for both."""
    account = official_account(admin, name)
    shop_id = apply_for_shop(admin, account, name)
    admin.post(f"/v1/shops/{shop_id}:approve")
    token = access_token(admin, account.appid, account.secret)
    wait_known(admin.as_caller(token), shop_id)
    return Merchant(**{**asdict(account), "shop_id": shop_id, "token": token})


def wait_known(merchant: Api, shop_id: str) -> None:
    """Return when catalog and payments have heard of a new shop: its opening reaches them as an event. Raises TimeoutError."""
    until = clock.monotonic() + KNOWN_WITHIN_S
    for path in (f"/v1/public/navigation/{shop_id}", f"/v1/shops/{shop_id}/balance"):
        while not merchant.ask("GET", path).fine:
            if clock.monotonic() > until:
                raise TimeoutError(f"{path} does not know the shop after {KNOWN_WITHIN_S} s")
            time.sleep(0.05)


def buyer(api: Api, name: str, *account_ids: str) -> Buyer:
    """A sandbox buyer who knows their openids at the accounts."""
    made = api.as_caller("").post("/v1/sandbox/buyers", {"name": name, "account_ids": list(account_ids)})
    return Buyer(made["user_id"], made["token"], {row["account_id"]: row["openid"] for row in made["openids"]})
