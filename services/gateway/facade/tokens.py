"""``GET /cgi-bin/token``: the appid and secret of an official account → access_token."""

import re
from typing import Any, Final

from services.gateway.facade.answers import Declined, Paths, paths
from services.gateway.facade.desk import ACCOUNTS, Desk
from services.gateway.facade.reader import Reader

GRANTS: Final = frozenset({"client_credential", "client_credentials"})
PATHS: Final[Paths] = paths((r"^client_id$", "appid"), (r"^client_secret$", "secret"))
APPID: Final = re.compile(r"wx[0-9a-f]{16}")


async def token(desk: Desk, call: Reader) -> dict[str, Any]:
    """{access_token, expires_in (seconds)} without an errcode. A further token leaves the earlier ones good until they expire."""
    if call.text("grant_type") not in GRANTS:
        raise Declined("BAD_GRANT_TYPE", "grant_type: must be client_credential")
    appid, secret = call.text("appid"), call.text("secret")
    if not appid:
        raise Declined("NO_APPID", "appid: give that of your official account")
    if not secret:
        raise Declined("NO_SECRET", "secret: give that of your official account")
    if not APPID.fullmatch(appid):
        raise Declined("BAD_APPID", "appid: is wx and 16 hexadecimal digits")
    asked = {"grant_type": "client_credentials", "client_id": appid, "client_secret": secret}
    try:
        given = await desk.ask("IssueToken", asked, PATHS, service=ACCOUNTS)
    except Declined as refusal:
        if refusal.reason == "INVALID_CREDENTIALS" and refusal.message.startswith("appid:"):
            raise Declined("BAD_APPID", refusal.message) from refusal
        raise
    return {"access_token": given["access_token"], "expires_in": given["expires_in"]}
