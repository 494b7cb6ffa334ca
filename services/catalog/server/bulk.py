"""The rpcs that change many products or SKUs at once."""

from typing import TypeVar

from google.protobuf.message import Message
from jishi.catalog.v1 import products_pb2 as pb

from services.catalog.commands import bulk
from services.catalog.store import Store
from services.chassis import codec, rpc
from services.chassis.commit import Outcome
from services.chassis.mongo import Document

R = TypeVar("R", bound=Message)
_Request = pb.BulkUpdateStockRequest | pb.BulkUpdatePriceRequest | pb.BulkUpdateStatusRequest | pb.BulkDeleteRequest


class BulkCalls:
    """Part of CatalogService."""

    _store: Store

    def BulkUpdateStock(self, call: rpc.Call, request: pb.BulkUpdateStockRequest) -> pb.BulkUpdateStockResponse:
        """Many changes of stock."""
        plain = codec.to_plain(request)
        outcome = bulk.update_stock(self._bulk(call, request, plain), [bulk.stock_item(raw) for raw in plain["items"]])
        shown = {"results": [_stock_result(row) for row in outcome.answer["results"]]}
        return _answer(call, pb.BulkUpdateStockResponse, outcome, shown)

    def BulkUpdatePrice(self, call: rpc.Call, request: pb.BulkUpdatePriceRequest) -> pb.BulkUpdatePriceResponse:
        """Many prices."""
        plain = codec.to_plain(request)
        outcome = bulk.update_prices(self._bulk(call, request, plain), [bulk.price(raw) for raw in plain["items"]])
        return _answer(call, pb.BulkUpdatePriceResponse, outcome, outcome.answer)

    def BulkUpdateStatus(self, call: rpc.Call, request: pb.BulkUpdateStatusRequest) -> pb.BulkUpdateStatusResponse:
        """Many products on sale or off."""
        plain = codec.to_plain(request)
        items = [(bulk.product_ref(raw), raw["state"]) for raw in plain["items"]]
        outcome = bulk.update_states(self._bulk(call, request, plain), items)
        return _answer(call, pb.BulkUpdateStatusResponse, outcome, outcome.answer)

    def BulkDelete(self, call: rpc.Call, request: pb.BulkDeleteRequest) -> pb.BulkDeleteResponse:
        """Many products gone."""
        plain = codec.to_plain(request)
        outcome = bulk.delete(self._bulk(call, request, plain), [bulk.product_ref(raw) for raw in plain["items"]])
        return _answer(call, pb.BulkDeleteResponse, outcome, outcome.answer)

    def _bulk(self, call: rpc.Call, request: _Request, plain: Document) -> bulk.Bulk:
        return bulk.Bulk(self._store, call.cause, request.shop_id, plain["policy"], request.max_errors)


def _stock_result(row: Document) -> Document:
    problem: Document = next(iter(row.get("problems", ())), {})
    skipped = {"reason": "SKIPPED", "message": "the policy had stopped the call before"}
    told = skipped if row["outcome"] == "skipped" else problem
    return {**row, "ok": row["outcome"] == "updated", **told}


def _answer(call: rpc.Call, kind: type[R], outcome: Outcome, values: Document) -> R:
    if outcome.replayed:
        call.mark_replayed()
    return codec.from_plain(kind, values)
