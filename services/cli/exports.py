"""``jishi export``: a shop's catalog as a file."""

import os
import time
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import DownloadColumn, Progress, SpinnerColumn, TextColumn, TransferSpeedColumn

from services.chassis import clock
from services.cli.api import Api
from services.cli.failures import FAILED, told
from services.cli.imports import FORMATS, Appid, Data, Secret, Shop, as_merchant

WITHIN_S: Final = 3600.0


def export(shop: Api, path: Path, file_format: str, product_state: str = "", *, progress: Progress) -> dict[str, Any]:
    """Export the shop's products into ``path``; answers the export. Raises UnexpectedAnswer, TimeoutError.

    The file appears under its name when all of it is there.
    """
    asked = {"format": file_format, **({"product_state": product_state} if product_state else {})}
    export_id = shop.post("/v1/exports", asked)["export_id"]
    bar = progress.add_task(f"{path.name} queued", total=None)
    until = clock.monotonic() + WITHIN_S
    job: dict[str, Any] = {}
    while (job := shop.get(f"/v1/exports/{export_id}")["export"])["state"] not in ("completed", "failed"):
        progress.update(bar, description=f"{path.name} {job['state']}")
        if clock.monotonic() > until:
            raise TimeoutError(f"export {export_id} is still {job['state']} after {WITHIN_S:.0f} s")
        time.sleep(0.1)
    if job["state"] == "completed":
        progress.update(bar, description=path.name, total=job["size"])
        part = path.with_name(f".{path.name}.part")
        try:
            with part.open("wb") as out:
                for piece in shop.download(f"/v1/exports/{export_id}:download"):
                    out.write(piece)
                    progress.advance(bar, len(piece))
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    return job


def export_file(
    file: Annotated[Path, typer.Argument(dir_okay=False, help="Where to write it: .csv, .xlsx or .jsonl.")],
    appid: Appid,
    secret: Secret,
    shop: Shop = "",
    format: Annotated[str, typer.Option(help="jishi-csv, xlsx or jsonl; by the name if not said.")] = "",  # noqa: A002 - the option's name
    state: Annotated[str, typer.Option(help="Only products in this state: draft, listed, delisted.")] = "",
    data: Data = Path(".jishi"),
) -> None:
    """Write the shop's products to a file that `jishi import` reads back unchanged."""
    chosen = format or FORMATS.get(file.suffix.casefold(), "jishi-csv")
    columns = (SpinnerColumn(), TextColumn("{task.description}"), DownloadColumn(), TransferSpeedColumn())
    with as_merchant(data, appid, secret, shop) as merchant, Progress(*columns, disable=not os.isatty(1)) as bars:
        job = export(merchant, file, chosen, state, progress=bars)
    if job["state"] == "failed":
        raise told("jishi export", f"{job['reason']}: {job['message']}", FAILED)
    Console().print(f"{file}: products {job['products']}, rows {job['rows']}, bytes {job['size']}", markup=False)
