"""``jishi import``: upload a product file and watch the job."""

import contextlib
import mimetypes
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from services.chassis import clock
from services.cli.api import Api, UnexpectedAnswer

ENDED: Final = frozenset({"ready", "completed", "failed", "cancelled"})
HEADER_READ: Final = 10_000
COUNTERS: Final = ("rows", "total", "created", "updated", "unchanged", "failed")
FORMATS: Final = {".xlsx": "xlsx", ".jsonl": "jsonl", ".ndjson": "jsonl"}
TOLD: Final = 50
"""Failures in the table at the end; all of them are in the file of results."""


def format_of(path: Path) -> str:
    """By the name (``.xlsx``, ``.jsonl``), or ``shopify-csv`` or ``jishi-csv`` by the header row."""
    if path.suffix.casefold() in FORMATS:
        return FORMATS[path.suffix.casefold()]
    with path.open(
        encoding="utf-8-sig", errors="replace", newline=""
    ) as file:  # GB18030 too: Shopify's header is ASCII
        header = file.readline(HEADER_READ).lower()
    return "shopify-csv" if header.startswith(("handle,", '"handle"', "url handle,")) else "jishi-csv"


def upload(shop: Api, path: Path, *, policy: str = "reject_failed", dry_run: bool = False, max_errors: int = 0) -> str:
    """Queue an import of ``path``; answers the import's id. Raises UnexpectedAnswer."""
    form = {
        "format": format_of(path),
        "policy": policy,
        "dry_run": str(dry_run).lower(),
        "max_errors": str(max_errors),
    }
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    answer = shop.ask("POST", "/v1/imports", form=form, files={"file": (path.name, path.read_bytes(), kind)})
    if not answer.fine:
        raise UnexpectedAnswer("POST /v1/imports", answer)
    return str(answer.body["import_id"])


def watch(
    shop: Api, import_id: str, tell: Callable[[dict[str, Any]], None] = lambda _job: None, within_s: float = 120
) -> dict[str, Any]:
    """Ask for the job until it has ended, telling ``tell`` of each answer.

    Raises TimeoutError when nothing of it has moved for ``within_s`` seconds, UnexpectedAnswer.
    """
    until, known = clock.monotonic() + within_s, None
    while True:
        job = shop.get(f"/v1/imports/{import_id}")
        tell(job)
        if job["state"] in ENDED:
            return job
        if job != known:
            until, known = clock.monotonic() + within_s, job
        if clock.monotonic() > until:
            raise TimeoutError(f"import {import_id} is still {job['state']}, and was for {within_s:.0f} s: {job}")
        time.sleep(0.1)


Appid = Annotated[str, typer.Option(help="Appid of the shop's account, or an app's client id.", envvar="JISHI_APPID")]
Secret = Annotated[str, typer.Option(help="Its secret.", envvar="JISHI_SECRET")]
Shop = Annotated[str, typer.Option(help="The shop, where an app asks.")]
Data = Annotated[Path, typer.Option(help="Data folder of the stack.")]


def import_file(  # noqa: PLR0913, PLR0917 - options of a command
    appid: Appid,
    secret: Secret,
    file: Annotated[
        Path | None,
        typer.Argument(
            exists=True,
            dir_okay=False,
            readable=True,
            help="Product file: CSV (Shopify's columns or ours), XLSX, JSONL.",
        ),
    ] = None,
    shop: Shop = "",
    policy: Annotated[str, typer.Option(help="reject_all, reject_failed or stop_after_n.")] = "reject_failed",
    max_errors: Annotated[int, typer.Option(help="With stop_after_n.")] = 0,
    dry_run: Annotated[bool, typer.Option(help="Only tell what would change.")] = False,
    resume: Annotated[str, typer.Option(help="Watch this import instead; it goes on whether one watches or not.")] = "",
    data: Data = Path(".jishi"),
) -> None:
    """Import a product file and show the job's progress; exits 1 unless it completes without a failed product."""
    if (file is None) == (not resume):
        raise typer.BadParameter("give either a product file, or --resume with the id of an import")
    with as_merchant(data, appid, secret, shop) as merchant:
        import_id = resume
        if file is not None:
            import_id = upload(merchant, file, policy=policy, dry_run=dry_run, max_errors=max_errors)
        job = _with_bar(merchant, import_id, file.name if file else import_id)
        _report(merchant, job)
    if job["state"] not in ("completed", "ready") or job["failed"]:
        raise typer.Exit(1)


@contextlib.contextmanager
def as_merchant(data: Path, appid: str, secret: str, shop: str) -> Iterator[Api]:
    """The API of the running stack as the shop's merchant, or an app that asks for it."""
    from services.cli import running, world

    more = {"shop_id": shop} if shop else {}
    with Api(running.base_url(data)) as api:
        yield api.as_caller(world.access_token(api, appid, secret, **more))


class Rate(TextColumn):
    """Products a second."""

    def __init__(self) -> None:
        """Filled in by the task's own field."""
        super().__init__("{task.fields[rate]}")


def _with_bar(merchant: Api, import_id: str, name: str) -> dict[str, Any]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TaskProgressColumn(show_speed=False),
        Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, disable=not os.isatty(1)) as progress:
        bar = progress.add_task(name, total=None, rate="")

        def tell(job: dict[str, Any]) -> None:
            done = sum(job[counter] for counter in ("created", "updated", "unchanged", "failed"))
            speed = progress.tasks[0].speed
            progress.update(
                bar,
                total=job["total"] or None,
                completed=done,
                description=f"{name} {job['state']}",
                rate=f"{speed:,.0f}/s" if speed else "",
            )

        return watch(merchant, import_id, tell, within_s=3600)


def _report(merchant: Api, job: dict[str, Any]) -> None:
    console = Console()
    console.print(f"{job['state']}: " + ", ".join(f"{name} {job[name]}" for name in COUNTERS))
    if job.get("reason"):
        console.print(f"{job['reason']}: {job.get('message', '')}", markup=False, soft_wrap=True)
    if job["failed"]:
        table = Table("row", "product", "field", "reason", "message")
        path = f"/v1/imports/{job['import_id']}/results"
        page = merchant.get(path, outcome="failed", page_size=TOLD)
        for row in page["results"]:
            table.add_row(str(row["row"]), row["external_id"], row["field"], row["reason"], row["message"])
        console.print(table)
        if page["next_page_token"]:
            console.print(f"and more: GET {path}:download?outcome=failed", markup=False)
