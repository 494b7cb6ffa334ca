"""The catalog's collections and what is asked of them."""

import heapq
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any, Final

from services.catalog.model import bulk, freight, windows
from services.catalog.model.categories import Tree
from services.catalog.model.milestones import LIVING, list_name
from services.catalog.model.products import Limits, State
from services.catalog.model.versions import version_id
from services.catalog.store.milestones import MILESTONES, Milestones
from services.catalog.store.own_writes import OWN_WRITES, OwnWrites
from services.catalog.store.ranges import BATCH, FIRST, LAST
from services.catalog.store.shelving import Shelving
from services.catalog.store.spans import Spans
from services.catalog.store.trees import Trees
from services.chassis import ids, policy
from services.chassis.commit import Rows
from services.chassis.mongo import Client, Collection, Database, Document, Index

__all__ = [
    "ASKED_AT_ONCE",
    "BATCH",
    "COLLECTIONS",
    "FIRST",
    "LAST",
    "SERVICE",
    "FileGoneError",
    "Store",
    "freight_limits",
    "limits",
    "templates_of",
    "window_limits",
]
SERVICE: Final = "catalog"
ASKED_AT_ONCE: Final = 50
"""Ids in one question. The embedded database compares each row that it finds with half of them: 200 at once cost it more than twice of
50 four times, 400 at once four times as much; a MongoDB answers four questions nearly as soon as one."""
MOMENT: Final = timedelta(milliseconds=1)
"""The database keeps no finer times."""
LOOKED_AT_MOST: Final = 5_000
"""Products that one question passes by at most in search of others."""
COLLECTIONS: Final = (
    Collection("shops"),
    Collection(
        "products",
        (
            Index(("shop_id", "-position")),
            Index(("shop_id", "state", "-position")),
            Index(("shop_id", "listing.category_id", "state", "-position")),
            Index(("shop_id", "updated_at")),
            Index(("freight_key",), sparse=True),
        ),
    ),
    Collection("names"),
    MILESTONES,
    OWN_WRITES,
    Collection("versions"),
    Collection("stock"),
    Collection("movements", (Index(("sku_id",), sparse=True), Index(("movements.sku_id",), sparse=True))),
    Collection("chunks", emits=True),
    Collection(
        "imports",
        (Index(("next_at",), sparse=True), Index(("working_for",), sparse=True), Index(("shop_id", "-position"))),
        keyed=True,
        emits=True,
    ),
    Collection(
        "exports",
        (Index(("next_at",), sparse=True), Index(("working_for",), sparse=True), Index(("shop_id", "-position"))),
        keyed=True,
    ),
    Collection("befores", (Index(("expire_at",), expire_s=0),)),
    Collection("import_files", (Index(("expire_at",), expire_s=0),)),
    Collection("reservations", emits=True, timed=True),
    Collection("purchases"),
    Collection("windows", (Index(("shop_id", "-position")), Index(("shop_id", "product_id", "-position"))), keyed=True),
    Collection("window_units"),
    Collection("groups", (Index(("shop_id", "name", "group_id")),), keyed=True),
    Collection(
        "shelves",
        (Index(("shop_id", "draft.name", "shelf_id")), Index(("slug_key",), unique=True)),
        keyed=True,
        timed=True,
    ),
    Collection("shelf_versions"),
    Collection("categories"),
    Collection("category_revision"),
    Collection("category_changes", (Index(("-revision",), unique=True), Index(("category_id", "-revision")))),
    Collection("search_feed", (Index(("at",)), Index(("expire_at",), expire_s=0))),
    Collection("search_rebuilds", (Index(("-position",)),), keyed=True),
    Collection(
        "images",
        (Index(("shop_id", "-position")), Index(("image_id",)), Index(("next_at",), sparse=True)),
        keyed=True,
    ),
    Collection("image_files", (Index(("next_at",), sparse=True),)),
    Collection("image_fetches", (Index(("next_at",), sparse=True),)),
    Collection(
        "image_sources",
        (
            Index(("import_id", "state", "try_at")),
            Index(("import_id", "_id")),
            Index(("import_id", "state", "_id")),
            Index(("image_id",)),
        ),
    ),
    Collection("freight_templates", (Index(("shop_id", "-position")),), keyed=True),
    Collection("view_batches", (Index(("expire_at",), expire_s=0),), emits=True),
    Collection("view_days", (Index(("shop_id", "day")),)),
    Collection("view_visitors", (Index(("expire_at",), expire_s=0),)),
    Collection("product_view_days", (Index(("expire_at",), expire_s=0),)),
    Collection("product_view_visitors", (Index(("expire_at",), expire_s=0),)),
)
"""products carry the current listing, names what the merchant calls them and their SKUs, a row a name, stock one row a SKU, movements what changed stock outside of chunks: a row for one SKU {sku_id,
delta}, or for those of an order {movements: [{sku_id, delta}]}, or for orders paid at the same time {movements: [{sku_id, delta, ref, shop_id}]} with
the order as ref; a chunk holds the results and movements of products applied together;
import_files the blocks of uploaded and exported files; befores products as they were before an import's chunk; purchases what limited
buyers took; categories what admins made of the shipped tree, category_revision how many edits that were, category_changes each of them
with who, when and why; freight_templates also those deleted (without a position), because products and reservations of a moment ago may
still ask for them; images what stands on shops' lists (deleted ones without a position), image_files whether the bytes of a picture are kept, image_fetches the work on an import's pictures,
image_sources their addresses; windows the sale windows of products, window_units what each has sold of a SKU; groups and shelves also what is left of those deleted (without shop_id), so that a number is not given again
and a command repeated answers as it did; view_batches what gateways saw, until some days after it was counted, view_days what it came to, view_visitors the sets of a day's visitors
for as long as it may grow, product_view_days and product_view_visitors the same of each product; search_feed which products (or which shop's)
changed, for the search index, search_rebuilds when it was asked for anew; milestones by which products pages of long lists are found, own_writes how often each shop's merchant wrote; freight_key on a product names the template it uses."""


def limits(when: datetime) -> Limits:
    """The limits of a product in force at ``when``."""
    return Limits(**policy.load(SERVICE).value("product_limits", when))


def window_limits(when: datetime) -> windows.Limits:
    """The limits of sale windows in force at ``when``."""
    most = limits(when)
    return windows.Limits(**policy.load(SERVICE).value("window_limits", when), units=most.stock, price=most.price)


def freight_limits(when: datetime) -> freight.Limits:
    """The limits of freight templates and quotes in force at ``when``."""
    return freight.Limits(**policy.load(SERVICE).value("freight_limits", when))


def templates_of(products: Iterable[Document]) -> set[str]:
    """The keys of the freight templates that these products use."""
    return {row["freight_key"] for row in products if "freight_key" in row}


def _fits(row: Document, wanted: Mapping[str, Any]) -> bool:
    """Whether a product is in the state and the category, where they are said."""
    is_wanted = {"state": row["state"], "category_id": row["listing"]["category_id"]}
    return all(wanted[name] in ("", 0, value) for name, value in is_wanted.items())


def _position(row: Document) -> str:
    return str(row["position"])


def _by_id(rows: Rows, ids: Iterable[str]) -> dict[str, Document]:
    wanted, found = list(dict.fromkeys(ids)), {}
    for start in range(0, len(wanted), ASKED_AT_ONCE):
        part = {"_id": {"$in": wanted[start : start + ASKED_AT_ONCE]}}
        found.update({row["_id"]: row for row in rows.find(part, batch_size=BATCH)})
    return found


class FileGoneError(Exception):
    """A block of an uploaded file is not there any more."""


class Store(Shelving):
    """Questions to the catalog's database; every write goes through ``chassis.commit``."""

    def __init__(self, database: Database) -> None:
        """The collections by name."""
        super().__init__(database)
        self.client: Client = database.client
        self.shops, self.products, self.versions = database["shops"], database["products"], database["versions"]
        self.names = database["names"]
        self.stock, self.movements, self.chunks = database["stock"], database["movements"], database["chunks"]
        self.imports, self.import_files = database["imports"], database["import_files"]
        self.befores, self.exports = database["befores"], database["exports"]
        self.reservations, self.purchases = database["reservations"], database["purchases"]
        self.windows, self.window_units = database["windows"], database["window_units"]
        self.categories, self.category_revision = database["categories"], database["category_revision"]
        self.category_changes = database["category_changes"]
        self.freight_templates = database["freight_templates"]
        self.view_batches, self.view_days = database["view_batches"], database["view_days"]
        self.product_view_days = database["product_view_days"]
        self.search_feed, self.search_rebuilds = database["search_feed"], database["search_rebuilds"]
        self.images, self.image_sources = database["images"], database["image_sources"]
        self.image_fetches, self.image_files = database["image_fetches"], database["image_files"]
        self.trees = Trees(database)
        self.milestones, self.own_writes = Milestones(database), OwnWrites(database)
        self._picture_spans = Spans(partial(ids.new_id_floor, "img"), ids.new_id_ms)

    def tree(self) -> Tree:
        """The category tree as it now is, at most ``category_tree_age`` old."""
        return self.trees.current()

    def shop(self, shop_id: str) -> Document | None:
        """The copy of a shop."""
        return self.shops.find_one({"_id": shop_id})

    def shops_by_id(self, shop_ids: Iterable[str]) -> dict[str, Document]:
        """The copies of these shops, by id."""
        return {row["_id"]: row for row in self.shops.find({"_id": {"$in": list(shop_ids)}}, batch_size=BATCH)}

    def templates(self, shop_id: str, template_ids: Iterable[int]) -> dict[int, Document]:
        """These freight templates of the shop by their numbers, also deleted ones; nothing is asked for none."""
        keys = [freight.template_key(shop_id, number) for number in template_ids]
        return {row["template_id"]: row for row in self.templates_by_key(keys).values()}

    def templates_by_key(self, keys: Iterable[str]) -> dict[str, Document]:
        """These freight templates of any shops, also deleted ones; nothing is asked for none."""
        wanted = list(keys)
        if not wanted:
            return {}
        return {row["_id"]: row for row in self.freight_templates.find({"_id": {"$in": wanted}}, batch_size=BATCH)}

    def template_users(self, key: str, most: int) -> list[Document]:
        """Up to ``most`` products that use the freight template ``key``: {_id, listing.name}."""
        query = {"freight_key": key, "state": {"$ne": "deleted"}}
        return list(self.products.find(query, {"listing.name": 1}).limit(most))

    def products_by_id(self, product_ids: Iterable[str]) -> dict[str, Document]:
        """The products that there are, by id; nothing is asked for none."""
        return _by_id(self.products, product_ids)

    def named(self, names: Iterable[str]) -> dict[str, Document]:
        """What these names belong to, by name: {product_id}, of a SKU also {sku_id}; nothing is asked for none."""
        return _by_id(self.names, names)

    def old_versions(self, product_id: str, numbers: Iterable[int]) -> dict[int, Document]:
        """These old versions of a product, by number."""
        wanted = [version_id(product_id, number) for number in numbers]
        return {row["version"]: row for row in self.versions.find({"_id": {"$in": wanted}}, batch_size=BATCH)}

    def stock_of(self, products: Iterable[Document]) -> dict[str, Document]:
        """The stock rows of the SKUs that these products have now, by SKU id: a product names them, so their rows need no index."""
        return self.stock_by_id(sku["sku_id"] for row in products for sku in row["listing"]["skus"])

    def stock_by_id(self, sku_ids: Iterable[str]) -> dict[str, Document]:
        """These stock rows; nothing is asked for none."""
        return _by_id(self.stock, sku_ids)

    def units(self, unit_ids: Iterable[str]) -> dict[str, Document]:
        """These counts of sale windows, by their ids; nothing is asked for none."""
        wanted = list(unit_ids)
        if not wanted:
            return {}
        return {row["_id"]: row for row in self.window_units.find({"_id": {"$in": wanted}}, batch_size=BATCH)}

    def units_now(self, products: Iterable[Document], now: datetime) -> dict[str, Document]:
        """The counts of the sale windows that run now; nothing is asked where none does."""
        running = [(sku, found) for row in products for sku, found in windows.running(row, now).items()]
        return self.units(windows.unit_id(found["window_id"], sku) for sku, found in running)

    def left_of(self, keys: Iterable[str]) -> dict[str, int]:
        """What there is of stock (SKU ids) and of sale windows (ids of their units)."""
        wanted = set(keys)
        units = {key for key in wanted if ":" in key}
        skus = wanted - units
        left = {key: row["available"] for key, row in self.stock_by_id(skus).items()} if skus else {}
        return left | {key: row["left"] for key, row in self.units(units).items()}

    def bought(self, purchase_ids: Iterable[str]) -> dict[str, int]:
        """What is counted under these ids; nothing is asked for none."""
        wanted = list(purchase_ids)
        if not wanted:
            return {}
        return {row["_id"]: row["quantity"] for row in self.purchases.find({"_id": {"$in": wanted}}, batch_size=BATCH)}

    def page(self, collection: str, shop_id: str, before: str | None, size: int, **wanted: Any) -> list[Document]:
        """Up to ``size`` rows of the shop, newest first, after the row at position ``before``."""
        query: Document = {
            "shop_id": shop_id,
            **{name: value for name, value in wanted.items() if value},
            "position": {"$gt": FIRST, "$lt": before or LAST},
        }
        return list(self.database[collection].find(query).sort("position", -1).limit(size))

    def page_of_products(
        self, shop_id: str, before: str | None, size: int, state: str = "", category_id: int = 0
    ) -> list[Document]:
        """The same of products, which are many: from milestone to milestone. Without a state all but the deleted ones, which stand apart."""
        last = (bulk.APART if state == State.DELETED else "") + LAST
        states = (state,) if state or not category_id else LIVING
        pages = [self._page_of(shop_id, one, category_id, before or last, size) for one in states]
        return list(islice(heapq.merge(*pages, key=_position, reverse=True), size))

    def _page_of(self, shop_id: str, state: str, category_id: int, before: str, size: int) -> list[Document]:
        """Of one list; each is one range of an index."""
        wanted = {"listing.category_id": category_id, "state": state}
        query: Document = {"shop_id": shop_id, **{name: value for name, value in wanted.items() if value}}

        def read(low: str, high: str, most: int) -> list[Document]:
            between = {**query, "position": {"$gte": low, "$lt": high}}
            return list(self.products.find(between, batch_size=most).sort("position", -1).limit(most))

        return self.milestones.page(list_name(shop_id, state, category_id), before, size, read)

    def page_of_pictures(self, shop_id: str, before: str | None, size: int) -> list[Document]:
        """The same of the pictures on the shop's list."""

        def read(low: str) -> list[Document]:
            query = {"shop_id": shop_id, "position": {"$gt": low, "$lt": before or LAST}}
            return list(self.images.find(query, batch_size=size).sort("position", -1).limit(size))

        return self._picture_spans.page(shop_id, before, size, FIRST, read)

    def changed(
        self, shop_id: str, since: datetime, until: datetime, most: int, wanted: Mapping[str, Any]
    ) -> tuple[list[Document], datetime | None]:
        """Up to ``most`` products of the shop last changed between two moments, the longest unchanged first, and from where on nothing
        was looked at because enough others were passed by (None: everything was looked at). ``wanted``: state, category_id; empty: any.
        """
        found: list[Document] = []
        looked_at = 0
        for low, high in self.milestones.changes(shop_id, since, until + MOMENT):
            query = {"shop_id": shop_id, "updated_at": {"$gte": low, "$lt": high}}
            rows = list(self.products.find(query, batch_size=BATCH).sort("updated_at", 1))
            found += [row for row in rows if _fits(row, wanted)]
            looked_at += len(rows)
            if len(found) >= most or (looked_at >= LOOKED_AT_MOST and high <= until):
                return found[:most], high
        return found, None

    def older_jobs(self, collection: str, job: Document) -> int:
        """How many imports (exports) of the same shop that are to be worked on came before ``job``."""
        found = self.database[collection].find({"working_for": job["shop_id"]}, {"position": 1})
        return sum(row["position"] < job["position"] for row in found)

    def products_in_order(self, shop_id: str, state: str, after: str = FIRST) -> Iterator[Document]:
        """All products of the shop but deleted ones (in this state, where one is said) behind the position ``after``, oldest first, as
        one walk along an index.
        """
        query: Document = {"shop_id": shop_id, **({"state": state} if state else {})}
        query["position"] = {"$gt": after, "$lt": LAST}
        yield from self.products.find(query).sort("position", 1)

    def listed_ids(self, shop_id: str) -> Iterator[str]:
        """The ids of everything that the shop has on sale. Ids alone: the embedded database gathers an answer before it sends any of it."""
        query = {"shop_id": shop_id, "state": State.LISTED, "position": {"$gt": FIRST, "$lt": LAST}}
        yield from (row["_id"] for row in self.products.find(query, {"_id": 1}, batch_size=BATCH))

    def file_blocks(self, file_id: str, blocks: int, first: int = 0) -> Iterator[bytes]:
        """The bytes of a file, block by block from the ``first`` on. Raises FileGoneError."""
        for number in range(first, blocks):
            yield self.file_block(file_id, number)

    def file_block(self, file_id: str, number: int) -> bytes:
        """One block of a file. Raises FileGoneError."""
        row = self.import_files.find_one({"_id": f"{file_id}:{number}"})
        if row is None:
            raise FileGoneError(f"block {number} of file {file_id} is gone")
        return bytes(row["data"])
