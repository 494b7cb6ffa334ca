"""The rpcs about parcels and where they are."""

from jishi.orders.v1 import lifecycle_pb2 as pb
from jishi.orders.v1 import orders_pb2

from services.chassis import codec, rpc
from services.orders import commands
from services.orders.queries import tracking as queries
from services.orders.server.calls import actor, answer
from services.orders.store import Store


class ParcelCalls:
    """Part of OrdersService."""

    _store: Store
    _sandbox: bool

    def ShipOrder(self, call: rpc.Call, request: orders_pb2.ShipOrderRequest) -> orders_pb2.ShipOrderResponse:
        """The merchant sent some or all of the goods."""
        parcel = codec.to_plain(request)
        outcome = commands.ship(self._store, call.cause, actor(call), request.order_id, parcel, sandbox=self._sandbox)
        return codec.from_plain(orders_pb2.ShipOrderResponse, answer(call, outcome))

    def CorrectParcel(self, call: rpc.Call, request: pb.CorrectParcelRequest) -> pb.CorrectParcelResponse:
        """Another number for a parcel."""
        asked = codec.to_plain(request)
        outcome = commands.correct(self._store, call.cause, actor(call), request.order_id, asked, sandbox=self._sandbox)
        return codec.from_plain(pb.CorrectParcelResponse, answer(call, outcome))

    def GetTracking(self, call: rpc.Call, request: pb.GetTrackingRequest) -> pb.GetTrackingResponse:
        """Where the parcels are."""
        found = queries.tracking(self._store, actor(call), request.order_id)
        return codec.from_plain(pb.GetTrackingResponse, found)

    def ReportTracking(self, call: rpc.Call, request: pb.ReportTrackingRequest) -> pb.ReportTrackingResponse:
        """The mock carrier tells."""
        outcome = commands.track(self._store, call.cause, actor(call), codec.to_plain(request))
        return codec.from_plain(pb.ReportTrackingResponse, answer(call, outcome))
