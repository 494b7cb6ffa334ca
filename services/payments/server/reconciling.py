"""The rpcs of reconciliation."""

from jishi.payments.v1 import reconciling_pb2 as pb

from services.chassis import codec, paging, rpc
from services.payments.commands import reconciling as commands
from services.payments.queries import reconciling as queries
from services.payments.store import Store


class ReconcilingCalls:
    """The ledger against the channel's bill."""

    _store: Store

    def Reconcile(self, call: rpc.Call, request: pb.ReconcileRequest) -> pb.ReconcileResponse:
        """Run a day now."""
        told, replayed = commands.reconcile(self._store, call.cause, request.date)
        if replayed:
            call.mark_replayed()
        return pb.ReconcileResponse(reconciliation=codec.from_plain(pb.Reconciliation, told))

    def GetReconciliation(self, _call: rpc.Call, request: pb.GetReconciliationRequest) -> pb.GetReconciliationResponse:
        """A day's report."""
        filters = {"date": request.date}
        place = paging.decode(request.page_token, filters, str)
        told, rows, rest = queries.reconciliation(
            self._store, request.date, place[0] if place else "", request.page_size
        )
        return pb.GetReconciliationResponse(
            reconciliation=codec.from_plain(pb.Reconciliation, told),
            differences=[codec.from_plain(pb.Difference, row) for row in rows],
            next_page_token=paging.encode(filters, [rest]) if rest else "",
        )

    def ResolveDifference(self, call: rpc.Call, request: pb.ResolveDifferenceRequest) -> pb.ResolveDifferenceResponse:
        """A person's word on one difference."""
        found, replayed = commands.resolve(self._store, call.cause, codec.to_plain(request))
        if replayed:
            call.mark_replayed()
        return pb.ResolveDifferenceResponse(difference=codec.from_plain(pb.Difference, queries.difference_view(found)))
