"""The rpcs about views."""

from jishi.catalog.v1 import views_pb2 as pb

from services.catalog.commands import viewing
from services.catalog.queries import viewing as queries
from services.catalog.store import Store
from services.chassis import codec, rpc


class ViewingCalls:
    """Part of CatalogService."""

    _store: Store

    def ListViewChannels(self, _call: rpc.Call, _request: pb.ListViewChannelsRequest) -> pb.ListViewChannelsResponse:
        """The codes of channels."""
        return codec.from_plain(pb.ListViewChannelsResponse, {"channels": queries.channels()})

    def ListViewDays(self, _call: rpc.Call, request: pb.ListViewDaysRequest) -> pb.ListViewDaysResponse:
        """Who looked at the shop."""
        found = queries.days(self._store, request.shop_id, request.from_day, request.to_day)
        return codec.from_plain(pb.ListViewDaysResponse, {"days": found})

    def ListProductViewDays(
        self, call: rpc.Call, request: pb.ListProductViewDaysRequest
    ) -> pb.ListProductViewDaysResponse:
        """Who looked at one product."""
        shop_id = call.caller.shop_id
        found = queries.product_days(self._store, shop_id, request.product_id, request.from_day, request.to_day)
        return codec.from_plain(pb.ListProductViewDaysResponse, {"days": found})

    def RecordViews(self, call: rpc.Call, request: pb.RecordViewsRequest) -> pb.RecordViewsResponse:
        """A batch of a gateway."""
        said = codec.to_plain(request)
        outcome = viewing.record_views(self._store, call.cause, said.get("begin_time"), said["seen"])
        if outcome.replayed:
            call.mark_replayed()
        return pb.RecordViewsResponse(batch_id=outcome.document["_id"])
