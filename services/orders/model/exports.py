"""A file of a shop's orders: what may be asked, the life of the job, and what stands in a row.

queued → running → completed | failed. One row for each line of an order; what is the order's stands in each of its rows.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from services.chassis.calendar import CST
from services.chassis.errors import Refusal, Violation, wrong_state
from services.orders.model import outstanding, parcels
from services.orders.model.states import State

Order = Mapping[str, Any]
Cell = str | int
FORMATS: Final[Mapping[str, tuple[str, str]]] = {
    "csv": ("csv", "text/csv; charset=utf-8"),
    "xlsx": ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
}
"""Format → extension and media type."""
OVER: Final = ("next_at", "working_for")
"""What a job has only while it is to be worked on."""
MONEY: Final = frozenset(
    {"price", "line_goods", "line_discount", "line_freight", "line_freight_discount", "order_amount", "order_refunded"}
)
"""Columns in fen here, in yuan in the file."""
NUMBERS: Final = MONEY | {"quantity", "outstanding"}
COLUMNS: Final = (
    "order_id",
    "state",
    "in_dispute",
    "created_at",
    "paid_at",
    "shipped_at",
    "completed_at",
    "closed_at",
    "close_reason",
    "openid",
    "receiver_name",
    "province",
    "city",
    "zone",
    "address",
    "mobile",
    "notes",
    "product_id",
    "external_id",
    "merchant_sku",
    "product_name",
    "options",
    "quantity",
    "outstanding",
    "price",
    "line_goods",
    "line_discount",
    "line_freight",
    "line_freight_discount",
    "order_amount",
    "order_refunded",
    "currency",
    "delivery_company",
    "delivery_track_no",
    "payment_id",
    "transaction_id",
    "checkout_id",
)
_TIMES: Final = ("created_at", "paid_at", "shipped_at", "completed_at", "closed_at")
_ADDRESS: Final = ("receiver_name", "province", "city", "zone", "address", "mobile")


def check(asked: Mapping[str, Any]) -> None:
    """Raises Refusal INVALID_ARGUMENT naming every wrong field."""
    found: list[Violation] = []
    if asked["format"] not in FORMATS:
        found.append(Violation("format", f"must be one of {', '.join(FORMATS)}"))
    found += [
        Violation(f"states[{number}]", f"must be one of {', '.join(State)}")
        for number, state in enumerate(asked["states"])
        if state not in set(State)
    ]
    if found:
        raise Refusal("INVALID_ARGUMENT", f"{found[0].field}: {found[0].message}", tuple(found))


def check_ready(job: Mapping[str, Any]) -> None:
    """Whether there is a file. Raises Refusal WRONG_STATE."""
    if job["state"] != "completed":
        raise wrong_state("export", job["_id"], job["state"], "completed")


def rows(order: Order) -> Iterator[list[Cell]]:
    """The rows of an order, a cell for each of ``COLUMNS``: texts, and numbers for ``NUMBERS`` (money in fen). Times are CST.

    Over all rows of an order goods − discount + freight − freight discount is its amount. Of a line that travels in several parcels
    their carriers and numbers stand one after the other, in the order of the parcels.
    """
    sent = parcels.all_of(order)
    common: dict[str, Cell] = {
        **{name: _time(order.get(name)) for name in _TIMES},
        **{name: str(order["address"].get(name, "")) for name in _ADDRESS},
        **{name: str(order.get(name, "")) for name in ("state", "close_reason", "openid", "notes", "currency")},
        **{name: str(order.get(name, "")) for name in ("payment_id", "transaction_id", "checkout_id")},
        "order_id": str(order["_id"]),
        "in_dispute": "yes" if order["in_dispute"] else "",
        "order_amount": order["amount"],
        "order_refunded": order["refunded"],
    }
    open_units = outstanding.units(order)
    for number, line in enumerate(order["lines"], 1):
        carried = [each for each in sent if each["need_delivery"] and _holds(each, number)]
        own: dict[str, Cell] = {
            **{name: str(line.get(name, "")) for name in ("product_id", "external_id", "merchant_sku")},
            "product_name": line["name"],
            "options": line["sku_text"],
            "quantity": line["quantity"],
            "outstanding": open_units.get(number, 0),
            "price": line["price"],
            "line_goods": line["goods_amount"],
            "line_discount": line["discount"],
            "line_freight": line["freight"],
            "line_freight_discount": line.get("freight_discount", 0),
            "delivery_company": "; ".join(each["company_name"] for each in carried),
            "delivery_track_no": "; ".join(each["track_no"] for each in carried),
        }
        yield [{**common, **own}[name] for name in COLUMNS]


def _holds(parcel: Mapping[str, Any], number: int) -> bool:
    return any(each["line"] == number for each in parcel["lines"])


def _time(moment: datetime | None) -> str:
    return moment.astimezone(CST).strftime("%Y-%m-%d %H:%M:%S") if moment else ""
