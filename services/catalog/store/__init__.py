"""The catalog's collections and what is asked of them."""

import tomllib
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from services.catalog.model.categories import Tree, parse
from services.catalog.model.products import Limits
from services.chassis import policy
from services.chassis.mongo import Client, Collection, Database, Document, Index

SERVICE: Final = "catalog"
FIRST: Final = "!"
LAST: Final = "~"
"""Before and after every position (an id). A page always says both ends of its range: the embedded database scans without, and finds
nothing above an empty string on a descending index."""
COLLECTIONS: Final = (
    Collection("shops"),
    Collection(
        "products",
        (
            Index(("external_key",), unique=True, sparse=True),
            Index(("shop_id", "-position")),
            Index(("shop_id", "state", "-position")),
            Index(("shop_id", "listing.category_id", "-position")),
        ),
    ),
    Collection("versions"),
    Collection("stock", (Index(("product_id",)), Index(("merchant_key",), unique=True, sparse=True))),
    Collection("movements", (Index(("sku_id",), sparse=True), Index(("movements.sku_id",), sparse=True))),
    Collection("chunks", emits=True),
    Collection("imports", (Index(("next_at",), sparse=True), Index(("shop_id", "-position"))), keyed=True, emits=True),
    Collection("import_files", (Index(("expire_at",), expire_s=0),)),
    Collection("reservations", emits=True, timed=True),
    Collection("purchases"),
    Collection("groups", (Index(("shop_id",)),), keyed=True),
    Collection("shelves", (Index(("shop_id",)), Index(("slug_key",), unique=True)), keyed=True),
    Collection("shelf_versions"),
)
"""products carry the current listing, stock one row a SKU, movements what changed stock outside of chunks: a row for one SKU {sku_id,
delta}, or for those of an order {movements: [{sku_id, delta}]}; a chunk holds the results and movements of products applied together; import_files the blocks of an uploaded file; purchases what limited buyers took."""


@cache
def tree() -> Tree:
    """The category tree of the house, read once."""
    return parse(tomllib.loads((Path(__file__).parent.parent / "categories.toml").read_text(encoding="utf-8")))


def limits(when: datetime) -> Limits:
    """The limits of a product in force at ``when``."""
    return Limits(**policy.load(SERVICE).value("product_limits", when))


class FileGoneError(Exception):
    """A block of an uploaded file is not there any more."""


class Store:
    """Questions to the catalog's database; every write goes through ``chassis.commit``."""

    def __init__(self, database: Database) -> None:
        """The collections by name."""
        self.database = database
        self.client: Client = database.client
        self.shops, self.products, self.versions = database["shops"], database["products"], database["versions"]
        self.stock, self.movements, self.chunks = database["stock"], database["movements"], database["chunks"]
        self.imports, self.import_files = database["imports"], database["import_files"]
        self.reservations, self.purchases = database["reservations"], database["purchases"]
        self.groups, self.shelves, self.shelf_versions = (
            database["groups"],
            database["shelves"],
            database["shelf_versions"],
        )

    def shop(self, shop_id: str) -> Document | None:
        """The copy of a shop."""
        return self.shops.find_one({"_id": shop_id})

    def products_by_id(self, product_ids: Iterable[str]) -> dict[str, Document]:
        """The products that there are, by id."""
        return {row["_id"]: row for row in self.products.find({"_id": {"$in": list(product_ids)}})}

    def stock_of(self, product_ids: Iterable[str]) -> dict[str, Document]:
        """The stock rows of these products, by SKU id."""
        return {row["_id"]: row for row in self.stock.find({"product_id": {"$in": list(product_ids)}})}

    def stock_by_id(self, sku_ids: Iterable[str]) -> dict[str, Document]:
        """These stock rows."""
        return {row["_id"]: row for row in self.stock.find({"_id": {"$in": list(sku_ids)}})}

    def page(self, collection: str, shop_id: str, before: str | None, size: int, **wanted: Any) -> list[Document]:
        """Up to ``size`` rows of the shop, newest first, after the row at position ``before``."""
        query: Document = {
            "shop_id": shop_id,
            **{name.replace("__", "."): value for name, value in wanted.items() if value},
            "position": {"$gt": FIRST, "$lt": before or LAST},
        }
        return list(self.database[collection].find(query).sort("position", -1).limit(size))

    def file_blocks(self, file_id: str, blocks: int) -> Iterator[bytes]:
        """The bytes of an uploaded file, block by block. Raises FileGoneError."""
        for number in range(blocks):
            row = self.import_files.find_one({"_id": f"{file_id}:{number}"})
            if row is None:
                raise FileGoneError(f"block {number} of file {file_id} is gone")
            yield bytes(row["data"])
