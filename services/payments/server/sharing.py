"""The rpcs of profit sharing."""

from jishi.payments.v1 import sharing_pb2 as pb

from services.chassis import codec, rpc
from services.payments.commands import sharing as commands
from services.payments.queries import sharing as queries
from services.payments.store import Store


class SharingCalls:
    """Part of PaymentsService."""

    _store: Store

    def MarkSharing(self, call: rpc.Call, request: pb.MarkSharingRequest) -> pb.MarkSharingResponse:
        """An order whose profit will be shared."""
        told, replayed = commands.mark(self._store, call.cause, codec.to_plain(request))
        if replayed:
            call.mark_replayed()
        return pb.MarkSharingResponse(sharing=codec.from_plain(pb.Sharing, told))

    def GetSharing(self, _call: rpc.Call, request: pb.GetSharingRequest) -> pb.GetSharingResponse:
        """What is frozen and what was shared."""
        found = queries.of_order(self._store, request.shop_id, request.order_id)
        return pb.GetSharingResponse(sharing=codec.from_plain(pb.Sharing, found))

    def ShareProfit(self, call: rpc.Call, request: pb.ShareProfitRequest) -> pb.ShareProfitResponse:
        """Parts for other shops."""
        found, replayed = commands.share_profit(self._store, call.cause, codec.to_plain(request))
        if replayed:
            call.mark_replayed()
        told = queries.after_sharing(found, request.out_order_no)
        return pb.ShareProfitResponse(sharing=codec.from_plain(pb.Sharing, told))

    def UnfreezeSharing(self, call: rpc.Call, request: pb.UnfreezeSharingRequest) -> pb.UnfreezeSharingResponse:
        """The rest is the shop's."""
        if commands.unfreeze(self._store, call.cause, request.shop_id, request.order_id):
            call.mark_replayed()
        found = queries.of_order(self._store, request.shop_id, request.order_id)
        return pb.UnfreezeSharingResponse(sharing=codec.from_plain(pb.Sharing, found))

    def ReturnShare(self, call: rpc.Call, request: pb.ReturnShareRequest) -> pb.ReturnShareResponse:
        """A receiver gives back."""
        if commands.return_share(self._store, call.cause, codec.to_plain(request)):
            call.mark_replayed()
        return pb.ReturnShareResponse(out_return_no=request.out_return_no, amount=request.amount)
