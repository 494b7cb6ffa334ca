"""The rpcs about files of a shop's orders."""

from jishi.orders.v1 import exports_pb2 as pb

from services.chassis import codec, rpc
from services.orders import queries
from services.orders.commands import exports
from services.orders.queries import exports as questions
from services.orders.server.calls import actor
from services.orders.store import Store


class ExportCalls:
    """Part of OrdersService."""

    _store: Store

    def CreateOrderExport(self, call: rpc.Call, request: pb.CreateOrderExportRequest) -> pb.CreateOrderExportResponse:
        """A file of the shop's orders."""
        outcome = exports.create_export(self._store, call.cause, actor(call), codec.to_plain(request))
        if outcome.replayed:
            call.mark_replayed()
        queued = {"export_id": outcome.document["_id"], "state": "queued"}
        return codec.from_plain(pb.CreateOrderExportResponse, queued)

    def GetOrderExport(self, call: rpc.Call, request: pb.GetOrderExportRequest) -> pb.GetOrderExportResponse:
        """How far it is."""
        found = questions.job(self._store, actor(call), request.export_id)
        return codec.from_plain(pb.GetOrderExportResponse, {"export": found})

    def ListOrderExports(self, call: rpc.Call, request: pb.ListOrderExportsRequest) -> pb.ListOrderExportsResponse:
        """The shop's exports."""
        size = queries.page_size(request.page_size)
        found, token = questions.jobs(self._store, actor(call), size, request.page_token)
        return codec.from_plain(pb.ListOrderExportsResponse, {"exports": found, "next_page_token": token})

    def DownloadOrderExport(
        self, call: rpc.Call, request: pb.DownloadOrderExportRequest
    ) -> pb.DownloadOrderExportResponse:
        """A piece of its file."""
        found = questions.piece(self._store, actor(call), request.export_id, request.page_token)
        return pb.DownloadOrderExportResponse(**found)
