"""The running stack that a command talks to: found by JISHI_* variables, else by the data folder's record."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from services.chassis import mongo
from services.chassis.settings import Settings
from services.cli import world
from services.cli.api import Api
from services.cli.processes import Identity, identify
from services.cli.stack.folder import RECORD


def _record(data: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((data / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def base_url(data: Path) -> str:
    """Where the gateway is: JISHI_BASE_URL, else what ``jishi up`` on this folder wrote down."""
    recorded = _record(data)
    found = os.environ.get("JISHI_BASE_URL") or str(recorded.get("base_url", ""))
    if not found:
        raise _no_stack(data, "JISHI_BASE_URL")
    if not os.environ.get("JISHI_BASE_URL") and _is_stopped(recorded):
        raise typer.BadParameter(f"the stack on {data} is stopped; start it with `jishi up --data {data}`")
    return found


def _no_stack(data: Path, variable: str) -> typer.BadParameter:
    return typer.BadParameter(
        f"no stack runs on {data}, nor has one; start one with `jishi up --data {data}`, name another folder (--data) or set {variable}"
    )


def _is_stopped(recorded: dict[str, Any]) -> bool:
    """Whether none of the processes that were written down runs any more."""
    children = recorded.get("children", {}).values()
    return bool(children) and not any(identify(one[0]) == Identity(*one) for one in children)


def bootstrap_secret(data: Path) -> str:
    """What makes the first admin: JISHI_BOOTSTRAP_SECRET, else the folder's file; empty where neither is."""
    path = data / "bootstrap-secret"
    given = os.environ.get("JISHI_BOOTSTRAP_SECRET", "")
    return given or (path.read_text(encoding="utf-8").strip() if path.exists() else "")


def admin(data: Path) -> Api:
    """The API as an admin: with JISHI_ADMIN_TOKEN, else as the first admin. Raises UnexpectedAnswer."""
    api = Api(base_url(data))
    return api.as_caller(os.environ.get("JISHI_ADMIN_TOKEN") or world.first_admin(api, bootstrap_secret(data)))


def shown(uri: str) -> str:
    """An address without the password that it may hold."""
    return uri.rsplit("@", maxsplit=1)[-1].removeprefix("mongodb://")


@contextmanager
def databases(data: Path) -> Iterator[tuple[mongo.Client, Settings]]:
    """A client of the stack's database server with its settings: from the environment where MONGO_URI is set, else as recorded.

    Without either, or when the server does not answer, the command ends with one line that says so.
    """
    recorded: dict[str, str] = {} if os.environ.get("MONGO_URI") else _record(data).get("environment", {})
    if not recorded and not os.environ.get("MONGO_URI"):
        raise _no_stack(data, "MONGO_URI")
    known = {name: value for name, value in recorded.items() if name not in os.environ}
    os.environ.update(known)
    try:
        settings = Settings(data_dir=data)
    finally:
        for name in known:
            del os.environ[name]
    client = mongo.connect(settings)
    try:
        yield client, settings
    except mongo.AWAY as error:
        raise typer.BadParameter(
            f"the database at {shown(settings.mongo_uri)} does not answer; is the stack running? `jishi up --data {data}` starts it"
        ) from error
    finally:
        client.close()
