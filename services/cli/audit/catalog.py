"""Imports: what a job says it did is what its chunks did, without a gap. Freight: no product has lost its template."""

from collections.abc import Iterator
from typing import Any, Final

from services.catalog.model.chunks import OUTCOMES
from services.catalog.model.freight import ACTIVE, template_key
from services.catalog.model.imports import RUN, chunk_id
from services.catalog.model.names import names_of
from services.catalog.model.products import State
from services.chassis.mongo import Document
from services.cli.audit.report import Finding, compared
from services.cli.audit.sheet import Sheet
from services.cli.audit.world import Check, World, batches, by_id, scan


def imports(world: World) -> Iterator[Finding]:
    """Every completed import: its chunks follow each other without a gap, and add up to what it reports."""
    catalog = world.database("catalog")
    fields = ("total", "next_chunk", *OUTCOMES)
    for job in scan(catalog, "imports", fields, {"state": "completed"}):
        sums: dict[str, Any] = {"chunks": [], **dict.fromkeys(OUTCOMES, 0)}
        for chunk in _chunks(world, job):
            sums["chunks"].append(chunk["number"])
            for outcome in OUTCOMES:
                sums[outcome] += chunk[outcome]
        told = {outcome: job[outcome] for outcome in OUTCOMES}
        subject = f"import {job['_id']}"
        yield compared(subject, {"chunks": list(range(job["next_chunk"])), **told}, sums) or compared(
            subject, job["total"], sum(told.values())
        )


def _chunks(world: World, job: Document) -> Iterator[Document]:
    """The chunks of an import that there are, in order."""
    for numbers in batches(range(job["next_chunk"])):
        ids = [chunk_id(job["_id"], RUN, number) for number in numbers]
        found = by_id(world.database("catalog"), "chunks", ids, ("number", *OUTCOMES))
        yield from (found[identity] for identity in ids if identity in found)


def freight(world: World) -> Iterator[Finding]:
    """Every product that travels by a freight template: its shop has the template, and the product is found by it."""
    catalog = world.database("catalog")
    fields = ("shop_id", "state", "freight_key", "listing.freight")
    for batch in batches(row for row in scan(catalog, "products", fields) if _uses_template(row)):
        wanted = {
            row["_id"]: template_key(row["shop_id"], row["listing"]["freight"].get("template_id", 0)) for row in batch
        }
        there = by_id(catalog, "freight_templates", wanted.values(), ("state",))
        for row in batch:
            key = wanted[row["_id"]]
            expected = {"key": key, "template": ACTIVE}
            found = {"key": row.get("freight_key"), "template": there.get(key, {}).get("state")}
            yield compared(f"product {row['_id']}", expected, found)


def _uses_template(row: Document) -> bool:
    said = "template_id" in row["listing"]["freight"] or "freight_key" in row
    return said and row["state"] != State.DELETED


def names(world: World) -> Iterator[Finding]:
    """Every product that is not deleted is found by its external_id and by the codes of its SKUs, and no name finds anything else."""
    catalog = world.database("catalog")
    fields = ("shop_id", "external_id", "state", "listing.skus.sku_id", "listing.skus.merchant_sku")
    with Sheet() as sheet:
        for product in scan(catalog, "products", fields):
            for name, row in names_of(product).items():
                sheet.expect(_belongs(name, row), 1)
        for row in scan(catalog, "names", ("product_id", "sku_id")):
            sheet.find(_belongs(row["_id"], row), 1)
        yield from sheet.findings()


def _belongs(name: str, row: Document) -> str:
    return f"{name} → {row.get('sku_id') or row['product_id']}"


CHECKS: Final[tuple[Check, ...]] = (imports, freight, names)
