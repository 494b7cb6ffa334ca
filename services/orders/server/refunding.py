"""The rpc by which a merchant gives money back."""

from jishi.orders.v1 import refunding_pb2 as pb

from services.chassis import codec, rpc
from services.orders.commands.refunding import refund_line
from services.orders.server.calls import actor, answer
from services.orders.store import Store


class RefundCalls:
    """Part of OrdersService."""

    _store: Store

    def RefundLine(self, call: rpc.Call, request: pb.RefundLineRequest) -> pb.RefundLineResponse:
        """The merchant gives money back for a line."""
        asked = codec.to_plain(request)
        outcome = refund_line(self._store, call.cause, actor(call), asked)
        return codec.from_plain(pb.RefundLineResponse, answer(call, outcome))
