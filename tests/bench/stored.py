"""What an order costs, and how fast a merchant's orders of one state are listed, when many orders are stored."""

import copy
from datetime import timedelta
from typing import Any, Final
from urllib.parse import quote

from services.chassis import ids
from services.orders.store import serial
from tests.bench import ordering
from tests.bench.bare import Model
from tests.bench.catalog import told
from tests.bench.load import get, run
from tests.bench.reading import CONCURRENCY
from tests.bench.report import Report
from tests.bench.world import Bench

PAGE: Final = 20
BATCH: Final = 1_000
GROWN: Final = 1.3
ORDERING: Final = 8
Document = dict[str, Any]


def measure(bench: Bench, report: Report) -> None:
    """Processor time of an order beside few stored ones and beside many; then the merchant's list at full size."""
    people = ordering.crowd(bench)
    ordering.place(bench, people, bench.sizes.warm, ORDERING)
    costs = []
    for count in (bench.sizes.small, bench.sizes.large):
        lay_down(bench, count)
        costs.append(ordering.counted(bench, people, bench.sizes.orders, ORDERING).cpu_ms)
    small, large = costs
    note = f"{small:.1f} ms at {bench.sizes.small:,}, {large:.1f} ms at {bench.sizes.large:,} orders"
    report.add(
        "processor time of an order: many stored against few", large / small, "ratio", GROWN, at_most=True, note=note
    )
    merchant = {"Authorization": f"Bearer {bench.shop.token}"}
    paths = pages(bench)
    run(bench.stack.url, get(paths, merchant), range(max(bench.sizes.listings // 10, 1)), CONCURRENCY)  # warm
    found = run(bench.stack.url, get(paths, merchant), range(bench.sizes.listings), CONCURRENCY)
    told(report, f"a merchant's paid orders, page of {PAGE}, {bench.sizes.large:,} stored", found, None)


def pages(bench: Bench) -> list[str]:
    """The paths of the first pages of the merchant's paid orders."""
    found, token = [], ""
    for _ in range(5):
        found.append(f"/v1/orders?state=paid&page_size={PAGE}" + (f"&page_token={quote(token)}" if token else ""))
        token = bench.merchant.get("/v1/orders", state="paid", page_size=PAGE, page_token=token)["next_page_token"]
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
        "serial": serial(placed_at, order_id),
    }
    order["keys"] = [key.replace(old, order_id) for key in order["keys"]]
    payable = {**model.payable, "_id": checkout_id, "trade_nos": [checkout_id]}
    checkout = {"_id": checkout_id, "checkouts": [{**model.checkout, "_id": checkout_id}]}
    return order, checkout, {**model.reservation, "_id": checkout_id}, payable
