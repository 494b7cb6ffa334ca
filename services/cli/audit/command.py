"""``jishi audit`` on the terminal."""

import json
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from services.chassis.calendar import CST
from services.cli.audit.report import WAIT_S, Report

SHOWN: Final = 20
"""Violations of one check that are printed; ``--json`` has more."""


def command(
    data: Annotated[Path, typer.Option(help="Data folder of the stack, running or stopped.")] = Path(".jishi"),
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait until the stack is quiet.")] = WAIT_S,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Prove from the data of all services that nothing was lost or invented; exits 1 on any violation."""
    from services.cli.audit.database import opened
    from services.cli.audit.run import audit
    from services.cli.stack.folder import StackError

    errors = Console(stderr=True, highlight=False)
    try:
        with opened(data) as (settings, stopped), errors.status("opening") as status:
            report = audit(
                settings, wait_s=wait, stopped=stopped, progress=lambda name: status.update(f"checking {name}")
            )
    except StackError as error:
        errors.print(f"jishi audit: {error}", markup=False, soft_wrap=True)
        raise typer.Exit(2) from error
    if as_json:
        print(json.dumps(report.as_json(), ensure_ascii=False, indent=1))
    else:
        show(report, Console())
    if not report.clean:
        raise typer.Exit(1)


def show(report: Report, console: Console) -> None:
    """Print the checks, the events by handler, the violations, and one line that says how it stands."""
    console.print(_checks(report))
    if report.pairs:
        console.print(_pairs(report))
    for checked in report.checks:
        for violation in checked.violations[:SHOWN]:
            told = f"{violation.subject}: expected {violation.expected}, found {violation.found}"
            console.print(f"[red]{violation.check}[/red] {escape(told)}", soft_wrap=True)
        if checked.wrong > SHOWN:
            console.print(f"[red]{checked.check}[/red] … and {checked.wrong - SHOWN} more")
    state = "running" if report.running else "stopped"
    examined = sum(checked.examined for checked in report.checks)
    verdict = "[green]clean[/green]" if report.clean else f"[red]violations: {report.wrong}[/red]"
    when = report.at.astimezone(CST).isoformat(timespec="seconds")
    console.print(f"audit of the {state} stack at {when}: {examined} examined, {verdict}", soft_wrap=True)


def _checks(report: Report) -> Table:
    table = Table("check", "proves", title="checks")
    table.add_column("examined", justify="right")
    table.add_column("violations", justify="right")
    for checked in report.checks:
        wrong = f"[red]{checked.wrong}[/red]" if checked.wrong else "0"
        table.add_row(checked.check, escape(checked.proves), str(checked.examined), wrong)
    return table


def _pairs(report: Report) -> Table:
    """Events by (type, handler): the columns are the verdicts that there were."""
    usual = ("done", "stale", "recorded")
    seen = {verdict for pair in report.pairs for verdict in pair.verdicts}
    columns = (*usual, *sorted(seen - set(usual)))
    table = Table(title="events in the logs, decided again")
    for name in ("event", "handler"):
        table.add_column(name, overflow="fold")
    for name in ("events", *columns):
        table.add_column(name, justify="right")
    for pair in report.pairs:
        counts = (str(pair.verdicts[name] or "") for name in columns)
        table.add_row(pair.event_type.removeprefix("jishi."), pair.handler, str(pair.verdicts.total()), *counts)
    return table
