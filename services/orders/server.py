"""The gRPC door of orders: protobuf in and out, and the clients of catalog and accounts."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from jishi.accounts.v1 import accounts_pb2
from jishi.catalog.v1 import reservations_pb2
from jishi.orders.v1 import orders_pb2 as pb

from services.chassis import codec, rpc
from services.chassis.commit import Outcome
from services.chassis.mongo import Document
from services.orders import commands, queries
from services.orders.store import COLLECTIONS, Store


class StockOverRpc:
    """Catalog, on behalf of one call."""

    def __init__(self, stub: rpc.Stub, call: rpc.Call) -> None:
        """Speak for one call."""
        self._stub, self._call = stub, call

    def reserve(self, placing: Document) -> Sequence[Mapping[str, Any]]:
        """Hold all lines or none; the frozen lines."""
        values = {**placing, "checkout_id": placing["_id"]}
        request = codec.from_plain(reservations_pb2.ReserveStockRequest, values)
        answer = self._stub.call("ReserveStock", request, reservations_pb2.ReserveStockResponse, self._call)
        return [codec.to_plain(line) for line in answer.lines]


class PartiesOverRpc:
    """Accounts, on behalf of one call."""

    def __init__(self, stub: rpc.Stub, call: rpc.Call) -> None:
        """Speak for one call."""
        self._stub, self._call = stub, call

    def describe(self, buyer_id: str, shop_ids: Sequence[str]) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        """Shops by id, openids by account."""
        request = accounts_pb2.DescribePartiesRequest(buyer_id=buyer_id, shop_ids=shop_ids)
        answer = self._stub.call("DescribeParties", request, accounts_pb2.DescribePartiesResponse, self._call)
        shops = {shop.shop_id: codec.to_plain(shop) for shop in answer.shops}
        return shops, {each.account_id: each.openid for each in answer.openids}


class OrdersService:
    """One method an rpc."""

    def __init__(self, node: rpc.Node) -> None:
        """Open the store and the ways to catalog and accounts."""
        self._store = Store(node.database)
        self._catalog, self._accounts = node.stub("catalog"), node.stub("accounts")

    def PlaceOrder(self, call: rpc.Call, request: pb.PlaceOrderRequest) -> pb.PlaceOrderResponse:
        """A buyer places a checkout."""
        stock, parties = StockOverRpc(self._catalog, call), PartiesOverRpc(self._accounts, call)
        asked = codec.to_plain(request)
        placed = commands.place(self._store, stock, parties, call.cause, call.actor.subject, asked)
        if placed.replayed:
            call.mark_replayed()
        return pb.PlaceOrderResponse(checkout=codec.from_plain(pb.Checkout, queries.as_placed(placed)))

    def GetCheckout(self, call: rpc.Call, request: pb.GetCheckoutRequest) -> pb.GetCheckoutResponse:
        """A checkout as it is now."""
        found = queries.checkout(self._store, actor(call), request.checkout_id)
        return pb.GetCheckoutResponse(checkout=codec.from_plain(pb.Checkout, found))

    def GetOrder(self, call: rpc.Call, request: pb.GetOrderRequest) -> pb.GetOrderResponse:
        """One order."""
        found = queries.order(self._store, actor(call), request.order_id)
        return pb.GetOrderResponse(order=codec.from_plain(pb.Order, found))

    def ListOrders(self, call: rpc.Call, request: pb.ListOrdersRequest) -> pb.ListOrdersResponse:
        """A page of orders."""
        found, token = queries.orders(self._store, actor(call), codec.to_plain(request))
        return pb.ListOrdersResponse(orders=[codec.from_plain(pb.Order, each) for each in found], next_page_token=token)

    def CancelOrder(self, call: rpc.Call, request: pb.CancelOrderRequest) -> pb.CancelOrderResponse:
        """Buyer or merchant ends an order before it is shipped."""
        outcome = commands.cancel(self._store, call.cause, actor(call), request.order_id, request.reason)
        return codec.from_plain(pb.CancelOrderResponse, answer(call, outcome))

    def ShipOrder(self, call: rpc.Call, request: pb.ShipOrderRequest) -> pb.ShipOrderResponse:
        """The merchant sent the goods."""
        parcel = codec.to_plain(request)
        outcome = commands.ship(self._store, call.cause, actor(call), request.order_id, parcel)
        return codec.from_plain(pb.ShipOrderResponse, answer(call, outcome))

    def ConfirmOrder(self, call: rpc.Call, request: pb.ConfirmOrderRequest) -> pb.ConfirmOrderResponse:
        """The buyer has the goods."""
        outcome = commands.confirm(self._store, call.cause, actor(call), request.order_id)
        return codec.from_plain(pb.ConfirmOrderResponse, answer(call, outcome))

    def GetPayable(self, call: rpc.Call, request: pb.GetPayableRequest) -> pb.GetPayableResponse:
        """What one payment pays for."""
        found = queries.payable(self._store, actor(call), request.checkout_id)
        return codec.from_plain(pb.GetPayableResponse, found)


def actor(call: rpc.Call) -> rpc.Caller:
    """Who asks: the person or app, also when a service asks on their behalf; a service that acts for nobody is itself."""
    return call.actor if call.actor.kind != "anyone" else call.caller


def answer(call: rpc.Call, outcome: Outcome) -> Mapping[str, Any]:
    """The remembered answer of a command; says when it was done before."""
    if outcome.replayed:
        call.mark_replayed()
    remembered: Mapping[str, Any] = outcome.answer
    return remembered


SERVER: Final = rpc.Service("orders", pb.DESCRIPTOR.services_by_name["OrdersService"], OrdersService, COLLECTIONS)
