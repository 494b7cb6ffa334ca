"""The ``jishi`` command."""

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from services.chassis import signals
from services.cli import clocks, events, exports, imports, ledger, search
from services.cli.audit import command as audit
from services.cli.failures import Commands

app = typer.Typer(
    cls=Commands, no_args_is_help=True, add_completion=False, help="Jishi (集市): a self-hosted marketplace."
)
app.add_typer(clocks.app, name="clock")
app.add_typer(events.app, name="events")
app.add_typer(search.app, name="search")
app.add_typer(ledger.app, name="ledger")
app.command("import")(imports.import_file)
app.command("export")(exports.export_file)
app.command("audit")(audit.command)
errors = Console(stderr=True, highlight=False)

Data = Annotated[Path, typer.Option(help="Folder of keys, logs and the embedded database.")]


@app.command()
def up(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the gateway; 0: a free one.")] = 8080,
    data: Data = Path(".jishi"),
    sandbox: Annotated[bool, typer.Option(help="Movable clock and sandbox doors.")] = False,
    copies: Annotated[int, typer.Option(min=1, max=8, help="Copies of every server.")] = 1,
    quiet: Annotated[bool, typer.Option(help="Print nothing but failures.")] = False,
) -> None:
    """Run the stack in the foreground until SIGTERM or Ctrl-C.

    MONGO_URI and AMQP_URI choose a MongoDB replica set and RabbitMQ instead of the embedded database and broker.
    """
    from services.cli.stack import Options, Stack
    from services.cli.stack.folder import StackError

    ended = threading.Event()
    signals.on_stop(ended.set, (*signals.STOP, signal.SIGHUP))
    given = os.environ
    options = Options(data, port, sandbox, copies, given.get("MONGO_URI", ""), given.get("AMQP_URI", ""))
    stack = Stack(options, lambda event: errors.print(f"jishi up: {event}", markup=False, soft_wrap=True))
    try:
        stack.start(ended)
    except StackError as error:
        errors.print(f"jishi up: {error}", markup=False, soft_wrap=True)
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
    from services.cli.seed import check_place, write
    from services.cli.seed import seed as make

    url, token = running.base_url(data), os.environ.get("JISHI_ADMIN_TOKEN", "")
    secret = running.bootstrap_secret(data)
    if not (secret or token):
        raise typer.BadParameter(
            f"{data} holds no bootstrap secret; name the stack's folder (--data), or set JISHI_BOOTSTRAP_SECRET or JISHI_ADMIN_TOKEN"
        )
    check_place(out)
    write(make(url, secret, token), out)
    print(out)


@app.command()
def demo(
    products: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="Your own product CSV.")] = None,
    only: Annotated[str, typer.Option(help="Chapters, comma separated; the opening is always told.")] = "",
) -> None:
    """Tell the whole story on a throw-away stack, through HTTP only; exits 1 when anything is off."""
    from services.cli.demo.run import CHAPTERS
    from services.cli.demo.run import demo as tell
    from services.cli.stack.folder import StackError

    chosen, given = [name for name in only.split(",") if name], os.environ
    unknown = sorted(set(chosen) - set(CHAPTERS))
    if unknown:
        raise typer.BadParameter(f"no chapter {', '.join(unknown)}; there are {', '.join(CHAPTERS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # stops the stack on the way out
    backends = {"mongo_uri": given.get("MONGO_URI", ""), "amqp_uri": given.get("AMQP_URI", "")}
    try:
        well = tell(products, chosen, Console(), **backends)
    except StackError as error:
        errors.print(f"jishi demo: {error}", markup=False, soft_wrap=True)
        raise typer.Exit(1) from error
    raise typer.Exit(0 if well else 1)


if __name__ == "__main__":
    app()
