"""``jishi events``: deliveries that were given up (parked), and replays."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from services.chassis import clock, mongo, parking
from services.chassis.settings import SERVICES

app = typer.Typer(no_args_is_help=True, help="Deliveries that were parked, and replays of the event logs.")
Data = Annotated[Path, typer.Option(help="Data folder of the stack.")]
RowId = Annotated[str, typer.Argument(help="As `jishi events parked` shows it: <service>.<handler>:<event id>.")]


def _service(row_id: str) -> str:
    service = row_id.partition(".")[0]
    if service not in SERVICES:
        raise typer.BadParameter(f"{row_id!r} does not begin with a service's name")
    return service


@app.command("parked")
def parked(data: Data = Path(".jishi")) -> None:
    """List what is parked; exits 1 when something is."""
    from services.cli import running

    table = Table("delivery", "type", "attempts", "error")
    with running.databases(data) as (client, settings):
        for service in SERVICES:
            for row in parking.parked(mongo.database(client, settings, service)):
                table.add_row(
                    row["_id"], row.get("type", ""), str(row.get("attempts", "")), str(row.get("error", ""))[:200]
                )
    Console().print(table if table.row_count else "nothing is parked")
    if table.row_count:
        raise typer.Exit(1)


@app.command("retry")
def retry(
    row_id: Annotated[str, typer.Argument(help="One delivery, or a service's name for all of its.")],
    data: Data = Path(".jishi"),
) -> None:
    """Let the worker run a parked delivery again."""
    from services.cli import running

    service = _service(row_id)
    with running.databases(data) as (client, settings):
        done = parking.retry(mongo.database(client, settings, service), "" if row_id == service else row_id)
    print(f"{done} will run again")


@app.command("drop")
def drop(
    row_id: RowId,
    why: Annotated[str, typer.Option(help="Kept with the row.")],
    data: Data = Path(".jishi"),
) -> None:
    """Give a parked delivery up for good."""
    from services.cli import running

    with running.databases(data) as (client, settings):
        dropped = parking.drop(mongo.database(client, settings, _service(row_id)), row_id, why)
    if not dropped:
        raise typer.BadParameter(f"{row_id} is not parked")
    print("dropped")


@app.command("replay")
def replay(
    publisher: Annotated[str, typer.Argument(help="The service that told the events.")],
    subscription: Annotated[str, typer.Argument(help="<service>.<handler> that is to see them again.")],
    hours: Annotated[int, typer.Option(help="How far back; 0: all that is logged.")] = 0,
    data: Data = Path(".jishi"),
) -> None:
    """Send logged events to one handler again; what it has applied stays applied once."""
    from services.cli import running

    since = clock.wall_ms() - hours * 3_600_000 if hours else 1
    with running.databases(data) as (client, settings):
        try:
            parking.replay(mongo.database(client, settings, _service(publisher)), subscription, since)
        except LookupError as error:
            raise typer.BadParameter(str(error)) from error
    print(f"{subscription} will see the events of {publisher} again")
