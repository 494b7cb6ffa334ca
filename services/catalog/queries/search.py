"""Questions to the search index of this machine."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import tantivy

from services.catalog.model.search import DEEPEST, PRICE_MOST, check, check_text
from services.catalog.queries import search_check
from services.catalog.queries.images import Pictures
from services.catalog.store import SERVICE, Store
from services.catalog.store.search import documents, words
from services.catalog.store.search.asking import Question
from services.catalog.store.search.documents import LISTED_AS
from services.catalog.store.search.finding import Finding, Found
from services.catalog.store.search.folder import Folder, Reader
from services.catalog.store.search.keeper import Keeper
from services.chassis import clock, metrics, policy
from services.chassis.errors import Refusal, not_found
from services.chassis.mongo import Document

PAGES: Final = (20, 100)
SUGGESTIONS: Final = (10, 20)
"""How many are answered unless something is said, and at most."""
LOOKS_MOST: Final = 10
"""So many times a page of products in stock is filled up before it is answered as it is."""
PATHS_MOST: Final = 5
FOLDER: Final = "search"


def keeper(store: Store, data_dir: Path) -> Keeper:
    """What keeps the index under ``data_dir``, to be started."""
    return Keeper(store, Folder(data_dir / FOLDER))


class Search:
    """The index under ``data_dir``; whoever keeps it, this process reads it."""

    def __init__(self, store: Store, data_dir: Path, pictures: Pictures | None = None) -> None:
        """Opens nothing yet. ``pictures``: those that were fetched are shown at our own address."""
        self._store, self._folder, self._pictures = store, Folder(data_dir / FOLDER), pictures
        self._reader = Reader(self._folder)
        metrics.SEARCH_BEHIND.set_function(lambda: self.status().get("behind_ms", -1000) / 1000)

    def page(self, wanted: Mapping[str, Any], place: tuple[int, bool] | None, size: int) -> tuple[Document, int | None]:
        """One page of hits as SearchProductsResponse shows it, and the offset of the next.

        ``place``: where the page begins, and whether the one before was relaxed. Raises Refusal INVALID_ARGUMENT naming the fields,
        NOT_FOUND for a category that is not there, UNAVAILABLE before there is an index.
        """
        question = self._question(wanted)
        finding, (offset, relaxed) = self._finding(), place or (0, False)
        offset = min(offset, DEEPEST)
        found = finding.hits(question, wanted["sort"], offset, size, relaxed=relaxed)
        hits, seen = found.hits, offset + len(found.hits)
        if wanted["in_stock"]:
            hits, seen = self._in_stock(finding, question, wanted["sort"], offset, size, found)
        shown = self._pictures.in_hits(self._store, hits) if self._pictures else hits
        answer: Document = {"products": [_shown(hit, question.text) for hit in shown], "total": found.total}
        if wanted["facets"] and place is None:
            answer["facets"] = finding.facets(question, relaxed=found.relaxed)
        more = seen < min(found.total, DEEPEST)
        return {**answer, "relaxed": found.relaxed}, seen if more else None

    def suggest(self, text: str, most: int) -> Document:
        """How ``text`` may go on, and categories whose name holds it.

        Raises Refusal INVALID_ARGUMENT, UNAVAILABLE before there is an index.
        """
        check_text(text)
        shown = words.plain(text).strip()
        tree = self._store.tree()
        open_ones = (found for found in tree if shown and shown in words.plain(found.name) and tree.is_open(found))
        categories = sorted(open_ones, key=lambda found: (len(found.name), found.id))[:PATHS_MOST]
        return {
            "suggestions": self._finding().completions(text, most),
            "categories": [{"category_id": found.id, "path": found.path} for found in categories],
        }

    def status(self) -> Document:
        """How far the index is, as GetSearchStatusResponse shows it; ``late`` against ``search_behind`` of the policy."""
        said, pointer, index = self._folder.status(), self._folder.pointer(), self._reader.index()
        told: Document = {"state": "missing", "done": 0, "total": 0, **said}
        told["rebuild_id"] = str(pointer.get("wanted", "::")).rpartition(":")[2]
        if index is not None:
            told["products"] = Finding(index).products
            held_ms = self._folder.position(pointer["name"])
            told |= {"behind_ms": max(0, clock.wall_ms() - held_ms), "held_until": clock.moment(held_ms)}
        most_s = policy.load(SERVICE).value("search_behind", clock.business())
        return {**told, "late": told.get("behind_ms", most_s * 1000 + 1) > most_s * 1000}

    def check(self, shop_id: str, after: str | None, size: int) -> tuple[list[Document], str | None]:
        """The shop, or a page of all shops after this one, as SearchedShop shows them; and after which the next page begins.

        Raises Refusal NOT_FOUND, UNAVAILABLE before there is an index.
        """
        index = self._index()
        if shop_id:
            return [search_check.one(self._store, index, shop_id)], None
        return search_check.page(self._store, index, after, size)

    def _question(self, wanted: Mapping[str, Any]) -> Question:
        attributes = check(wanted)
        if wanted["category_id"] and self._store.tree().get(wanted["category_id"]) is None:
            raise not_found("category", str(wanted["category_id"]))
        return Question(
            text=wanted["q"],
            shop_id=wanted["shop_id"],
            category_id=wanted["category_id"],
            price_min=wanted["price_min"],
            price_max=wanted["price_max"] or PRICE_MOST,
            attributes=attributes,
        )

    def _finding(self) -> Finding:
        return Finding(self._index())

    def _index(self) -> tantivy.Index:
        index = self._reader.index()
        if index is None:
            raise Refusal("UNAVAILABLE", "the search index is being built; try again in a moment", retry_after_s=2)
        return index

    def _in_stock(
        self, finding: Finding, question: Question, sort: str, offset: int, size: int, found: Found
    ) -> tuple[list[Document], int]:
        """Up to ``size`` of the hits that can be bought now, asked of the stock itself, and the offset behind the last one looked at."""
        out: list[Document] = []
        for _ in range(LOOKS_MOST):
            fine = self._buyable(question, found.hits)
            for number, hit in enumerate(found.hits):
                if fine(hit):
                    out.append(hit)
                if len(out) == size:
                    return out, offset + number + 1
            offset += len(found.hits)
            if len(found.hits) < size or offset >= DEEPEST:
                break
            found = finding.hits(question, sort, offset, size, relaxed=found.relaxed)
        return out, offset

    def _buyable(self, question: Question, hits: Iterable[Document]) -> Callable[[Document], bool]:
        """Whether one SKU of a hit has the values asked for (by words too, as far as they are values of it) and stock."""
        products = self._store.products_by_id(hit["product_id"] for hit in hits)
        stock = self._store.stock_of(products.values())
        attributes = {words.plain(axis): words.plain(value) for axis, value in question.attributes}
        asked = set(words.asked(question.text))

        def fine(hit: Document) -> bool:
            product = products.get(hit["product_id"])
            if product is None:
                return False
            axes = [words.plain(axis) for axis in product["listing"]["axes"]]
            skus = [
                (sku["sku_id"], [words.plain(each) for each in sku["values"]]) for sku in product["listing"]["skus"]
            ]
            said = {sku_id: set(documents.said_by(values)) for sku_id, values in skus}
            named = (asked & set().union(*said.values())) - set(words.terms(product["listing"]["name"]))
            named |= asked & {value for _, values in skus for value in values}
            return any(
                attributes.items() <= dict(zip(axes, values, strict=True)).items()
                and named <= said[sku_id]
                and stock.get(sku_id, {}).get("available", 0) > 0
                for sku_id, values in skus
            )

        return fine


def _shown(hit: Document, text: str) -> Document:
    """With where the words stand in the name, as long as it has the letters it was indexed by."""
    told = {field: value for field, value in hit.items() if field != LISTED_AS}
    name = words.plain(hit["name"])
    if not text or len(name) != len(hit["name"]):
        return told
    places = ((name.find(word), len(word)) for word in words.asked(text))
    return {**told, "matches": [{"start": start, "length": length} for start, length in sorted(places) if start >= 0]}
