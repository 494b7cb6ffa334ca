"""Keeping the index: one of the catalog's servers on a machine builds it and follows the feed of changed products; the others read it.

Who has the lock of the folder keeps it; a keeper that is killed lets go of the lock, and the next begins where the last commit stood: it
reads the feed again from a little before, and indexing a product twice is indexing it once.
"""

import fcntl
import os
import threading
from collections.abc import Iterator
from typing import Any, Final

import tantivy

from services.catalog.store import BATCH, Store
from services.catalog.store.search import documents
from services.catalog.store.search.folder import Folder
from services.catalog.store.search.following import HEAP, Follower, add_shop
from services.chassis import clock, mongo
from services.chassis.logs import get
from services.chassis.mongo import Document

LOOK_EVERY_S: Final = 0.4
LOCK_EVERY_S: Final = 1.0
FEED_KEPT_MS: Final = 3 * 86_400_000
"""A machine that was away for longer builds its index anew; the feed keeps a week."""
_log = get(__name__)


class StopError(Exception):
    """The process is ending."""


class Keeper:
    """One thread of a server process."""

    def __init__(self, store: Store, folder: Folder) -> None:
        """Does nothing yet."""
        self._store, self._folder = store, folder
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="search-keeper", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after what is at hand."""
        self._ended.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                with (self._folder.place / "lock").open("w") as lock:
                    if _locked(lock.fileno()):
                        self._keep()
            except StopError:
                return
            except mongo.AWAY:
                pass
            except Exception:  # noqa: BLE001 - this thread must not end
                _log.exception("search index")
            self._ended.wait(LOCK_EVERY_S)

    def _keep(self) -> None:
        """Follow the feed with the index in force; build another one when another is wanted, or it cannot be opened."""
        while True:
            wanted, pointer = self._wanted(), self._folder.pointer()
            follower = self._follower(str(pointer.get("name", "")))
            try:
                if follower is None or pointer["wanted"] != wanted:
                    self._build(wanted, follower)
                else:
                    self._follow(wanted, follower)
            finally:
                if follower is not None:
                    follower.close()

    def _follower(self, name: str) -> Follower | None:
        """Of the index in force; None where there is none that can go on from where it stands."""
        if not name or clock.wall_ms() - self._folder.position(name) > FEED_KEPT_MS:
            return None
        try:
            return Follower(self._store, self._folder, name, self._check)
        except (ValueError, OSError) as error:  # written by another version of the library, or damaged
            _log.warning("search index cannot be opened, a new one is built", error=str(error)[:200])
            return None

    def _wanted(self) -> str:
        """Which index should be there: of this shape, made after the last rebuild asked for."""
        query = {"position": {"$gt": "!", "$lt": "~"}}
        last: Document | None = next(self._store.search_rebuilds.find(query).sort("position", -1).limit(1), None)
        return f"{documents.VERSION}:{last['_id'] if last else ''}"

    def _follow(self, wanted: str, follower: Follower) -> None:
        while self._wanted() == wanted:
            follower.step()
            self._check(0.0 if follower.waiting else LOOK_EVERY_S)

    def _build(self, wanted: str, old: Follower | None) -> None:
        """A new index of everything, while the old one answers and follows."""
        began, revision, (name, index) = clock.wall_ms(), self._store.tree().revision, self._folder.make()
        total, done, stepped = self._store.products.estimated_document_count(), 0, clock.monotonic()
        writer = index.writer(HEAP, 1)
        shops = [row["_id"] for row in self._store.shops.find({"state": "open"}, {"_id": 1}, batch_size=BATCH)]
        for looked_at in (number for shop_id in shops for number in add_shop(writer, self._store, shop_id)):
            self._check()
            done += looked_at
            if clock.monotonic() - stepped >= LOOK_EVERY_S:
                self._folder.say(wanted=wanted, state="building", done=done, total=max(total, done))
                if old is not None:
                    old.step()
                stepped = clock.monotonic()
        writer.commit()
        writer.wait_merging_threads()
        self._folder.set_position(name, began, revision)
        self._catch_up(name)
        self._folder.point(wanted, name)
        self._folder.say(wanted=wanted, state="ready", done=done, total=done)
        _log.info("search index built", products=done, seconds=round((clock.wall_ms() - began) / 1000, 1))

    def _catch_up(self, name: str) -> None:
        """What changed while it was built, before it answers: nobody sees it go back."""
        follower = Follower(self._store, self._folder, name, self._check)
        try:
            while follower.step():
                pass
        finally:
            follower.close()

    def _check(self, wait_s: float = 0.0) -> None:
        if self._ended.wait(wait_s) if wait_s else self._ended.is_set():
            raise StopError


def _locked(number: int) -> bool:
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    os.set_inheritable(number, False)
    return True


def everything(index: tantivy.Index) -> Iterator[tuple[str, bytes]]:
    """(product id, what is shown of it) of all that the index holds; for proving that it holds the right things."""
    index.reload()
    searcher = index.searcher()
    for _, address in searcher.search(tantivy.Query.all_query(), max(1, searcher.num_docs)).hits:
        found: Any = searcher.doc(address)
        yield found["id"][0], bytes(found["hit"][0])
