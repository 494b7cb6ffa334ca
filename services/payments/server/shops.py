"""The rpcs of the money of shops."""

from datetime import datetime
from functools import partial
from typing import Final

from jishi.payments.v1 import shops_pb2 as pb

from services.chassis import codec, paging, rpc
from services.payments.commands.terms import release_deposit, set_terms
from services.payments.commands.withdrawals import request_withdrawal
from services.payments.queries import shops as queries
from services.payments.store import Store

LAST: Final = (datetime, str)


class ShopCalls:
    """Part of PaymentsService."""

    _store: Store

    def ListFees(self, _call: rpc.Call, _request: pb.ListFeesRequest) -> pb.ListFeesResponse:
        """The fee schedule."""
        return codec.from_plain(pb.ListFeesResponse, {"rules": queries.fee_schedule()})

    def SetShopTerms(self, call: rpc.Call, request: pb.SetShopTermsRequest) -> pb.SetShopTermsResponse:
        """What differs for one shop."""
        outcome = set_terms(self._store, call.cause, codec.to_plain(request))
        if outcome.replayed:
            call.mark_replayed()
        return codec.from_plain(pb.SetShopTermsResponse, {"shop_id": request.shop_id, **outcome.answer})

    def GetDeposit(self, _call: rpc.Call, request: pb.GetDepositRequest) -> pb.GetDepositResponse:
        """A shop's deposit."""
        return codec.from_plain(pb.GetDepositResponse, queries.deposit(self._store, request.shop_id))

    def ReleaseDeposit(self, call: rpc.Call, request: pb.ReleaseDepositRequest) -> pb.ReleaseDepositResponse:
        """Part of it back."""
        answer, replayed = release_deposit(self._store, call.cause, request.shop_id, request.amount)
        if replayed:
            call.mark_replayed()
        return codec.from_plain(pb.ReleaseDepositResponse, answer)

    def RequestWithdrawal(self, call: rpc.Call, request: pb.RequestWithdrawalRequest) -> pb.RequestWithdrawalResponse:
        """To the bank."""
        row, replayed = request_withdrawal(self._store, call.cause, request.shop_id, codec.to_plain(request))
        if replayed:
            call.mark_replayed()
        shown = queries.as_requested(row)
        return pb.RequestWithdrawalResponse(withdrawal=codec.from_plain(pb.Withdrawal, shown))

    def GetWithdrawal(self, _call: rpc.Call, request: pb.GetWithdrawalRequest) -> pb.GetWithdrawalResponse:
        """One of them."""
        found = queries.withdrawal(self._store, request.shop_id, request.withdrawal_id)
        return pb.GetWithdrawalResponse(withdrawal=codec.from_plain(pb.Withdrawal, found))

    def ListWithdrawals(self, _call: rpc.Call, request: pb.ListWithdrawalsRequest) -> pb.ListWithdrawalsResponse:
        """All of a shop's."""
        filters = {"shop_id": request.shop_id}
        after = paging.decode(request.page_token, filters, *LAST)
        found, rest = queries.withdrawals_of(self._store, request.shop_id, after, request.page_size)
        return pb.ListWithdrawalsResponse(
            withdrawals=map(partial(codec.from_plain, pb.Withdrawal), found),
            next_page_token=paging.encode(filters, rest) if rest else "",
        )
