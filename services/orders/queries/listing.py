"""Lists of orders: what is asked, found a page at a time; whatever is placed meanwhile, a page neither skips nor repeats.

A list goes from the newest order to the oldest. A shop's orders by when they changed go from the oldest change to the newest: what changes
while somebody reads comes again at the end, and is never missed.
"""

from collections.abc import Mapping
from typing import Any

from services.chassis import clock, paging
from services.chassis.mongo import Document
from services.orders.model.search import Search
from services.orders.store import END, Store, first_serial
from services.orders.store.lists import CHANGES_FIRST_MS

Page = tuple[list[Document], str]


def page(store: Store, search: Search, filters: Mapping[str, Any], size: int, token: str) -> Page:
    """Up to ``size`` orders and the token of the next page. A page may be short, even empty, though there is a next one.

    ``filters``: what the token is bound to. Raises Refusal INVALID_PAGE_TOKEN.
    """
    if search.changed is not None:
        return _by_change(store, search, filters, size, token)
    last = paging.decode(token, filters, int, int)
    low = first_serial(search.low) if search.low else 0
    high = first_serial(search.high) if search.high else END
    before, span = (min(high, int(last[0])), max(1, int(last[1]))) if last else (high, None)
    walked = store.lists.newest(search, low, before, size + 1, span)
    if len(walked.rows) > size:
        return walked.rows[:size], paging.encode(filters, [walked.rows[size - 1]["serial"], min(walked.span, END)])
    on = walked.edge > low
    return walked.rows, paging.encode(filters, [walked.edge, min(walked.span, END)]) if on else ""


def _by_change(store: Store, search: Search, filters: Mapping[str, Any], size: int, token: str) -> Page:
    """The cursor is the moment of the last change that was shown, and the id: several orders may change in one moment."""
    begins, ends = (max(0, clock.ms(moment)) for moment in search.changed or ())
    last = paging.decode(token, filters, int, str, int)
    from_ms, after, span = (
        (min(int(last[0]), ends), str(last[1]), max(1, int(last[2]))) if last else (begins, "", CHANGES_FIRST_MS)
    )
    walked = store.lists.changed(search, from_ms, after, ends, size + 1, span)
    if len(walked.rows) > size:
        shown = walked.rows[size - 1]
        at = [clock.ms(shown["updated_at"]), shown["_id"], min(walked.span, END)]
        return walked.rows[:size], paging.encode(filters, at)
    on = walked.edge < ends
    return walked.rows, paging.encode(filters, [walked.edge, "", min(walked.span, END)]) if on else ""
