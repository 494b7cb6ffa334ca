"""Reserving stock for a checkout."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from services.catalog.model import quotes, stock, windows
from services.catalog.model.stock import Line
from services.catalog.store import SERVICE, Store, freight_limits, templates_of
from services.catalog.store.reserving import Reserver, counts_of
from services.chassis import clock, commit, policy, regions
from services.chassis.commit import Cause, Outcome, Shortfall, Taken
from services.chassis.errors import Refusal, Violation, wrong_state
from services.chassis.fresh import Fresh
from services.chassis.mongo import Document
from services.chassis.regions import Place
from services.chassis.together import SharedReads, Together

ATTEMPTS: Final = 20
_NOWHERE: Final = {"province": "", "city": "", "carriers": {}}


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: what to hold for which checkout, until when it may be paid, and when it is let go at the latest (UTC).

    ``place`` is empty where it is not known yet; ``carriers``: shop → chosen carrier class, in the order of the request.
    """

    cause: Cause
    checkout_id: str
    buyer_id: str
    pay_by: datetime
    lines: list[Line]
    due: datetime
    place: Place = field(default_factory=Place)
    carriers: Mapping[str, str] = field(default_factory=dict)


class Desk:
    """What reserving needs, kept for the life of a server: the store, shared reads and transactions, shops read a moment ago."""

    def __init__(self, store: Store, shops: "Fresh[Document]") -> None:
        """One for a server."""
        self.store, self.shops, self._reserver = store, shops, Reserver(store)
        self.stock: SharedReads[str] = SharedReads(store.stock_by_id)
        self.units: SharedReads[str] = SharedReads(store.units)
        self.together: Together[Asked] = Together(self._reserve)

    def _reserve(self, asked: Sequence[Asked]) -> list[tuple[Document, Exception | None] | Exception]:
        """Requests that wait at the same time: one read of their products, one of the freight templates these use and one of what their
        buyers have under a limit, if any, and one transaction. (row, why it was not written) each.
        """
        products = self.store.products_by_id({line.product_id for one in asked for line in one.lines})
        templates = self.store.templates_by_key(templates_of(products.values()))
        prepared = [self._prepared(one, products, templates) for one in asked]
        counted = self.store.bought(
            {key for row in prepared if not isinstance(row, Exception) for key in counts_of(row)}
        )
        prepared = [row if isinstance(row, Exception) else _counted(row, counted) for row in prepared]
        rows = [row for row in prepared if not isinstance(row, Exception)]
        written = iter(self._reserver.write(rows))
        return [row if isinstance(row, Exception) else (row, next(written)) for row in prepared]

    def _prepared(
        self, asked: Asked, products: Mapping[str, Document], templates: Mapping[str, Document]
    ) -> Document | Exception:
        try:
            return _prepare(self, asked, products, templates)
        except Exception as error:  # noqa: BLE001 - its caller gets it
            return error


@dataclass(frozen=True, slots=True)
class Carriage:
    """How the lines travel, as far as it is known: a place of the region list, and [{shop_id, carrier_class}] as the buyer chose."""

    place: Place = field(default_factory=Place)
    carriers: Sequence[Mapping[str, str]] = ()

    def checked(self) -> dict[str, str]:
        """Shop → carrier class. Raises Refusal INVALID_ARGUMENT naming ``destination`` or ``carriers[i]``."""
        found = regions.load().wrong("destination.", self.place)
        chosen: dict[str, str] = {}
        for number, each in enumerate(self.carriers):
            if not each["shop_id"] or each["shop_id"] in chosen:
                found.append(Violation(f"carriers[{number}].shop_id", "name each shop once"))
            chosen[each["shop_id"]] = each["carrier_class"]
        if found:
            raise Refusal("INVALID_ARGUMENT", f"{found[0].field}: {found[0].message}", tuple(found))
        return chosen


UNKNOWN: Final = Carriage()
"""Nobody has said where the goods go."""


def reserve(
    desk: Desk,
    cause: Cause,
    checkout_id: str,
    buyer_id: str,
    pay_by: datetime,
    asked: list[Document],
    carriage: Carriage = UNKNOWN,
) -> Outcome:
    """Hold every line for ``checkout_id`` until ``pay_by`` (UTC) and some time more, or none.

    Idempotent by ``checkout_id``. The outcome's document has ``lines`` as the buyer saw them. Raises Refusal INVALID_ARGUMENT,
    NOT_FOR_SALE, OUT_OF_STOCK, BUY_LIMIT_REACHED, CONDITION_UNMET where no carrier class carries the lines of a shop (each naming
    ``lines[i]``), WRONG_STATE when the reservation has ended, IDEMPOTENCY_KEY_REUSED when it holds other lines or goes elsewhere.
    ``asked``: [{product_id, sku_id, quantity}]. Without a place templates charge by their rule for the country, or else their default
    rule; without a chosen class a shop's lines go by 快递, where that carries them all, else by EMS, else by 平邮.
    """
    now = clock.business()
    if not checkout_id or not buyer_id:
        raise Refusal("INVALID_ARGUMENT", "a reservation needs a checkout_id and a buyer_id")
    lines = [Line(line["product_id"], line["sku_id"], line["quantity"]) for line in asked]
    stock.check_lines(lines, policy.load(SERVICE).value("reservation_lines", now))
    due = pay_by + policy.load(SERVICE).span("reservation_grace", now)
    wanted = Asked(cause, checkout_id, buyer_id, pay_by, lines, due, carriage.place, carriage.checked())
    for _ in range(ATTEMPTS):
        try:
            row, problem = desk.together.ask(wanted)
        except Refusal:
            if (before := _before(desk.store, wanted)) is not None:
                return before
            raise
        if problem is None:
            return Outcome(row)
        if isinstance(problem, Shortfall):
            _refuse(desk, row)
        elif not isinstance(problem, Taken):
            raise problem
        elif (before := _before(desk.store, wanted)) is not None:
            return before
    raise Refusal("VERSION_CONFLICT", "the stock of these products kept changing; try again", retry_after_s=1)


def quote(desk: Desk, asked: Sequence[Document], carriage: Carriage = UNKNOWN) -> tuple[list[Document], list[Document]]:
    """What ``reserve`` would freeze now, and of each shop {shop_id, carriers: [{carrier_class, fee, chosen}]}; nothing is held.

    Raises Refusal INVALID_ARGUMENT, NOT_FOR_SALE, OUT_OF_STOCK, CONDITION_UNMET as ``reserve`` does; what a buyer has under a limit is not looked at.
    """
    now = clock.business()
    lines = [Line(line["product_id"], line["sku_id"], line["quantity"]) for line in asked]
    stock.check_lines(lines, policy.load(SERVICE).value("reservation_lines", now))
    wanted = Asked(Cause("quote"), "", "", now, lines, now, carriage.place, carriage.checked())
    products = desk.store.products_by_id({line.product_id for line in lines})
    templates = desk.store.templates_by_key(templates_of(products.values()))
    frozen, loads = _frozen(desk, wanted, products)
    offered = _charge(frozen, loads, wanted, templates)
    refusal = stock.out_of_stock(frozen, desk.store.left_of(stock.needs(frozen)))
    if refusal is not None:
        raise refusal
    chosen = {line["shop_id"]: line["carrier_class"] for line in frozen}
    shops = [
        {
            "shop_id": shop_id,
            "carriers": [
                {"carrier_class": offer.carrier, "fee": offer.fee, "chosen": offer.carrier == chosen[shop_id]}
                for offer in offers
            ],
        }
        for shop_id, offers in offered.items()
    ]
    return frozen, shops


def _frozen(desk: Desk, asked: Asked, products: Mapping[str, Document]) -> tuple[list[Document], list[quotes.Load]]:
    """The lines as the buyer sees them now, and as something to be carried."""
    frozen, loads, now = [], [], clock.business()
    for number, line in enumerate(asked.lines):
        product = products.get(line.product_id)
        shop = _shop(desk, product["shop_id"]) if product else None
        frozen.append(stock.freeze(line, number, product, shop, now))
        loads.append(stock.load_of(line, number, product, shop))
    return frozen, loads


def _prepare(desk: Desk, asked: Asked, products: Mapping[str, Document], templates: Mapping[str, Document]) -> Document:
    frozen, loads = _frozen(desk, asked, products)
    _charge(frozen, loads, asked, templates)
    row: Document = {
        "_id": asked.checkout_id,
        "buyer_id": asked.buyer_id,
        "pay_by": asked.pay_by,
        "lines": frozen,
        "parts": {line["shop_id"]: stock.HELD for line in frozen},
        "policy": policy.load(SERVICE).version("reservation_grace", clock.business()),
        "first": [],
    }
    if asked.place != Place() or asked.carriers:
        row["carriage"] = _carriage(asked)
    return commit.prepare(desk.store.reservations, row, asked.cause, due=asked.due)


def _counted(row: Document, counted: Mapping[str, int]) -> Document | Refusal:
    """The row, with the limits under which its buyer has nothing yet; or the refusal of who is above one."""
    wanted = stock.limited(row["lines"])
    bought = {key: counted.get(stock.purchase_id(key, row["buyer_id"])) for key in wanted}
    over = stock.over_limit(row["lines"], {key: number or 0 for key, number in bought.items()})
    return over or {**row, "first": [key for key, number in bought.items() if number is None]}


def _charge(
    frozen: Sequence[Document], loads: Sequence[quotes.Load], asked: Asked, templates: Mapping[str, Document]
) -> dict[str, list[quotes.Offer]]:
    """Write into each line its freight_fee (its share of the whole, by largest remainder) and the carrier class it is for; what each shop's lines
    may be carried by.
    """
    most = freight_limits(clock.business())
    shops = quotes.by_shop(loads)
    for number, shop_id in enumerate(asked.carriers):
        if shop_id not in shops:
            message = "no line is of this shop; leave it out"
            violation = Violation(f"carriers[{number}].shop_id", message)
            raise Refusal("INVALID_ARGUMENT", f"{violation.field}: {message}", (violation,))
    places, found = list(asked.carriers), {}
    for shop_id, carried in shops.items():
        wanted = asked.carriers.get(shop_id, "")
        path = f"carriers[{places.index(shop_id)}].carrier_class" if wanted else ""
        offered = quotes.offers(carried, quotes.of_shop(templates.values(), shop_id), asked.place, most)
        offer = quotes.chosen(offered, carried, wanted, path)
        for number, fee in offer.shares.items():
            frozen[number].update(freight_fee=fee, carrier_class=offer.carrier)
        found[shop_id] = offered
    return found


def _carriage(asked: Asked) -> Document:
    place = {"province": asked.place.province, "city": asked.place.city}
    return {**place, "carriers": dict(sorted(asked.carriers.items()))}


def _shop(desk: Desk, shop_id: str) -> Document | None:
    return desk.shops.get(shop_id, lambda: desk.store.shop(shop_id))


def _before(store: Store, wanted: Asked) -> Outcome | None:
    """The reservation that is there, if it answers this request."""
    checkout_id = wanted.checkout_id
    row = store.reservations.find_one({"_id": checkout_id})
    if row is None:
        return None
    if stock.HELD not in row["parts"].values():
        raise wrong_state("reservation", checkout_id, "ended", "one that is still held; begin a new checkout")
    asked = [(line.product_id, line.sku_id, line.quantity) for line in wanted.lines]
    if asked != [(line["product_id"], line["sku_id"], line["quantity"]) for line in row["lines"]]:
        raise Refusal("IDEMPOTENCY_KEY_REUSED", f"checkout {checkout_id} holds other lines; begin a new checkout")
    if row.get("carriage", _NOWHERE) != _carriage(wanted):
        raise Refusal("IDEMPOTENCY_KEY_REUSED", f"checkout {checkout_id} goes elsewhere; begin a new checkout")
    return Outcome(row, replayed=True, changed=False)


def _refuse(desk: Desk, row: Document) -> None:
    """Why the reservation did not fit, when it still does not; silent when it might by now."""
    lines: list[Any] = row["lines"]
    left = {sku: found["available"] for sku, found in desk.stock.get(stock.summed(lines)).items()}
    left |= {unit: found["left"] for unit, found in desk.units.get(windows.units_wanted(lines)).items()}
    counted = desk.store.bought(counts_of(row))
    bought = {key: counted.get(stock.purchase_id(key, row["buyer_id"]), 0) for key in stock.limited(lines)}
    refusal = stock.out_of_stock(lines, left) or stock.over_limit(lines, bought)
    if refusal is not None:
        raise refusal
