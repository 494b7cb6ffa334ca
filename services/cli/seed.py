"""``jishi seed``: a small demo world, made through the API and written down as JSON."""

import errno
import json
import os
from pathlib import Path
from typing import Any, Final

from services.cli import world
from services.cli.api import Api

SHOPS: Final = ("山野茶铺", "云间布衣")
BUYERS: Final = ("小明", "小红", "小刚")


def seed(base_url: str, bootstrap_secret: str, admin_token: str = "") -> dict[str, Any]:
    """Make the world and describe it: ``{base_url, shops, buyers, admin, arbitrator}``.

    Buyers' ``openid`` is the one for the first shop's account. ``admin_token``: an admin to work as; else the first admin is made
    with the bootstrap secret. Raises UnexpectedAnswer.
    """
    with Api(base_url) as api:
        return _sown(api, admin_token or world.first_admin(api, bootstrap_secret))


def _sown(api: Api, token: str) -> dict[str, Any]:
    admin = api.as_caller(token)
    shops = [world.open_shop(admin, name) for name in SHOPS]
    home = shops[0].account_id
    buyers = [world.buyer(api, name, home) for name in BUYERS]
    return {
        "base_url": api.base_url,
        "shops": [
            {"shop_id": shop.shop_id, "account_id": shop.account_id, "appid": shop.appid, "secret": shop.secret}
            for shop in shops
        ],
        "buyers": [{"openid": each.openids[home], "token": each.token} for each in buyers],
        "admin": {"token": token},
        "arbitrator": {"token": world.staff(admin, "arbitrator", "arbitrator")},
    }


def check_place(out: Path) -> None:
    """Make the folder of ``out``, so that no world is made whose credentials cannot be written. Raises OSError naming the path."""
    out.parent.mkdir(parents=True, exist_ok=True)
    for path in (out.parent, out):
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, "cannot be written to", str(path))
    if out.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder; name a file", str(out))


def write(content: dict[str, Any], out: Path) -> None:
    """Write ``content`` for its owner only: it holds credentials."""
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.with_name(f".{out.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(content, file, ensure_ascii=False, indent=2)
        file.write("\n")
    draft.replace(out)
