"""The rpcs about sale windows."""

from datetime import datetime
from typing import Any, TypeVar

from google.protobuf.message import Message
from jishi.catalog.v1 import windows_pb2 as pb

from services.catalog.commands import windows
from services.catalog.queries import products, views
from services.catalog.queries import windows as queries
from services.catalog.store import Store
from services.chassis import codec, paging, rpc
from services.chassis.commit import Outcome
from services.chassis.mongo import Document

R = TypeVar("R", bound=Message)


class WindowCalls:
    """Part of CatalogService."""

    _store: Store

    def CreateSaleWindow(self, call: rpc.Call, request: pb.CreateSaleWindowRequest) -> pb.CreateSaleWindowResponse:
        """A new window."""
        outcome = windows.open_window(self._store, call.cause, request.shop_id, request.product_id, _said(request))
        return _answer(call, pb.CreateSaleWindowResponse, outcome)

    def GetSaleWindow(self, call: rpc.Call, request: pb.GetSaleWindowRequest) -> pb.GetSaleWindowResponse:
        """One window."""
        shown = queries.window(self._store, call.caller.shop_id, request.window_id)
        return codec.from_plain(pb.GetSaleWindowResponse, {"window": shown})

    def ListSaleWindows(self, _call: rpc.Call, request: pb.ListSaleWindowsRequest) -> pb.ListSaleWindowsResponse:
        """The shop's own."""
        filters = {"sale_windows": request.shop_id, "product": request.product_id}
        before = paging.decode(request.page_token, filters, str)
        size = products.page_size(request.page_size, products.PAGE, products.PAGE_MOST)
        place = before[0] if before else None
        found, last = queries.windows(self._store, request.shop_id, request.product_id, place, size)
        token = paging.encode(filters, [last]) if last else ""
        return codec.from_plain(pb.ListSaleWindowsResponse, {"windows": found, "next_page_token": token})

    def UpdateSaleWindow(self, call: rpc.Call, request: pb.UpdateSaleWindowRequest) -> pb.UpdateSaleWindowResponse:
        """Other terms."""
        outcome = windows.update_window(
            self._store, call.cause, call.caller.shop_id, request.window_id, request.etag, _said(request)
        )
        return _answer(call, pb.UpdateSaleWindowResponse, outcome)

    def CancelSaleWindow(self, call: rpc.Call, request: pb.CancelSaleWindowRequest) -> pb.CancelSaleWindowResponse:
        """Over."""
        outcome = windows.cancel_window(self._store, call.cause, call.caller.shop_id, request.window_id)
        return _answer(call, pb.CancelSaleWindowResponse, outcome)


def _said(request: Message) -> dict[str, Any]:
    """The fields of a window, times that are not said as None."""
    return {"starts_at": None, "ends_at": None, "ship_by": None, **codec.to_plain(request)}


def _answer(call: rpc.Call, kind: type[R], outcome: Outcome) -> R:
    """The window as the command left it: its state is told as of then, so that a repetition answers the same."""
    if outcome.replayed:
        call.mark_replayed()
    row: Document = outcome.document
    then: datetime = row.get("changed_at") or row["created_at"]
    return codec.from_plain(kind, {"window": views.window(row, then)})
