"""``jishi import``: upload a product file and watch the job."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from services.chassis import clock
from services.cli.api import Api, UnexpectedAnswer

ENDED: Final = frozenset({"ready", "completed", "failed", "cancelled"})
COUNTERS: Final = ("rows", "total", "created", "updated", "unchanged", "failed")


def format_of(path: Path) -> str:
    """``shopify-csv`` or ``jishi-csv``, by the header row."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        header = file.readline().lower()
    return "shopify-csv" if header.startswith(("handle,", '"handle"', "url handle,")) else "jishi-csv"


def upload(shop: Api, path: Path, *, policy: str = "reject_failed", dry_run: bool = False) -> str:
    """Queue an import of ``path``; answers the import's id. Raises UnexpectedAnswer."""
    form = {"format": format_of(path), "policy": policy, "dry_run": str(dry_run).lower()}
    content = path.read_bytes()
    answer = shop.ask("POST", "/v1/imports", form=form, files={"file": (path.name, content, "text/csv")})
    if not answer.fine:
        raise UnexpectedAnswer("POST /v1/imports", answer)
    return str(answer.body["import_id"])


def watch(
    shop: Api, import_id: str, tell: Callable[[dict[str, Any]], None] = lambda _job: None, within_s: float = 120
) -> dict[str, Any]:
    """Ask for the job until it has ended, telling ``tell`` of each answer. Raises TimeoutError, UnexpectedAnswer."""
    until = clock.monotonic() + within_s
    while True:
        job = shop.get(f"/v1/imports/{import_id}")
        tell(job)
        if job["state"] in ENDED:
            return job
        if clock.monotonic() > until:
            raise TimeoutError(f"import {import_id} is still {job['state']} after {within_s:.0f} s: {job}")
        time.sleep(0.1)


def import_file(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="Product CSV (Shopify's columns, or Jishi's own).")
    ],
    appid: Annotated[
        str, typer.Option(help="Appid of the shop's account, or an app's client id.", envvar="JISHI_APPID")
    ],
    secret: Annotated[str, typer.Option(help="Its secret.", envvar="JISHI_SECRET")],
    shop: Annotated[str, typer.Option(help="The shop, where an app imports.")] = "",
    policy: Annotated[str, typer.Option(help="reject_all, reject_failed or stop_after_n.")] = "reject_failed",
    dry_run: Annotated[bool, typer.Option(help="Only tell what would change.")] = False,
    data: Annotated[Path, typer.Option(help="Data folder of the stack.")] = Path(".jishi"),
) -> None:
    """Import a product file and show the job's progress; exits 1 unless it completes without a failed product."""
    from services.cli import running, world

    more = {"shop_id": shop} if shop else {}
    with Api(running.base_url(data)) as api:
        merchant = api.as_caller(world.access_token(api, appid, secret, **more))
        job = _with_bar(merchant, file, policy=policy, dry_run=dry_run)
        _report(merchant, job)
    if job["state"] not in ("completed", "ready") or job["failed"]:
        raise typer.Exit(1)


def _with_bar(merchant: Api, file: Path, *, policy: str, dry_run: bool) -> dict[str, Any]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, disable=not os.isatty(1)) as progress:
        bar = progress.add_task(file.name, total=None)

        def tell(job: dict[str, Any]) -> None:
            done = sum(job[name] for name in ("created", "updated", "unchanged", "failed"))
            progress.update(bar, total=job["total"] or None, completed=done, description=f"{file.name} {job['state']}")

        return watch(merchant, upload(merchant, file, policy=policy, dry_run=dry_run), tell, within_s=3600)


def _report(merchant: Api, job: dict[str, Any]) -> None:
    console = Console()
    console.print(f"{job['state']}: " + ", ".join(f"{name} {job[name]}" for name in COUNTERS))
    if job["failed"]:
        table = Table("row", "product", "field", "reason", "message")
        failures = merchant.get(f"/v1/imports/{job['import_id']}/results", outcome="failed", page_size=50)["results"]
        for row in failures:
            table.add_row(str(row["row"]), row["external_id"], row["field"], row["reason"], row["message"])
        console.print(table)
