"""A question as a query: every word must be found, somewhere; attributes on one SKU; then categories, prices, shop."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import tantivy

from services.catalog.model.search import PRICE_MOST
from services.catalog.store.search import documents, words

MUST, SHOULD, NOT = tantivy.Occur.Must, tantivy.Occur.Should, tantivy.Occur.MustNot
WORDS_MOST: Final = 16
_FUZZY_FROM: Final = 4
"""Letters a Latin word must have before a misspelling of it is looked for."""
_SCATTERED_FROM: Final = 3
"""Letters that say enough to be looked for one by one."""
_UNSIGNED: Final = tantivy.FieldType.Unsigned


@dataclass(frozen=True, slots=True)
class Question:
    """What is looked for. ``attributes``: (axis, value); prices in minor units, 0 and ``PRICE_MOST`` where nothing is said."""

    text: str = ""
    shop_id: str = ""
    category_id: int = 0
    price_min: int = 0
    price_max: int = PRICE_MOST
    attributes: tuple[tuple[str, str], ...] = ()


class Asking:
    """Makes queries for one index."""

    def __init__(self, index: tantivy.Index, searcher: tantivy.Searcher) -> None:
        """``searcher``: tells which words are values of SKUs."""
        self._schema, self._searcher = index.schema, searcher

    def query(self, question: Question, *, strict: bool = True) -> tantivy.Query:
        """``strict``: every word must be found; else some of them, the more the better."""
        asked = words.asked(question.text)[:WORDS_MOST]
        parts = [(MUST, part) for part in self._filters(question)]
        if asked:
            parts.append((MUST, self._words(asked) if strict else self._any(asked)))
        return tantivy.Query.boolean_query(parts) if parts else tantivy.Query.all_query()

    def _words(self, asked: Sequence[str]) -> tantivy.Query:
        """All of them; two or more that are values of SKUs must be values of one SKU."""
        values = [word for word in asked if self._is_value(word)]
        together = 2 <= len(values) <= documents.AXES_MOST
        alone = [word for word in asked if not (together and word in values)]
        parts = [(MUST, self._word(word)) for word in alone]
        if together:
            parts += [(SHOULD, self._word(word)) for word in values]
            parts.append((MUST, self._boost(self._together(values), 0.0)))
        return tantivy.Query.boolean_query(parts)

    def _together(self, values: Sequence[str]) -> tantivy.Query:
        """One SKU has them all, or a product that has no SKU of such a value says it of all of them (红色连衣裙 by its name, XL by a SKU)."""
        ways = []
        for said in (some for size in range(len(values) + 1) for some in itertools.combinations(values, size)):
            rest = [word for word in values if word not in said]
            parts = [(MUST, self._term("own", word)) for word in said]
            parts += [(NOT, self._term("values", word)) for word in said]
            if rest:
                parts.append((MUST, self._term("values", documents.values_of(rest))))
            ways.append((SHOULD, tantivy.Query.boolean_query(parts)))
        return tantivy.Query.boolean_query(ways)

    def _is_value(self, word: str) -> bool:
        """A whole value of some SKU, or a part of values more often than something said of products."""
        found = self._searcher.doc_freq
        return found("whole", word) > 0 or found("values", word) > found("own", word)

    def _any(self, asked: Sequence[str]) -> tantivy.Query:
        """Half of the words, or most of the letters side by side or not in the name."""
        found = [(SHOULD, self._word(word)) for word in asked]
        ways = [(SHOULD, tantivy.Query.boolean_query(found, minimum_number_should_match=(len(found) + 1) // 2))]
        single = list(dict.fromkeys(letter for word in asked for letter in words.letters(word)))
        if len(single) >= _SCATTERED_FROM:
            terms = [(SHOULD, self._boost(self._term("letters", letter), 0.5)) for letter in single]
            ways.append(
                (SHOULD, tantivy.Query.boolean_query(terms, minimum_number_should_match=-(-len(single) * 2 // 3)))
            )
        return tantivy.Query.boolean_query(ways)

    def _word(self, word: str) -> tantivy.Query:
        """One word: in the name, as letters of the name, in everything else; misspelt by a letter. Its letters alone count a little."""
        ways = [self._boost(self._term("name", word), 4.0), self._boost(self._term("body", word), 1.0)]
        single = words.letters(word)
        if len(single) > 1:
            ways.append(self._boost(tantivy.Query.phrase_query(self._schema, "letters", list(single)), 3.0))
        elif not word.isascii():
            ways.append(self._boost(self._term("letters", word), 1.5))
        if len(single) >= _SCATTERED_FROM:  # 不粘锅: 不粘平底煎锅
            ways.append(self._boost(self._all(self._term("letters", letter) for letter in single), 0.5))
        if called := words.head(word):  # 裙子: 连衣裙, 半身裙
            ways.append(self._boost(self._term("heads", called), 0.6))
        if words.is_latin(word) and len(word) >= _FUZZY_FROM:
            for field in ("name", "body"):
                fuzzy = tantivy.Query.fuzzy_term_query(self._schema, field, word, 1, transposition_cost_one=True)
                ways.append(self._boost(fuzzy, 0.3))
        found = tantivy.Query.disjunction_max_query(ways, 0.1)
        if len(single) < 2 or word.isascii():
            return found
        alone = [(SHOULD, self._boost(self._term("letters", letter), 0.2)) for letter in single]
        return tantivy.Query.boolean_query([(MUST, found), *alone])

    @staticmethod
    def _all(queries: Iterable[tantivy.Query]) -> tantivy.Query:
        return tantivy.Query.boolean_query([(MUST, query) for query in queries])

    def _filters(self, question: Question) -> Iterator[tantivy.Query]:
        """Conditions that score nothing."""
        if question.shop_id:
            yield self._boost(self._term("shop", question.shop_id), 0.0)
        if question.category_id:
            yield self._boost(self._term("categories", question.category_id), 0.0)
        if question.attributes:
            yield self._boost(self._term("skus", documents.selection(question.attributes)), 0.0)
        if question.price_min > 0 or question.price_max < PRICE_MOST:
            found = tantivy.Query.range_query(self._schema, "price", _UNSIGNED, question.price_min, question.price_max)
            yield self._boost(found, 0.0)

    def _term(self, field: str, value: str | int) -> tantivy.Query:
        return tantivy.Query.term_query(
            self._schema, field, value, "basic" if field not in ("name", "letters") else "position"
        )

    @staticmethod
    def _boost(query: tantivy.Query, by: float) -> tantivy.Query:
        return tantivy.Query.boost_query(query, by)
