"""``jishi ledger``: is the journal as it was sealed, and what every kind of account holds, now or at a moment of the past."""

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from services.chassis.calendar import CST

app = typer.Typer(no_args_is_help=True, help="The ledger: its seal and its balances.")
Data = Annotated[Path, typer.Option(help="Data folder of the stack, running or stopped.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
PART = 100
"""Blocks verified at once."""
SHOWN = 50
"""Flaws that are printed; ``--json`` has all."""


@app.command("verify")
def verify(
    data: Data = Path(".jishi"),
    anchor: Annotated[
        str, typer.Option(help="A head written down before, as block:hash; it must still be there.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Compare every sealed block with the journal; exits 1 when anything is not as it was sealed."""
    from services.cli.stack.folder import StackError

    try:
        told = _verified(data, anchor)
    except StackError as error:
        Console(stderr=True).print(f"jishi ledger: {error}", markup=False, soft_wrap=True)
        raise typer.Exit(2) from error
    if as_json:
        print(json.dumps(told, ensure_ascii=False, indent=1))
    else:
        _show(told, Console())
    if told["flaws"]:
        raise typer.Exit(1)


def _verified(data: Path, anchor: str) -> dict[str, Any]:
    """The whole chain: ``{blocks, head, entries, late, waiting, flaws: [{kind, subject, expected, found}]}``."""
    from services.chassis import mongo
    from services.cli.audit.database import opened
    from services.payments.queries import ledger
    from services.payments.store import Store

    number, _, expected = anchor.partition(":")
    if anchor and not (number.isdigit() and expected):
        raise typer.BadParameter("--anchor is block:hash, as `jishi ledger verify` prints the head")
    asked = {"page_size": PART, "anchor_block": int(number or 0), "anchor_hash": expected}
    told: dict[str, Any] = {"blocks": 0, "entries": 0, "late": 0, "flaws": []}
    with opened(data) as (settings, _), mongo.connect(settings) as client:
        store, ended = Store(mongo.database(client, settings, "payments")), False
        while not ended:
            page = ledger.verification(store, {**asked, "after_block": told["blocks"]})
            asked |= {"anchor_block": 0, "anchor_hash": ""}
            told["flaws"] += page["flaws"]
            told["entries"] += page["entries"]
            told["late"] += page["late"]
            told |= {"blocks": page["last_block"], "head": page["head"], "waiting": page["waiting"]}
            ended = page["ended"]
    return told


def _show(told: dict[str, Any], console: Console) -> None:
    table = Table("what", "figure", title="the sealed ledger")
    table.add_row("blocks", str(told["blocks"]))
    table.add_row("entries under seal", str(told["entries"]))
    table.add_row("of these, sealed late", str(told["late"]))
    table.add_row("entries that wait for their seal", str(told["waiting"]))
    table.add_row("flaws", f"[red]{len(told['flaws'])}[/red]" if told["flaws"] else "0")
    console.print(table)
    for flaw in told["flaws"][:SHOWN]:
        words = f"{flaw['subject']}: expected {flaw['expected'] or 'nothing'}, found {flaw['found'] or 'nothing'}"
        console.print(f"[red]{flaw['kind']}[/red] {escape(words)}", soft_wrap=True)
    verdict = "[red]not as it was sealed[/red]" if told["flaws"] else "[green]as it was sealed[/green]"
    console.print(f"head {told['blocks']}:{told['head']}  {verdict}", soft_wrap=True, highlight=False)


@app.command("balances")
def balances(
    at: Annotated[str, typer.Option(help="A moment, as 2026-01-05T18:00:00+08:00; a time without zone is CST.")] = "",
    data: Data = Path(".jishi"),
    as_json: AsJson = False,
) -> None:
    """The trial balance (试算平衡) by kind of account, now or of what was posted until a moment; exits 1 when it does not balance."""
    from services.chassis import mongo
    from services.cli.audit.database import opened
    from services.cli.stack.folder import StackError
    from services.payments.queries import trial_balance
    from services.payments.store import Store

    moment = _moment(at)
    try:
        with opened(data) as (settings, _), mongo.connect(settings) as client:
            rows, balanced = trial_balance(Store(mongo.database(client, settings, "payments")), moment)
    except StackError as error:
        Console(stderr=True).print(f"jishi ledger: {error}", markup=False, soft_wrap=True)
        raise typer.Exit(2) from error
    if as_json:
        print(json.dumps({"rows": rows, "balanced": balanced}, ensure_ascii=False, indent=1))
    else:
        Console().print(_table(rows, moment))
    if not balanced:
        raise typer.Exit(1)


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"--at {text} is no moment; write 2026-01-05T18:00:00+08:00") from error
    return found if found.tzinfo is not None else found.replace(tzinfo=CST)


def _table(rows: list[dict[str, Any]], moment: datetime | None) -> Table:
    from services.chassis import money

    when = f" at {moment.astimezone(CST).isoformat(timespec='seconds')}" if moment else ""
    table = Table(title=f"trial balance{when}")
    table.add_column("account")
    for name in ("debits", "credits", "balance", "stored"):
        table.add_column(name, justify="right")
    for row in rows:
        figures = (row.get(name) for name in ("debits", "credits", "balance", "stored"))
        table.add_row(row["kind"], *("" if one is None else money.text(one, row["currency"]) for one in figures))
    return table
