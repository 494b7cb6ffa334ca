"""Following the feed of changed products, and the edits of the category tree, with one index."""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final

import tantivy

from services.catalog.model.categories import Tree
from services.catalog.model.products import State
from services.catalog.store import BATCH, Store
from services.catalog.store.search import documents
from services.catalog.store.search.folder import Folder
from services.chassis import clock
from services.chassis.mongo import Document

AT_ONCE: Final = 50
RENAMED_AT_ONCE: Final = 400
"""Products of a renamed category that one step indexes anew: what merchants change meanwhile waits no longer than that takes."""
HEAP: Final = 48_000_000
LATE_MS: Final = 5_000
"""Rows of the feed may become visible so much later than their time says: every look goes back that far."""
VERY_LATE_MS: Final = 180_000
"""No transaction lives longer: now and then, and after a start, a look goes back that far."""
LOOK_BACK_EVERY_MS: Final = 20_000
SAY_EVERY_MS: Final = 2_000
SEEN_MOST: Final = 100_000


class Follower:
    """One index, its place in the feed, and the tree by which its products were indexed."""

    def __init__(self, store: Store, folder: Folder, name: str, check: Callable[[], None]) -> None:
        """Takes the index's writer. ``check`` raises when the process is to end. Raises ValueError, OSError for an index that is broken."""
        self._store, self._folder, self._name, self._check = store, folder, name, check
        self._index = folder.open(name)
        self._writer = self._index.writer(HEAP, 1)
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._position = folder.position(name)
        self._held = self._aimed = folder.revision(name)
        self._renamed: deque[str] = deque()
        self._looked_back = self._said = 0

    @property
    def waiting(self) -> bool:
        """Whether products of renamed categories are still to be indexed anew."""
        return bool(self._renamed)

    def step(self) -> int:
        """Index what changed since the last step; answers how many rows of the feed and products of renamed categories that were."""
        began, tree = clock.wall_ms(), self._tree()
        rows = self._news(began)
        if rows:
            self._apply(rows)
            self._writer.commit()
        done = self._follow_tree(tree.revision)
        if rows or done or began - self._said >= SAY_EVERY_MS:
            self._folder.set_position(self._name, began, self._held)
            self._said = began
        self._position = began
        for row in rows:
            self._seen[row["_id"]] = None
        while len(self._seen) > SEEN_MOST:
            self._seen.popitem(last=False)
        return len(rows) + done

    def close(self) -> None:
        """Let go of the writer; what was not committed is read again by who comes next."""
        self._writer.wait_merging_threads()

    def _tree(self) -> Tree:
        """The tree as it is, never one from before those that the index holds: another process may have been further."""
        tree = self._store.tree()
        if tree.revision < self._aimed:
            self._store.trees.forget()
            tree = self._store.tree()
        return tree

    def _follow_tree(self, revision: int) -> int:
        """Names of categories are among the words of their products: index some of those anew whose category has another name, or is new.

        The tree counts as held when none is left; who comes after a kill begins at that of the last time.
        """
        if revision > self._aimed:
            for category_id in renamed(self._store, self._aimed, revision):
                self._renamed.extend(self._products_in(category_id))
            self._aimed = revision
        part = [self._renamed.popleft() for _ in range(min(RENAMED_AT_ONCE, len(self._renamed)))]
        if part:
            self._look_again(part)
            self._writer.commit()
        if not self._renamed:
            self._held = self._aimed
        return len(part)

    def _products_in(self, category_id: int) -> list[str]:
        """Ids of what the index holds in the category and below it, also what was indexed before it knew the category."""
        self._index.reload()
        searcher = self._index.searcher()
        ways = (
            tantivy.Query.term_query(self._index.schema, field, category_id, "basic")
            for field in ("categories", "category")
        )
        query = tantivy.Query.boolean_query([(tantivy.Occur.Should, way) for way in ways])
        found = searcher.search(query, max(1, searcher.num_docs), count=False).hits
        return [searcher.doc(address)["id"][0] for _, address in found]

    def _news(self, now: int) -> list[Document]:
        """Rows of the feed that were not looked at, oldest first."""
        back = LATE_MS
        if now - self._looked_back >= LOOK_BACK_EVERY_MS:
            self._looked_back, back = now, VERY_LATE_MS
        span = {"$gte": self._position - back, "$lte": now + VERY_LATE_MS}
        ids = [row["_id"] for row in self._store.search_feed.find({"at": span}, {"_id": 1}, batch_size=BATCH)]
        new = [identity for identity in ids if identity not in self._seen]
        found: list[Document] = []
        for start in range(0, len(new), AT_ONCE):
            part = new[start : start + AT_ONCE]
            found += self._store.search_feed.find({"_id": {"$in": part}}, batch_size=BATCH)
        return sorted(found, key=lambda row: int(row["at"]))

    def _apply(self, rows: Iterable[Document]) -> None:
        changed: dict[str, None] = {}
        for row in rows:
            if row.get("shop_id"):
                self._shop_moved(row["shop_id"])
            changed |= dict.fromkeys(row["product_ids"])
        self._look_again(changed)

    def _look_again(self, product_ids: Iterable[str]) -> None:
        """Index these as they are now."""
        waiting = iter(product_ids)
        while part := list(islice(waiting, AT_ONCE)):
            self._check()
            for identity in part:
                self._writer.delete_documents_by_term("id", identity)
            add(self._writer, self._store, self._store.products_by_id(part).values())

    def _shop_moved(self, shop_id: str) -> None:
        """A shop that is not open shows nothing; one that opens (again) shows what it has on sale."""
        self._writer.delete_documents_by_term("shop", shop_id)
        if open_shops(self._store, {shop_id}):
            for _ in add_shop(self._writer, self._store, shop_id):
                self._check()


def add_shop(writer: tantivy.IndexWriter, store: Store, shop_id: str) -> Iterator[int]:
    """What the shop has on sale, part by part; yields how many products were looked at."""
    found = store.listed_ids(shop_id)
    while part := list(islice(found, AT_ONCE)):
        add(writer, store, store.products_by_id(part).values())
        yield len(part)


def add(writer: tantivy.IndexWriter, store: Store, products: Iterable[Document]) -> None:
    """Those of ``products`` that are on sale in an open shop."""
    found, tree = list(products), store.tree()
    shops = open_shops(store, {product["shop_id"] for product in found})
    for product in found:
        if product["state"] == State.LISTED and product["shop_id"] in shops:
            writer.add_document(documents.document(product, tree))


def renamed(store: Store, after: int, until: int) -> list[int]:
    """Categories that were made or got another name by the edits of the tree between two revisions."""
    query = {"revision": {"$gt": after, "$lte": until}}
    fields = {"category_id": 1, "before.name": 1, "after.name": 1}
    found = store.category_changes.find(
        query, fields, batch_size=BATCH
    )  # of a new category there is no `before` to project
    return list(
        dict.fromkeys(row["category_id"] for row in found if row.get("before", {}).get("name") != row["after"]["name"])
    )


def open_shops(store: Store, shop_ids: Iterable[str]) -> frozenset[str]:
    """Which of these shops are open."""
    return frozenset(identity for identity, shop in store.shops_by_id(shop_ids).items() if shop["state"] == "open")
