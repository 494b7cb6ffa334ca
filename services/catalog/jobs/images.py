"""Fetching the pictures that an import's products name: collect the addresses chunk by chunk, then fetch what waits.

Every step is one transaction that also moves the work on, under the lease; a run that is killed is gone on with by the next. A picture
whose bytes were kept and whose row was not yet written is fetched again and meets its own bytes.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from services.catalog.jobs.fetching.addresses import UnfetchableError
from services.catalog.jobs.fetching.download import Limits, download
from services.catalog.model import fetches, images
from services.catalog.model.imports import RUN, chunk_id
from services.catalog.store import BATCH, SERVICE, Store, pictures
from services.chassis import clock, logs, policy
from services.chassis.blobs import Blobs, blobs
from services.chassis.commit import Cause, Shortfall, Transaction
from services.chassis.errors import Refusal
from services.chassis.mongo import Document
from services.chassis.reacting import JobRun
from services.chassis.settings import Settings, settings

AT_ONCE: Final = 4
"""Addresses asked at once."""
KEEP_EVERY_S: Final = 1.0
"""The lease is looked after so often while strangers are waited for; they may take longer than it lasts."""
ROWS_AT_ONCE: Final = 500
MESSAGE_LONGEST: Final = 500
_log = logs.get(__name__)


@dataclass(slots=True)
class Work:
    """One run for one import."""

    run: JobRun
    store: Store
    row: Document
    settings: Settings
    blobs: Blobs

    def again(self) -> None:
        """Read the row anew. Raises LeaseLost where another run has it."""
        found = self.store.image_fetches.find_one({"_id": self.row["_id"], **self.run.guard})
        if found is None:
            self.run.keep(yielding=False)
        self.row = found or self.row

    def move(self, transaction: Transaction, update: Document) -> None:
        """Move the work on from where it was read, in the same transaction, under the lease."""
        here = {"_id": self.row["_id"], "version": self.row["version"], **self.run.guard}
        counted = {**update, "$inc": {**update.get("$inc", {}), "version": 1}}
        transaction.update(self.store.image_fetches, here, counted).commit()
        self.again()


def run(lease: JobRun) -> None:
    """Go on with the pictures of an import until all were fetched or given up. Raises LeaseLost."""
    own = settings()
    work = Work(lease, Store(lease.database), lease.row, own, blobs(own, lease.database))
    try:
        work.again()
        while not work.row["collected"]:
            lease.keep()
            _collect(work)
        while batch := _due(work):
            lease.keep()
            _fetch(work, batch)
        _rest(work)
    except Shortfall:
        lease.keep(yielding=False)  # says so, when the lease is lost; else the next run reads again
        lease.later(0)


# ---------------------------------------------------------------------------------------------------------------- collecting


def _collect(work: Work) -> None:
    """Write down the addresses of one chunk's products."""
    number, import_id = work.row["next_chunk"], work.row["_id"]
    chunk = work.store.chunks.find_one({"_id": chunk_id(import_id, RUN, number)}, {"results.product_id": 1})
    if chunk is None:
        work.move(Transaction(work.store.client), {"$set": {"collected": True, **_counts(work)}})
        return
    own = images.url(work.settings.base_url, "")
    wanted = {
        fetches.source_id(work.row["shop_id"], address): address
        for product in _products(work.store, chunk)
        for address in fetches.addresses(product["listing"], own)
    }
    for part in _parts(wanted):
        _write_down(work, part)
    work.move(Transaction(work.store.client), {"$set": {"next_chunk": number + 1}})


def _counts(work: Work) -> Document:
    """How many addresses there are, and how many are here already, by other imports."""
    mine, sources = {"import_id": work.row["_id"]}, work.store.image_sources
    return {
        "total": sources.count_documents(mine),
        "fetched": sources.count_documents({**mine, "state": fetches.FETCHED}),
        "failed": 0,
    }


def _products(store: Store, chunk: Document) -> Iterator[Document]:
    product_ids = iter({result["product_id"] for result in chunk["results"] if result.get("product_id")})
    while part := list(islice(product_ids, 50)):
        yield from store.products_by_id(part).values()


def _parts(wanted: dict[str, str]) -> Iterator[dict[str, str]]:
    items = iter(wanted.items())
    while part := dict(islice(items, ROWS_AT_ONCE)):
        yield part


def _write_down(work: Work, wanted: dict[str, str]) -> None:
    """These addresses are this import's now; those nobody knew wait, and those that failed wait again. Twice is once."""
    import_id, shop_id, sources = work.row["_id"], work.row["shop_id"], work.store.image_sources
    known = {row["_id"]: row for row in sources.find({"_id": {"$in": list(wanted)}}, batch_size=BATCH)}
    transaction = Transaction(work.store.client)
    new = [fetches.waiting(shop_id, import_id, address) for key, address in wanted.items() if key not in known]
    for row in known.values():
        anew = (
            {"state": fetches.WAITING, "attempts": 0, "try_at": fetches.NEVER} if row["state"] == fetches.FAILED else {}
        )
        if anew or row["import_id"] != import_id:
            transaction.update(
                sources, {"_id": row["_id"], "state": row["state"]}, {"$set": {**anew, "import_id": import_id}}
            )
    transaction.insert_many(sources, new)
    work.move(transaction, {})


# ------------------------------------------------------------------------------------------------------------------ fetching


def _due(work: Work) -> list[Document]:
    """Some addresses whose time has come."""
    query = {"import_id": work.row["_id"], "state": fetches.WAITING, "try_at": {"$lte": clock.wall_ms()}}
    return list(work.store.image_sources.find(query).limit(AT_ONCE))


def _fetch(work: Work, batch: Sequence[Document]) -> None:
    """Ask several at once, keep what came, and write down what became of each, with the counters, in one step."""
    most = Limits(**policy.load(SERVICE).value("image_fetch_limits", clock.business()))
    found = asyncio.run(_all_got(work, batch, most))
    transaction, states = Transaction(work.store.client), []
    for source, picture in zip(batch, found, strict=True):
        work.run.keep(yielding=False)
        values = _noted(work, source, picture)
        asked = {"_id": source["_id"], "state": fetches.WAITING, "attempts": source["attempts"]}
        asked["import_id"] = work.row["_id"]  # a later import that names it too has taken it over, and counts it
        transaction.update(work.store.image_sources, asked, {"$set": values})
        states.append(values["state"])
    if fetches.FETCHED in states:
        transaction.update(work.store.shops, {"_id": work.row["shop_id"]}, {"$set": {"shows_fetched": True}})
    counted = {name: states.count(name) for name in (fetches.FETCHED, fetches.FAILED)}
    work.move(transaction, {"$inc": counted})


async def _all_got(work: Work, batch: Sequence[Document], most: Limits) -> list[bytes | UnfetchableError]:
    """What came of each. What was begun is not given up for others who wait: a slow server would be begun for ever."""
    asked = [asyncio.create_task(_got(source["url"], most, work.settings.fetch_from)) for source in batch]
    waiting = set(asked)
    while waiting:
        _, waiting = await asyncio.wait(waiting, timeout=KEEP_EVERY_S)
        work.run.keep(yielding=False)
    return [task.result() for task in asked]


async def _got(address: str, most: Limits, allowed: Sequence[str]) -> bytes | UnfetchableError:
    try:
        return await download(address, most, allowed)
    except UnfetchableError as error:
        return error
    except Exception as error:  # noqa: BLE001 - no address stands in the way of the others
        _log.exception("picture not fetched", address=address[:MESSAGE_LONGEST])
        return UnfetchableError("NO_ANSWER", f"it cannot be fetched ({type(error).__name__})", passing=True)


def _noted(work: Work, source: Document, picture: bytes | UnfetchableError) -> Document:
    """What the address's row says now; a picture that came is kept."""
    store, now = work.store, clock.business()
    if not isinstance(picture, UnfetchableError):
        kept = {"state": fetches.FETCHED, "attempts": source["attempts"] + 1, "reason": "", "message": ""}
        cause, name = Cause(f"job:{source['_id']}:{source['attempts']}"), _name(source["url"])
        try:
            pictures.keep(store, work.blobs, cause, source["shop_id"], picture, name)
            return {**kept, "image_id": images.image_id(picture)}
        except Refusal as refusal:
            reason = "NO_PICTURE" if refusal.reason == "INVALID_ARGUMENT" else refusal.reason
            picture = UnfetchableError(reason, refusal.message, passing=refusal.reason == "UNAVAILABLE")
    patience = fetches.Patience(**policy.load(SERVICE).value("image_fetch", now))
    failed = fetches.after_failure(source, patience, passing=picture.passing, now_ms=clock.wall_ms())
    return {**failed, "reason": picture.reason, "message": picture.message[:MESSAGE_LONGEST]}


def _name(address: str) -> str:
    return address.partition("?")[0].rpartition("/")[2]


def _rest(work: Work) -> None:
    """Nothing is due: wait for the next that will be, or be done."""
    query = {"import_id": work.row["_id"], "state": fetches.WAITING}
    following: Document | None = next(work.store.image_sources.find(query).sort("try_at", 1).limit(1), None)
    if following is not None:
        work.run.later(max(0, following["try_at"] - clock.wall_ms()))
        return
    work.move(Transaction(work.store.client), {"$set": {"state": fetches.DONE}, "$unset": {"next_at": ""}})
