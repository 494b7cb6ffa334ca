"""The rpcs about prices of unpaid orders."""

from jishi.orders.v1 import pricing_pb2 as pb

from services.chassis import codec, rpc
from services.orders.commands import pricing
from services.orders.server.calls import actor, answer
from services.orders.store import Store


class PricingCalls:
    """Part of OrdersService."""

    _store: Store

    def ChangePrice(self, call: rpc.Call, request: pb.ChangePriceRequest) -> pb.ChangePriceResponse:
        """Another price for an unpaid order."""
        asked = codec.to_plain(request)
        outcome = pricing.change_price(
            self._store, call.cause, actor(call), asked["order_id"], asked.get("goods_amount"), asked.get("freight")
        )
        return codec.from_plain(pb.ChangePriceResponse, answer(call, outcome))

    def MergeShipping(self, call: rpc.Call, request: pb.MergeShippingRequest) -> pb.MergeShippingResponse:
        """Unpaid orders that travel together."""
        orders, replayed = pricing.merge_shipping(self._store, call.cause, actor(call), list(request.order_ids))
        if replayed:
            call.mark_replayed()
        return codec.from_plain(pb.MergeShippingResponse, {"orders": orders})
