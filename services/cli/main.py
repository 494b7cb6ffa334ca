"""The ``jishi`` command."""

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from services.cli import clocks, events, imports
from services.cli.audit import command as audit

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Jishi (集市): a self-hosted marketplace.")
app.add_typer(clocks.app, name="clock")
app.add_typer(events.app, name="events")
app.command("import")(imports.import_file)
app.command("audit")(audit.command)
errors = Console(stderr=True, highlight=False)

Data = Annotated[Path, typer.Option(help="Folder of keys, logs and the embedded database.")]


@app.command()
def up(
    port: Annotated[int, typer.Option(help="Port of the gateway; 0: a free one.")] = 8080,
    data: Data = Path(".jishi"),
    sandbox: Annotated[bool, typer.Option(help="Movable clock and sandbox doors.")] = False,
    copies: Annotated[int, typer.Option(min=1, max=8, help="Copies of every server.")] = 1,
    quiet: Annotated[bool, typer.Option(help="Print nothing but failures.")] = False,
) -> None:
    """Run the stack in the foreground until SIGTERM or Ctrl-C.

    MONGO_URI and AMQP_URI choose a MongoDB replica set and RabbitMQ instead of the embedded database and broker.
    """
    from services.cli.stack import Options, Stack, StackError

    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: ended.set())
    given = os.environ
    stack = Stack(Options(data, port, sandbox, copies, given.get("MONGO_URI", ""), given.get("AMQP_URI", "")))
    try:
        stack.start(ended)
    except StackError as error:
        errors.print(f"jishi up: {error}", markup=False)
        raise typer.Exit(1) from error
    if not quiet and not ended.is_set():
        _introduce(stack.url, stack.channel_url, stack.data)
    ended.wait()
    if not quiet:
        errors.print("stopping")
    stack.stop()


def _introduce(url: str, channel_url: str, data: Path) -> None:
    print(f"Jishi is up      {url}  (health: {url}/healthz, API: {url}/openapi.json)")
    print(f"payment channel  {channel_url}")
    print(f"data and logs    {data}")
    sys.stdout.flush()


@app.command()
def seed(
    out: Annotated[Path, typer.Option(help="File for ids, credentials and tokens (JSON, mode 0600).")],
    data: Data = Path(".jishi"),
) -> None:
    """Make a small demo world on the running stack: two open shops, three buyers, an admin, an arbitrator."""
    from services.cli import running
    from services.cli.api import UnexpectedAnswer
    from services.cli.seed import seed as make
    from services.cli.seed import write

    try:
        write(
            make(running.base_url(data), running.bootstrap_secret(data), os.environ.get("JISHI_ADMIN_TOKEN", "")), out
        )
    except UnexpectedAnswer as error:
        errors.print(f"jishi seed: {error}", markup=False)
        raise typer.Exit(1) from error
    print(out)


@app.command()
def demo(
    products: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="Your own product CSV.")] = None,
    only: Annotated[str, typer.Option(help="Chapters, comma separated; the opening is always told.")] = "",
) -> None:
    """Tell the whole story on a throw-away stack, through HTTP only; exits 1 when anything is off."""
    from services.cli.demo.run import CHAPTERS
    from services.cli.demo.run import demo as tell
    from services.cli.stack import StackError

    chosen, given = [name for name in only.split(",") if name], os.environ
    unknown = sorted(set(chosen) - set(CHAPTERS))
    if unknown:
        raise typer.BadParameter(f"no chapter {', '.join(unknown)}; there are {', '.join(CHAPTERS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # stops the stack on the way out
    backends = {"mongo_uri": given.get("MONGO_URI", ""), "amqp_uri": given.get("AMQP_URI", "")}
    try:
        well = tell(products, chosen, Console(), **backends)
    except StackError as error:
        errors.print(f"jishi demo: {error}", markup=False)
        raise typer.Exit(1) from error
    raise typer.Exit(0 if well else 1)


if __name__ == "__main__":
    app()
