"""Putting back what a chunk of an import applied: every product as it was before, except what was changed since.

A product that was changed since (its content has another version) is a conflict and is left. One that the import made is deleted, or
taken off sale when buyers hold or bought some of it. Stock goes back by what the import itself moved, never by more than is available.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from services.catalog.model.bulk import deletion, moved
from services.catalog.model.chunks import Document, Plan, Result, RowProblem, content_version
from services.catalog.model.freight import missing_measure, template_key
from services.catalog.model.names import exchanged, names_of, own_part
from services.catalog.model.products import State
from services.catalog.model.versions import old_version, was_shown
from services.chassis.decisions import Change

CREATED: Final = 1
"""The version of the content of a product that was just made."""


@dataclass(frozen=True, slots=True)
class Past:
    """What the database holds of a chunk to be undone.

    ``results`` and ``movements`` of the chunk; ``befores`` by product id (shapes: ``before``); products by id; stock rows by SKU id, of
    these products; ``sold``: units of a SKU that orders took and did not give back; ``owners``: name → product id; ``templates``:
    freight templates of the shop by id that products go back to and that there still are.
    """

    import_id: str
    results: list[Document]
    movements: list[Document]
    befores: Mapping[str, Document] = field(default_factory=dict)
    products: Mapping[str, Document] = field(default_factory=dict)
    stock: Mapping[str, Document] = field(default_factory=dict)
    sold: Mapping[str, int] = field(default_factory=dict)
    owners: Mapping[str, str] = field(default_factory=dict)
    templates: Mapping[int, Document] = field(default_factory=dict)


def before(product: Document, new_skus: list[str]) -> dict[str, Any]:
    """What is kept of ``product`` when an import changes it; ``new_skus``: SKUs whose stock begins with that change."""
    kept = {name: product[name] for name in ("shop_id", "state", "listing", "source", "version")}
    return {**kept, "content": content_version(product), "new_skus": new_skus}


def plan_undo(past: Past, now: datetime) -> tuple[Plan, list[dict[str, Any]]]:
    """Every write that undoes the chunk, with a result for each product it made or changed; and the movements, as rows of their own.

    The last product goes first: a merchant SKU that went from one to another goes back the same way.
    """
    work = _Undo(past, now)
    for result in reversed(past.results):
        if result["outcome"] in ("created", "updated"):
            work.take(result)
    work.plan.stock_updates = work.moves
    return work.plan, work.rows


def template_again(product: Document, was: Document) -> int:
    """The freight template that ``product`` used before (``was``) and does not use now; 0: none."""
    return 0 if _template_of(was) == _template_of(product) else _template_of(was)


def _template_of(row: Document) -> int:
    return int(row["listing"]["freight"].get("template_id", 0))


class _Undo:
    """One chunk on its way back."""

    def __init__(self, past: Past, now: datetime) -> None:
        self.past, self.now, self.plan = past, now, Plan()
        self.rows: list[dict[str, Any]] = []
        self.moves: list[tuple[dict[str, Any], dict[str, Any]]] = []
        self.freed: set[str] = set()
        self.moved = {row["sku_id"]: row["delta"] for row in past.movements}

    def take(self, result: Document) -> None:
        """Put one product back, or say why not."""
        product = self.past.products.get(result["product_id"])
        was = self.past.befores.get(result["product_id"])
        made = result["outcome"] == "created"
        if product is None or (was is None and not made):
            self._tell(result, "failed", "GONE", "what it was before is not kept any more (30 days); mend it by hand")
        elif content_version(product) != (CREATED if made else was["version"] + 1):  # type: ignore[index]  # made, or there before
            self._tell(result, "failed", "CHANGED_SINCE", "it was changed after the import, and stays as it is now")
        elif was is None:
            self._remove(result, product)
        else:
            self._restore(result, product, was)

    def _remove(self, result: Document, product: Document) -> None:
        stock = self._stock_of(product)
        taken = {identity: row["reserved"] + self.past.sold.get(identity, 0) for identity, row in stock.items()}
        wanted = {identity: row["initial"] for identity, row in stock.items()}
        if any(taken.values()):
            held = sum(taken.values())
            if product["state"] == State.LISTED:
                self.plan.changes.append((product, Change(set=moved(product, State.DELISTED))))
            notes = self._give_back(result, stock, wanted)
            message = f"buyers hold or bought {held} of it, so it is taken off sale instead of deleted"
            self._tell(result, "updated", "DELISTED", message, notes)
            return
        self.plan.changes.append((product, deletion(product)))
        self._exchange(product, {**product, "state": State.DELETED})
        # nothing changes here: a SKU that is reserved meanwhile has its product stay
        self.moves += [({"_id": identity, "reserved": 0}, {"$set": {"reserved": 0}}) for identity in stock]
        notes = self._give_back(result, stock, wanted)
        self._recount(product["listing"]["category_id"], -1)
        self._tell(result, "updated", "DELETED", "the import had made it", notes)

    def _restore(self, result: Document, product: Document, was: Document) -> None:
        stock = self._stock_of(product)
        again = {**product, "state": was["state"], "listing": was["listing"]}
        objection = self._objection(product, was, names_of(again))
        if objection:
            self._tell(result, "failed", *objection)
            return
        self.plan.changes.append((product, self._back(product, was)))
        self._exchange(product, again)
        old, new = was["listing"]["category_id"], product["listing"]["category_id"]
        if old != new:
            self._recount(new, -1)
            self._recount(old, 1)
        moved = {identity: self.moved[identity] for identity in stock if identity in self.moved}
        moved |= {identity: stock[identity]["initial"] for identity in was["new_skus"] if identity in stock}
        self._tell(
            result, "updated", "RESTORED", "it is as it was before the import", self._give_back(result, stock, moved)
        )

    def _objection(self, product: Document, was: Document, names: Iterable[str]) -> tuple[str, str] | None:
        """(reason, message) why the product cannot be again what it was, with these names."""
        owners = self.past.owners
        rivals = [name for name in names if owners.get(name) not in (None, product["_id"]) and name not in self.freed]
        if rivals:
            return "MERCHANT_SKU_TAKEN", f"another product has its merchant SKU {own_part(rivals[0])} now"
        template_id = template_again(product, was)
        if not template_id:
            return None
        template = self.past.templates.get(template_id)
        if template is None:
            return "FREIGHT_TEMPLATE_UNKNOWN", f"its freight template {template_id} is deleted; give it another freight"
        counted = template["valuation"]
        if any(missing_measure(counted, sku["weight_g"], sku["volume_cm3"]) for sku in was["listing"]["skus"]):
            return "MEASURE_MISSING", f"its freight template {template_id} counts {counted} now, which it did not say"
        return None

    def _back(self, product: Document, was: Document) -> Change:
        """The change to ``product`` itself. A category that retired meanwhile gets back what it had."""
        listed = was["state"] == State.LISTED
        values: dict[str, Any] = {
            "state": was["state"],
            "listing": was["listing"],
            "source": was["source"],
            "shown": was_shown(product) or listed,
            "same": {"at": product["version"] + 1, "as": was["content"]},
        }
        if was["listing"] != product["listing"] and product["ever_listed"]:
            self.plan.versions.append(old_version(product, self.now))
            values |= {"listing_version": product["listing_version"] + 1, "shown": listed}
        template_id = template_again(product, was)
        if template_id:
            self.plan.templates[template_id] = self.past.templates[template_id]
            values["freight_key"] = template_key(product["shop_id"], template_id)
        without = "freight_key" in product and not _template_of(was)
        return Change(set=values, unset=("freight_key",) if without else ())

    def _stock_of(self, product: Document) -> dict[str, Document]:
        return {identity: row for identity, row in self.past.stock.items() if row["product_id"] == product["_id"]}

    def _exchange(self, product: Document, again: Document) -> None:
        """The names of the product become those that it had."""
        unnamed, named = exchanged(names_of(product), names_of(again))
        self.plan.unnamed += unnamed
        self.plan.named += named
        self.freed.update(row["_id"] for row in unnamed)

    def _give_back(self, result: Document, stock: Mapping[str, Document], moved: Mapping[str, int]) -> list[RowProblem]:
        """Move back what the import moved, as far as it is available; what is not, told."""
        notes = []
        for identity, delta in sorted(moved.items()):
            back = -min(delta, stock[identity]["available"])
            if back:
                enough = {"available": {"$gte": -back}} if back < 0 else {}
                exact = {"available": stock[identity]["available"]} if -back != delta else enough
                self.moves.append(({"_id": identity, **exact}, {"$inc": {"on_hand": back, "available": back}}))
                self.rows.append(self._movement(identity, stock[identity]["shop_id"], back))
            if -back != delta:
                message = f"of {delta} units that the import brought to SKU {identity}, {delta + back} are held or sold and stay"
                notes.append(RowProblem(result["row"], "stock", "STOCK_HELD", message))
        return notes

    def _movement(self, identity: str, shop_id: str, delta: int) -> dict[str, Any]:
        return {
            "_id": f"undo:{self.past.import_id}:{identity}",
            "sku_id": identity,
            "shop_id": shop_id,
            "delta": delta,
            "kind": "undone",
            "ref": self.past.import_id,
            "at": self.now,
        }

    def _recount(self, category_id: int, by: int) -> None:
        self.plan.categories[category_id] = self.plan.categories.get(category_id, 0) + by

    def _tell(
        self, result: Document, outcome: str, reason: str, message: str, notes: list[RowProblem] | None = None
    ) -> None:
        told = (RowProblem(result["row"], "", reason, message), *(notes or ()))
        self.plan.results.append(Result(result["external_id"], result["product_id"], outcome, result["row"], told))
