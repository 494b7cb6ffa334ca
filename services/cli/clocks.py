"""``jishi clock``: the sandbox's business clock."""

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

import typer

from services.chassis import ids
from services.chassis.calendar import CST
from services.cli.api import Api

app = typer.Typer(no_args_is_help=True, help="The sandbox's business clock.")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
Data = Annotated[Path, typer.Option(help="Data folder of the stack.")]


def span(text: str) -> timedelta:
    """``3d``, ``36h``, ``1d12h``, ``90m``, ``45s`` → a timedelta. Raises ValueError."""
    if not re.fullmatch(r"(\d+[smhdw])+", text):
        raise ValueError(f"{text!r} is not a span such as 3d, 36h, 1d12h, 90m or 45s")
    parts = re.findall(r"(\d+)([smhdw])", text)
    return sum((timedelta(**{_UNITS[unit]: int(number)}) for number, unit in parts), timedelta())


def advance(admin: Api, seconds: int = 0, until: datetime | None = None) -> dict[str, object]:
    """Move the clock and wait until the stack is quiet; asks again with the same key while it is not. Answers what is shown last."""
    body: dict[str, object] = {"until": until.isoformat()} if until else {"seconds": seconds}
    key, answer = ids.secret(), {}
    for _ in range(12):
        answer = admin.post("/v1/sandbox/clock:advance", body, key=key)
        if answer["quiet"]:
            break
    return answer


@app.command("show")
def show(data: Data = Path(".jishi")) -> None:
    """Print the business time (CST)."""
    from services.cli import running

    with Api(running.base_url(data)) as api:
        now = api.get("/v1/sandbox/clock")["now"]
    print(datetime.fromisoformat(str(now)).astimezone(CST).isoformat(timespec="seconds"))


@app.command("advance")
def advance_by(
    by: Annotated[str, typer.Argument(help="How far: 3d, 36h, 90m, 45s.")],
    data: Data = Path(".jishi"),
) -> None:
    """Move the business clock on; returns when every process has seen it and the timers due have run."""
    from services.cli import running

    try:
        seconds = int(span(by).total_seconds())
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    with running.admin(data) as admin:
        answer = advance(admin, seconds)
    print(datetime.fromisoformat(str(answer["now"])).astimezone(CST).isoformat(timespec="seconds"))
    if not answer["quiet"]:
        print("not quiet yet:", answer["busy"])
        raise typer.Exit(1)
