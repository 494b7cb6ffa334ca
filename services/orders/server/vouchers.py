"""The rpcs about vouchers."""

from jishi.orders.v1 import vouchers_pb2 as pb

from services.chassis import codec, rpc
from services.chassis.codes import Codes
from services.orders.commands import vouchers as commands
from services.orders.queries import vouchers as queries
from services.orders.server.calls import actor, answer
from services.orders.store import Store


class VoucherCalls:
    """Part of OrdersService."""

    _store: Store
    _codes: Codes

    def ListVouchers(self, call: rpc.Call, request: pb.ListVouchersRequest) -> pb.ListVouchersResponse:
        """The vouchers of an order."""
        found = queries.vouchers(self._store, self._codes, actor(call), request.order_id)
        return codec.from_plain(pb.ListVouchersResponse, found)

    def GetVoucher(self, call: rpc.Call, request: pb.GetVoucherRequest) -> pb.GetVoucherResponse:
        """One of them, to be shown."""
        found = queries.voucher(self._store, self._codes, actor(call), request.order_id, request.voucher)
        return codec.from_plain(pb.GetVoucherResponse, found)

    def RedeemVoucher(self, call: rpc.Call, request: pb.RedeemVoucherRequest) -> pb.RedeemVoucherResponse:
        """The shop scans one."""
        outcome = commands.redeem(self._store, self._codes, call.cause, actor(call), request.code, request.redeemed_by)
        return codec.from_plain(pb.RedeemVoucherResponse, answer(call, outcome))

    def ReverseRedemption(self, call: rpc.Call, request: pb.ReverseRedemptionRequest) -> pb.ReverseRedemptionResponse:
        """The shop takes it back."""
        outcome = commands.reverse(self._store, self._codes, call.cause, actor(call), request.code)
        return codec.from_plain(pb.ReverseRedemptionResponse, answer(call, outcome))
