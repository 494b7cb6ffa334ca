"""The rpcs of the wallet."""

from datetime import datetime

from jishi.payments.v1 import wallet_pb2 as pb

from services.chassis import codec, paging, rpc
from services.payments.commands import wallet as commands
from services.payments.provider import Channel
from services.payments.queries import wallet as queries
from services.payments.store import Store
from services.payments.store.wallets import CURRENCY, balance


class WalletCalls:
    """The caller's own wallet."""

    _store: Store
    _channel: Channel

    def GetWallet(self, call: rpc.Call, _request: pb.GetWalletRequest) -> pb.GetWalletResponse:
        """What is in it."""
        return pb.GetWalletResponse(
            wallet=pb.Wallet(balance=balance(self._store, call.actor.subject), currency=CURRENCY)
        )

    def ListWalletMovements(
        self, call: rpc.Call, request: pb.ListWalletMovementsRequest
    ) -> pb.ListWalletMovementsResponse:
        """What came and went."""
        ref = queries.ref(call.actor.subject)
        after = paging.decode(request.page_token, {"ref": ref}, datetime, str)
        found, rest = queries.movements(self._store, call.actor.subject, after, request.page_size)
        return pb.ListWalletMovementsResponse(
            movements=[codec.from_plain(pb.WalletMovement, one) for one in found],
            next_page_token=paging.encode({"ref": ref}, rest) if rest else "",
        )

    def CreateTopUp(self, call: rpc.Call, request: pb.CreateTopUpRequest) -> pb.CreateTopUpResponse:
        """The buyer pays in."""
        method = codec.to_plain(request)["method"]
        row, replayed = commands.create_topup(
            self._store, self._channel, call.cause, call.actor.subject, request.amount, method
        )
        if replayed:
            call.mark_replayed()
        return pb.CreateTopUpResponse(topup=codec.from_plain(pb.TopUp, queries.topup_as_opened(row)))

    def QueryTopUp(self, call: rpc.Call, request: pb.QueryTopUpRequest) -> pb.QueryTopUpResponse:
        """Have the channel asked."""
        row = commands.query_topup(self._store, self._channel, call.actor.subject, request.topup_id)
        return pb.QueryTopUpResponse(topup=codec.from_plain(pb.TopUp, queries.topup_view(row)))
