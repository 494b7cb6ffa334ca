"""Telling the story: a throw-away stack, the chapters in order, the audit, the table."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from services.chassis import clock
from services.cli.api import Api
from services.cli.demo import broadcast, catalog, disputes, opening, orders, race, shelf
from services.cli.demo.story import Abandoned, Story
from services.cli.stack import Options, Stack

CHAPTERS: Final[dict[str, ModuleType]] = {
    "opening": opening,
    "catalog": catalog,
    "shelf": shelf,
    "broadcast": broadcast,
    "orders": orders,
    "disputes": disputes,
    "race": race,
}
SAMPLE: Final = Path(__file__).parents[2] / "catalog" / "samples" / "products.zh.csv"
AUDIT_WITHIN_S: Final = 120


def demo(
    products: Path | None, only: Sequence[str], console: Console, *, mongo_uri: str = "", amqp_uri: str = ""
) -> bool:
    """Start a stack with throw-away data, tell the chapters of ``only`` (all when empty), audit; answers whether all was well."""
    chosen = ["opening", *(name for name in CHAPTERS if name != "opening" and (not only or name in only))]
    began = clock.monotonic()
    with tempfile.TemporaryDirectory(prefix="jishi-demo-", ignore_cleanup_errors=True) as folder:
        options = Options(Path(folder), port=0, copies=2, mongo_uri=mongo_uri, amqp_uri=amqp_uri)
        stack = Stack(options)
        with console.status("starting the stack"):
            stack.start()
        console.print(f"the stack is up at {stack.url} ({clock.monotonic() - began:.1f} s)")
        try:
            story = tell(stack, products or SAMPLE, chosen, console)
            report(story, console)
            clean = audit(stack, console)
            if story.expect.failures or not clean:
                show_logs(stack, console)
        finally:
            with console.status("stopping the stack"):
                stack.stop()
    kept, failed = story.expect.kept, len(story.expect.failures)
    console.print(
        f"{kept} expectations kept, {failed} broken, audit {'clean' if clean else 'NOT clean'}, {clock.monotonic() - began:.0f} s"
    )
    return clean and not failed


def tell(stack: Stack, products: Path, chosen: Sequence[str], console: Console) -> Story:
    """Tell the chosen chapters; a chapter that breaks off does not keep the next from being told."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress, Api(stack.url) as api:
        story = Story(api, stack.bootstrap_secret, products, progress)
        whole = progress.add_task("the story", total=len(chosen))
        for name in chosen:
            progress.update(whole, description=CHAPTERS[name].TITLE)
            if not chapter(story, CHAPTERS[name]) and name == "opening":
                break  # nobody is there to go on with
            progress.advance(whole)
        progress.update(whole, description="the story")
    return story


def chapter(story: Story, told: ModuleType) -> bool:
    """Tell one chapter. False when it broke off; why stands among the failures."""
    story.expect.chapter = told.TITLE
    began = clock.monotonic()
    try:
        told.tell(story)
    except Abandoned:
        return False
    except Exception as error:  # noqa: BLE001 - whatever breaks a chapter off is a failure of the story
        story.expect.failures.append(f"{told.TITLE}: broke off: {type(error).__name__}: {error}")
        return False
    finally:
        story.figure("seconds", f"{clock.monotonic() - began:.1f}")
    return True


def report(story: Story, console: Console) -> None:
    """The table of what happened, and what was not as it should be."""
    table = Table("chapter", "what happened", title="Jishi: the story", title_justify="left")
    table.add_column("figure", justify="right")
    last = ""
    for figure in story.figures:
        if last and figure.chapter != last:
            table.add_section()
        table.add_row("" if figure.chapter == last else figure.chapter, figure.what, figure.value)
        last = figure.chapter
    console.print(table)
    for failure in story.expect.failures:
        console.print(f"[red]✗[/red] {failure}", markup=True)


def audit(stack: Stack, console: Console) -> bool:
    """``jishi audit`` and ``jishi search check`` as anybody would run them; answers whether they found nothing."""
    environment = {**os.environ, "COLUMNS": str(max(console.width, 140))}
    clean = True
    for words in (("audit",), ("search", "check")):
        command = [sys.executable, "-m", "services.cli.main", *words, "--data", str(stack.data)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=AUDIT_WITHIN_S, env=environment
        )
        console.print(done.stdout + done.stderr, markup=False, highlight=False, soft_wrap=True)
        clean = clean and done.returncode == 0
    return clean


def show_logs(stack: Stack, console: Console) -> None:
    """What a reader needs when something is off: the warnings and errors in the logs, which go with the folder."""
    for child in stack.children.values():
        lines = child.log.read_text(encoding="utf-8", errors="replace").splitlines()
        loud = [line for line in lines if any(word in line for word in ('"error"', '"warning"', "Traceback", "Error"))]
        if loud:
            console.print(
                f"--- {child.name}: {len(loud)} loud lines", *loud[-10:], sep="\n", markup=False, highlight=False
            )
