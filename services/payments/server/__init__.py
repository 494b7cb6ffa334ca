"""The gRPC door of payments: protobuf in and out, the client of orders, and the way to the channel."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from jishi.orders.v1 import orders_pb2
from jishi.payments.v1 import payments_pb2 as pb

from services.chassis import codec, paging, rpc
from services.chassis.errors import Refusal
from services.payments import commands, queries
from services.payments.commands import Attempted
from services.payments.provider import Channel
from services.payments.queries.ledger import balance_at
from services.payments.server.bills import BillCalls
from services.payments.server.ledger import LedgerCalls
from services.payments.server.packets import PacketCalls
from services.payments.server.paying import PayingCalls
from services.payments.server.reconciling import ReconcilingCalls
from services.payments.server.sharing import SharingCalls
from services.payments.server.shops import ShopCalls
from services.payments.server.wallet import WalletCalls
from services.payments.store import COLLECTIONS, Store

REPLY_TYPE: Final = "application/json"


class OrdersOverRpc:
    """Asks orders on behalf of the caller."""

    def __init__(self, stub: rpc.Stub, call: rpc.Call) -> None:
        """Speak for one call."""
        self._stub, self._call = stub, call

    def payable(self, checkout_id: str) -> Mapping[str, Any]:
        """What one payment of the checkout pays for."""
        request = orders_pb2.GetPayableRequest(checkout_id=checkout_id)
        return codec.to_plain(self._stub.call("GetPayable", request, orders_pb2.GetPayableResponse, self._call))


class PaymentsService(
    LedgerCalls,
    PacketCalls,
    SharingCalls,
    ShopCalls,
    BillCalls,
    PayingCalls,
    ReconcilingCalls,
    WalletCalls,
):
    """One method an rpc."""

    def __init__(self, node: rpc.Node) -> None:
        """Open the store, the way to orders and the way to the channel."""
        self._store = Store(node.database)
        self._orders = node.stub("orders")
        self._channel = Channel(node.settings)

    def CreatePayment(self, call: rpc.Call, request: pb.CreatePaymentRequest) -> pb.CreatePaymentResponse:
        """The buyer wants to pay."""
        orders = OrdersOverRpc(self._orders, call)
        asked = codec.to_plain(request)
        if asked["method"] == "micropay":
            attempted = commands.scan(self._store, orders, self._channel, call.cause, queries.whose(call.actor), asked)
        elif call.actor.kind == "buyer":
            create = commands.CREATE.get(asked["method"], commands.create_payment)
            attempted = create(self._store, orders, self._channel, call.cause, call.actor.subject, asked)
        else:
            raise Refusal(
                "PERMISSION_DENIED", "a till scans the buyer's payment code (micropay); all else the buyer opens"
            )
        if attempted.replayed:
            call.mark_replayed()
        if asked["method"] in commands.AT_ONCE:  # paid, or not, while the request ran
            return pb.CreatePaymentResponse(payment=_payment(attempted))
        return pb.CreatePaymentResponse(
            payment=codec.from_plain(pb.Payment, queries.as_opened(attempted.payable, attempted.number))
        )

    def GetPayment(self, call: rpc.Call, request: pb.GetPaymentRequest) -> pb.GetPaymentResponse:
        """One payment."""
        found, number = queries.payment(self._store, queries.whose(call.actor), request.payment_id)
        return pb.GetPaymentResponse(payment=_payment(Attempted(found, number)))

    def QueryPayment(self, call: rpc.Call, request: pb.QueryPaymentRequest) -> pb.QueryPaymentResponse:
        """Have the channel asked."""
        attempted = commands.query_payment(self._store, self._channel, queries.whose(call.actor), request.payment_id)
        return pb.QueryPaymentResponse(payment=_payment(attempted))

    def ReceiveNotification(
        self, _call: rpc.Call, request: pb.ReceiveNotificationRequest
    ) -> pb.ReceiveNotificationResponse:
        """The channel tells something."""
        reply = commands.receive(self._store, self._channel, dict(request.headers), request.body)
        return pb.ReceiveNotificationResponse(status=reply.status, content_type=REPLY_TYPE, body=reply.body)

    def ListRefunds(self, call: rpc.Call, request: pb.ListRefundsRequest) -> pb.ListRefundsResponse:
        """Refunds of a checkout or order."""
        shop_id = call.actor.shop_id if call.actor.kind == "merchant" else None
        found = queries.refunds(self._store, codec.to_plain(request), _buyer(call), shop_id)
        return pb.ListRefundsResponse(
            refunds=[codec.from_plain(pb.Refund, {**row, "refund_id": row["_id"]}) for row in found]
        )

    def GetBalance(self, _call: rpc.Call, request: pb.GetBalanceRequest) -> pb.GetBalanceResponse:
        """A shop's balances."""
        if request.HasField("at"):
            told = balance_at(self._store, request.shop_id, codec.to_plain(request)["at"])
            return pb.GetBalanceResponse(balance=codec.from_plain(pb.Balance, told))
        return pb.GetBalanceResponse(balance=self._balance(request.shop_id))

    def PayDeposit(self, call: rpc.Call, request: pb.PayDepositRequest) -> pb.PayDepositResponse:
        """The merchant tops its deposit up: at the channel, or out of what it has available."""
        if request.from_available:
            row, replayed = commands.move_deposit(self._store, call.cause, request.shop_id, request.amount)
        else:
            row, replayed = commands.open_deposit(
                self._store, self._channel, call.cause, request.shop_id, request.amount
            )
        if replayed:
            call.mark_replayed()
        where = {name: row[name] for name in ("code_url", "cashier_url") if name in row}
        return pb.PayDepositResponse(deposit_id=row["_id"], amount=row["amount"], **where)

    def ListEntries(self, _call: rpc.Call, request: pb.ListEntriesRequest) -> pb.ListEntriesResponse:
        """A page of the journal."""
        filters = {"ref": request.ref}
        after = paging.decode(request.page_token, filters, datetime, str)
        found, rest = queries.entries(self._store, request.ref, after, request.page_size)
        return pb.ListEntriesResponse(
            entries=[codec.from_plain(pb.Entry, entry) for entry in found],
            next_page_token=paging.encode(filters, rest) if rest else "",
        )

    def GetTrialBalance(self, _call: rpc.Call, request: pb.GetTrialBalanceRequest) -> pb.GetTrialBalanceResponse:
        """All of the ledger."""
        rows, balanced = queries.trial_balance(self._store, codec.to_plain(request).get("at"))
        return pb.GetTrialBalanceResponse(rows=[codec.from_plain(pb.TrialRow, row) for row in rows], balanced=balanced)

    def _balance(self, shop_id: str) -> pb.Balance:
        return codec.from_plain(pb.Balance, queries.balance_view(*queries.balance(self._store, shop_id)))


def _buyer(call: rpc.Call) -> str | None:
    """Whose things the caller may see: a buyer its own, staff anybody's."""
    return call.actor.subject if call.actor.kind == "buyer" else None


def _payment(attempted: Attempted) -> pb.Payment:
    return codec.from_plain(pb.Payment, queries.payment_view(attempted.payable, attempted.number))


SERVER: Final = rpc.Service("payments", pb.DESCRIPTOR.services_by_name["PaymentsService"], PaymentsService, COLLECTIONS)
