"""The rpcs of a merchant's desk."""

from jishi.orders.v1 import desk_pb2 as pb
from jishi.orders.v1 import orders_pb2

from services.chassis import codec, rpc
from services.orders import queries
from services.orders.queries import counting, timeline
from services.orders.server.calls import actor
from services.orders.store import Store


class DeskCalls:
    """Part of OrdersService."""

    _store: Store

    def CountOrders(self, call: rpc.Call, request: pb.CountOrdersRequest) -> pb.CountOrdersResponse:
        """How many orders are in which state."""
        return codec.from_plain(pb.CountOrdersResponse, counting.counts(self._store, actor(call), request.shop_id))

    def ListOrderTimeline(
        self, call: rpc.Call, request: orders_pb2.ListOrderTimelineRequest
    ) -> orders_pb2.ListOrderTimelineResponse:
        """Who did what, when, by which event."""
        size = queries.page_size(request.page_size)
        found, token = timeline.page(self._store, actor(call), request.order_id, size, request.page_token)
        return codec.from_plain(orders_pb2.ListOrderTimelineResponse, {"entries": found, "next_page_token": token})
