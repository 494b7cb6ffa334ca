"""The gRPC door of orders: protobuf in and out, and the clients of catalog and accounts."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from jishi.accounts.v1 import accounts_pb2
from jishi.catalog.v1 import reservations_pb2
from jishi.orders.v1 import lifecycle_pb2
from jishi.orders.v1 import orders_pb2 as pb

from services.chassis import codec, rpc
from services.chassis.codes import Codes
from services.chassis.mongo import Document
from services.orders import commands, queries
from services.orders.queries import quoting
from services.orders.server.addresses import AddressCalls
from services.orders.server.calls import actor, answer
from services.orders.server.carriers import CarrierCalls
from services.orders.server.desk import DeskCalls
from services.orders.server.exports import ExportCalls
from services.orders.server.parcels import ParcelCalls
from services.orders.server.prices import PricesOverRpc
from services.orders.server.pricing import PricingCalls
from services.orders.server.refunding import RefundCalls
from services.orders.server.vouchers import VoucherCalls
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


class OrdersService(
    DeskCalls, ParcelCalls, CarrierCalls, ExportCalls, PricingCalls, VoucherCalls, AddressCalls, RefundCalls
):
    """One method an rpc."""

    def __init__(self, node: rpc.Node) -> None:
        """Open the store and the ways to catalog and accounts."""
        self._store = Store(node.database)
        self._catalog, self._accounts = node.stub("catalog"), node.stub("accounts")
        self._sandbox = node.settings.sandbox
        self._codes = Codes(node.settings, "orders", "JV1")

    def PlaceOrder(self, call: rpc.Call, request: pb.PlaceOrderRequest) -> pb.PlaceOrderResponse:
        """A buyer places a checkout."""
        stock, parties = StockOverRpc(self._catalog, call), PartiesOverRpc(self._accounts, call)
        asked = codec.to_plain(request)
        placed = commands.place(self._store, stock, parties, call.cause, call.actor.subject, asked)
        if placed.replayed:
            call.mark_replayed()
        return pb.PlaceOrderResponse(checkout=codec.from_plain(pb.Checkout, queries.as_placed(placed)))

    def Quote(self, call: rpc.Call, request: pb.QuoteRequest) -> pb.QuoteResponse:
        """What an order would cost now."""
        prices, parties = PricesOverRpc(self._catalog, call), PartiesOverRpc(self._accounts, call)
        found = quoting.quote_for(self._store, prices, parties, call.actor.subject, codec.to_plain(request))
        return codec.from_plain(pb.QuoteResponse, found)

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
        asked = codec.to_plain(request)
        outcome = commands.cancel(
            self._store, call.cause, actor(call), request.order_id, asked["reason"], asked["reason_code"]
        )
        return codec.from_plain(pb.CancelOrderResponse, answer(call, outcome))

    def ConfirmOrder(self, call: rpc.Call, request: pb.ConfirmOrderRequest) -> pb.ConfirmOrderResponse:
        """The buyer has the goods."""
        outcome = commands.confirm(self._store, call.cause, actor(call), request.order_id)
        return codec.from_plain(pb.ConfirmOrderResponse, answer(call, outcome))

    def ExtendConfirmation(
        self, call: rpc.Call, request: lifecycle_pb2.ExtendConfirmationRequest
    ) -> lifecycle_pb2.ExtendConfirmationResponse:
        """The buyer takes more time."""
        outcome = commands.extend(self._store, call.cause, actor(call), request.order_id)
        return codec.from_plain(lifecycle_pb2.ExtendConfirmationResponse, answer(call, outcome))

    def GetPayable(self, call: rpc.Call, request: pb.GetPayableRequest) -> pb.GetPayableResponse:
        """What one payment pays for."""
        found = queries.payable(self._store, actor(call), request.checkout_id)
        return codec.from_plain(pb.GetPayableResponse, found)


SERVER: Final = rpc.Service("orders", pb.DESCRIPTOR.services_by_name["OrdersService"], OrdersService, COLLECTIONS)
