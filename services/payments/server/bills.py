"""The rpcs of bills."""

from typing import Final

from jishi.payments.v1 import bills_pb2 as pb

from services.chassis import codec, paging, rpc
from services.payments.queries import bills
from services.payments.store import Store

CSV: Final = "text/csv; charset=utf-8"


class BillCalls:
    """Bills of a shop."""

    _store: Store

    def GetBill(self, _call: rpc.Call, request: pb.GetBillRequest) -> pb.GetBillResponse:
        """A page of a bill."""
        filters = {"shop": request.shop_id, "date": request.date}
        place = paging.decode(request.page_token, filters, int)
        told, rest = bills.page(self._store, request.shop_id, request.date, place[0] if place else 0, request.page_size)
        token = paging.encode(filters, [rest]) if rest else ""
        return codec.from_plain(pb.GetBillResponse, {**told, "next_page_token": token})

    def DownloadBill(self, _call: rpc.Call, request: pb.DownloadBillRequest) -> pb.DownloadBillResponse:
        """A piece of a bill's file."""
        kind = bills.FLOW if request.kind == pb.BILL_KIND_FUND_FLOW else bills.TRADE
        filters = {"shop": request.shop_id, "date": request.date, "kind": kind}
        place = paging.decode(request.page_token, filters, int)
        data, rest = bills.piece(self._store, request.shop_id, request.date, kind, place[0] if place else 0)
        return pb.DownloadBillResponse(
            data=data,
            next_page_token=paging.encode(filters, [rest]) if rest else "",
            content_type=CSV,
            file_name=f"{kind}-bill-{request.shop_id}-{request.date}.csv",
        )
