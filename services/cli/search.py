"""``jishi search``: the index behind GET /v1/search."""

import time
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from services.chassis import clock
from services.cli.api import Api
from services.cli.failures import FAILED

app = typer.Typer(no_args_is_help=True, help="The index behind GET /v1/search.")
WITHIN_S: Final = 3600.0
AGREES_WITHIN_S: Final = 30.0
"""What a shop changes is found within some two seconds; a shop that differs for longer differs."""
KINDS: Final = ("missing", "outdated", "surplus")
Data = Annotated[Path, typer.Option(help="Data folder of the stack.")]


def rebuild(admin: Api, progress: Progress) -> int:
    """Have the index built anew and wait until the machine that answers has it; answers how many products it holds.

    Raises UnexpectedAnswer, TimeoutError.
    """
    wanted = admin.post("/v1/search:rebuild")["rebuild_id"]
    bar = progress.add_task("search index", total=None)
    until = clock.monotonic() + WITHIN_S
    while True:
        told = admin.get("/v1/search/status")
        if told["rebuild_id"] >= wanted:
            progress.update(bar, total=max(1, told["total"]), completed=told["done"])
            if told["state"] == "ready":
                return int(told["products"])
        if clock.monotonic() > until:
            raise TimeoutError(f"the search index is still {told['state']} after {WITHIN_S:.0f} s")
        time.sleep(0.1)


def rebuild_shop(admin: Api, shop_id: str) -> int:
    """Have one shop's part of the index made anew and wait until the machine that answers has it; answers how many products that is.

    Raises UnexpectedAnswer, TimeoutError.
    """
    asked_at = datetime.fromisoformat(admin.post("/v1/search:rebuild", {"shop_id": shop_id})["asked_at"])
    until = clock.monotonic() + WITHIN_S
    while True:
        told = admin.get("/v1/search/status").get("held_until")
        if told and datetime.fromisoformat(told) > asked_at:
            return int(admin.get("/v1/search/check", shop_id=shop_id)["shops"][0]["held"])
        if clock.monotonic() > until:
            raise TimeoutError(f"the search index has not looked at {shop_id} after {WITHIN_S:.0f} s")
        time.sleep(0.1)


def differing(admin: Api, within_s: float = AGREES_WITHIN_S) -> tuple[int, list[dict[str, Any]]]:
    """How many shops there are, and those whose part of the index is not what they have on sale, however often they are asked.

    Raises UnexpectedAnswer.
    """
    page: dict[str, Any] = {"next_page_token": ""}
    shops, suspected = 0, []
    while "shops" not in page or page["next_page_token"]:
        page = admin.get("/v1/search/check", page_size=100, page_token=page["next_page_token"])
        shops += len(page["shops"])
        suspected += [told["shop_id"] for told in page["shops"] if _differs(told)]
    until = clock.monotonic() + within_s
    found: list[dict[str, Any]] = []
    for shop_id in suspected:
        told = admin.get("/v1/search/check", shop_id=shop_id)["shops"][0]
        while _differs(told) and clock.monotonic() < until:
            time.sleep(0.5)
            told = admin.get("/v1/search/check", shop_id=shop_id)["shops"][0]
        found += [told] if _differs(told) else []
    return shops, found


def _differs(told: dict[str, Any]) -> bool:
    return any(told[kind] for kind in KINDS)


@app.command("check")
def check_index(
    data: Data = Path(".jishi"),
    wait: Annotated[float, typer.Option(min=0, help="Seconds a shop may differ.")] = AGREES_WITHIN_S,
) -> None:
    """Compare the search index with what is on sale, shop by shop; exits 1 where they differ."""
    from services.cli import running

    with running.admin(data) as admin:
        shops, found = differing(admin, wait)
    for told in found:
        kinds = "; ".join(f"{kind} {', '.join(told[kind])}" for kind in KINDS if told[kind])
        print(f"{told['shop_id']}: on sale {told['on_sale']}, held {told['held']}; {kinds}")
    if found:
        print(f"{len(found)} of {shops} shops differ; `jishi search rebuild --shop ID` mends one")
        raise typer.Exit(FAILED)
    print(f"{shops} shops agree")


@app.command("rebuild")
def rebuild_index(
    data: Data = Path(".jishi"),
    shop: Annotated[str, typer.Option(help="Only this shop's part.")] = "",
) -> None:
    """Build the search index anew from the products; the old one answers until then."""
    from services.cli import running

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with running.admin(data) as admin, Progress(*columns, console=Console(stderr=True)) as progress:
        try:
            products = rebuild_shop(admin, shop) if shop else rebuild(admin, progress)
        except TimeoutError as error:
            Console(stderr=True).print(f"jishi search: {error}", markup=False)
            raise typer.Exit(FAILED) from error
    print(f"{products} products on sale can be found")
