"""What an order costs, and how fast a merchant's orders of one state are listed, when many orders are stored."""

import copy
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from services.chassis import ids
from services.orders.store import serial
from tests.bench import ordering
from tests.bench.bare import Model
from tests.bench.catalog import told
from tests.bench.load import get, run
from tests.bench.reading import CONCURRENCY
from tests.bench.report import Report
from tests.bench.world import Bench, running

PAGE: Final = 20
BATCH: Final = 1_000
GROWN: Final = 1.3
ORDERING: Final = 8
TURNS: Final = 3
HOUR: Final = timedelta(hours=1)
Document = dict[str, Any]


def measure(bench: Bench, report: Report) -> None:
    """Processor time of an order beside few stored ones and beside many, on two stacks in turn, so that whoever else uses the machine uses it
    for both; then the merchant's lists at full size.
    """
    with running(bench.sizes) as few:
        crowds = [(few, filled(few, bench.sizes.small)), (bench, filled(bench, bench.sizes.large))]
        small, large = compared(crowds)
    note = f"{small:.1f} ms at {bench.sizes.small:,}, {large:.1f} ms at {bench.sizes.large:,} orders"
    report.add(
        "processor time of an order: many stored against few", large / small, "ratio", GROWN, at_most=True, note=note
    )
    for name, filters in lists(bench).items():
        listed(bench, report, name, filters)


def filled(bench: Bench, count: int) -> ordering.Crowd:
    """Buyers who have bought a little, and ``count`` orders that are there already."""
    people = ordering.crowd(bench)
    ordering.place(bench, people, bench.sizes.warm, ORDERING)
    lay_down(bench, count)
    return people


def compared(crowds: Sequence[tuple[Bench, ordering.Crowd]]) -> list[float]:
    """Milliseconds of processor time of an order on each of the stacks: the middle one of some counts, taken in turn."""
    costs: list[list[float]] = [[] for _ in crowds]
    for _ in range(TURNS):
        for found, (bench, people) in zip(costs, crowds, strict=True):
            found.append(ordering.counted(bench, people, max(bench.sizes.orders // TURNS, 1), ORDERING).cpu_ms)
    return [statistics.median(found) for found in costs]


def lists(bench: Bench) -> dict[str, dict[str, Any]]:
    """What a merchant asks for: the paid orders; those of them paid within the hour of the one in the middle."""
    with bench.stack.connect() as client:
        orders = client["orders"]["orders"]
        middle = orders.find_one({"checkout_id": f"laid-{bench.sizes.large // 2}"}) or orders.find_one({})
        assert middle is not None
    paid_at = middle.get("paid_at", middle["created_at"])
    span = {"paid_from": _text(paid_at - HOUR), "paid_to": _text(paid_at + HOUR)}
    return {"paid orders": {"state": "paid"}, "paid orders of two hours": {"state": "paid", **span}}


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def listed(bench: Bench, report: Report, name: str, filters: dict[str, Any]) -> None:
    """How many of the first pages of a list are answered a second, and what one costs the database."""
    merchant = {"Authorization": f"Bearer {bench.shop.token}"}
    paths = pages(bench, filters)
    run(bench.stack.url, get(paths, merchant), range(max(bench.sizes.listings // 10, 1)), CONCURRENCY)  # warm
    spent = bench.cpu_seconds()["database"]
    found = run(bench.stack.url, get(paths, merchant), range(bench.sizes.listings), CONCURRENCY)
    cost = (bench.cpu_seconds()["database"] - spent) / bench.sizes.listings * 1000
    told(report, f"a merchant's {name}, page of {PAGE}, {bench.sizes.large:,} stored", found, None)
    report.add("  processor time of one, the database's", cost, "ms")


def pages(bench: Bench, filters: dict[str, Any]) -> list[str]:
    """The paths of the first pages of the merchant's orders."""
    found, token = [], ""
    for _ in range(5):
        asked = {**filters, "page_size": PAGE, **({"page_token": token} if token else {})}
        found.append(f"/v1/orders?{urlencode(asked)}")
        token = bench.merchant.get("/v1/orders", **asked)["next_page_token"]
        if not token:
            break
    return found


def lay_down(bench: Bench, count: int) -> None:
    """Copies of a paid order, with its checkout, reservation and payable, until ``count`` orders are there; older ones, a second apart."""
    with bench.stack.connect() as client:
        model = Model(client)
        there = client["orders"]["orders"].count_documents({})
        for begin in range(there, count, BATCH):
            rows = [_copied(model, number) for number in range(begin, min(begin + BATCH, count))]
            for place, (service, collection) in enumerate(
                (("orders", "orders"), ("orders", "checkouts"), ("catalog", "reservations"), ("payments", "payables"))
            ):
                client[service][collection].insert_many([row[place] for row in rows], ordered=False)


def _copied(model: Model, number: int) -> tuple[Document, Document, Document, Document]:
    checkout_id, order_id = f"laid-{number}", ids.order_id()
    old = model.order["_id"]
    order = copy.deepcopy(model.order)
    placed_at = order["created_at"] - timedelta(seconds=number + 1)
    order |= {
        "_id": order_id,
        "checkout_id": checkout_id,
        "created_at": placed_at,
        "paid_at": placed_at,
        "serial": serial(placed_at, order_id),
    }
    order["keys"] = [key.replace(old, order_id) for key in order["keys"]]
    payable = {**model.payable, "_id": checkout_id, "trade_nos": [checkout_id]}
    checkout = {"_id": checkout_id, "checkouts": [{**model.checkout, "_id": checkout_id}]}
    return order, checkout, {**model.reservation, "_id": checkout_id}, payable
