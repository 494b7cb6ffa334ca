"""Imports: what a job says it did is what its chunks did, without a gap."""

from collections.abc import Iterator
from typing import Any, Final

from services.catalog.model.chunks import OUTCOMES
from services.catalog.model.imports import RUN, chunk_id
from services.chassis.mongo import Document
from services.cli.audit.report import Finding, compared
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


CHECKS: Final[tuple[Check, ...]] = (imports,)
