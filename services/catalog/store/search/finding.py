"""Asking the index on disk: hits, counts, how a word may go on."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import tantivy

from services.catalog.store.search import words
from services.catalog.store.search.asking import Asking, Question
from services.catalog.store.search.documents import IS
from services.chassis.mongo import Document

SORTS: Final[Mapping[str, tuple[str, tantivy.Order]]] = {
    "price_asc": ("price", tantivy.Order.Asc),
    "price_desc": ("price", tantivy.Order.Desc),
    "newest": ("created", tantivy.Order.Desc),
}
"""Orders that are not by relevance: a field and its direction."""
BANDS: Final = (5_000, 10_000, 20_000, 50_000, 100_000, 500_000)
"""Where bands of prices end, in minor units."""
CATEGORIES_MOST: Final = 30
ATTRIBUTES_MOST: Final = 400
VALUES_MOST: Final = 20


@dataclass(frozen=True, slots=True)
class Found:
    """Hits in order; ``total``: how many there are in all; ``relaxed``: not every word was found."""

    hits: list[Document]
    total: int
    relaxed: bool


class Finding:
    """One state of the index. Cheap to make: one a question."""

    def __init__(self, index: tantivy.Index) -> None:
        """As the last commit that was loaded left it."""
        self._searcher = index.searcher()
        self._asking = Asking(index, self._searcher)

    @property
    def products(self) -> int:
        """How many the index holds."""
        return int(self._searcher.num_docs)

    def hits(self, question: Question, sort: str, offset: int, most: int, *, relaxed: bool = False) -> Found:
        """``most`` hits after the first ``offset``. Where no product has every word, those that have half of them, by relevance."""
        if not relaxed:
            found = self._search(
                self._asking.query(question), sort if sort or question.text else "newest", offset, most
            )
            if _count_of(found) or not words.asked(question.text):
                return Found(self._read(found), _count_of(found), relaxed=False)
        found = self._search(self._asking.query(question, strict=False), "", offset, most)
        return Found(self._read(found), _count_of(found), relaxed=True)

    def facets(self, question: Question, *, relaxed: bool) -> list[Document]:
        """Counts over all hits: categories, bands of prices, attributes (by name)."""
        edges = (0, *BANDS)
        ranges = [{"from": float(low), "to": float(high)} for low, high in zip(edges, BANDS, strict=False)]
        asked = {
            "category": {"terms": {"field": "category", "size": CATEGORIES_MOST}},
            "price": {"range": {"field": "price", "ranges": [*ranges, {"from": float(BANDS[-1])}]}},
            "attribute": {"terms": {"field": "attribute", "size": ATTRIBUTES_MOST}},
        }
        found = self._searcher.aggregate(self._asking.query(question, strict=not relaxed), asked)
        categories = [_count(str(int(one["key"])), one) for one in found["category"]["buckets"]]
        bands = [_count(_band(one), one) for one in found["price"]["buckets"] if one["doc_count"] and "from" in one]
        shown = [{"name": "category", "counts": categories}, {"name": "price", "counts": bands}]
        return [one for one in (*shown, *_attributes(found["attribute"]["buckets"])) if one["counts"]]

    def completions(self, text: str, most: int) -> list[str]:
        """What is typed with its last word completed from the names of products, the most frequent first."""
        shown = words.plain(text).strip()
        tail = shown.rpartition(" ")[2]
        if not tail:
            return []
        head = shown[: len(shown) - len(tail)]
        found = self._searcher.terms_with_prefix("name", tail, limit=most * 20)
        best = [term for term, _ in sorted(found, key=lambda one: (-one[1], one[0]))]
        if not best and not tail.isascii():  # several words in a row: the last one is completed
            cut = words.asked(tail)
            if len(cut) > 1 and tail.endswith(cut[-1]):
                return [head + tail[: -len(cut[-1])] + term for term in self.completions(cut[-1], most)]
        return [head + term for term in best[:most]]

    def _search(self, query: tantivy.Query, sort: str, offset: int, most: int) -> tantivy.SearchResult:
        field, order = SORTS.get(sort, (None, tantivy.Order.Desc))
        return self._searcher.search(query, most, offset=offset, order_by_field=field, order=order)

    def _read(self, found: tantivy.SearchResult) -> list[Document]:
        return [json.loads(bytes(self._searcher.doc(address)["hit"][0])) for _, address in found.hits]


def _count_of(found: tantivy.SearchResult) -> int:
    return int(found.count)  # type: ignore[attr-defined]  # the library's types leave it out


def _count(value: str, bucket: Mapping[str, Any]) -> Document:
    return {"value": value, "count": int(bucket["doc_count"])}


def _band(bucket: Mapping[str, Any]) -> str:
    """``from-to``, the end left out; open above the last."""
    return f"{int(bucket['from'])}-{int(bucket['to']) if 'to' in bucket else ''}"


def _attributes(buckets: list[Mapping[str, Any]]) -> list[Document]:
    """One facet an attribute, the most frequent values first."""
    found: dict[str, list[Document]] = {}
    for bucket in buckets:
        name, _, value = str(bucket["key"]).partition(IS)
        counts = found.setdefault(name, [])
        if len(counts) < VALUES_MOST:
            counts.append(_count(value, bucket))
    return [{"name": name, "counts": counts} for name, counts in found.items()]
