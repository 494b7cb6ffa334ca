"""The gRPC door of disputes: protobuf in and out, and the client of orders."""

from collections.abc import Mapping
from typing import Any, Final

from jishi.disputes.v1 import disputes_pb2 as pb
from jishi.orders.v1 import orders_pb2

from services.chassis import clock, codec, rpc
from services.chassis.commit import Outcome
from services.chassis.mongo import Document
from services.disputes import commands, queries
from services.disputes.store import COLLECTIONS, Store


class OrdersOverRpc:
    """Asks orders on behalf of the caller, so that a buyer can claim only on an order of their own."""

    def __init__(self, stub: rpc.Stub, call: rpc.Call) -> None:
        """Speak for one call."""
        self._stub, self._call = stub, call

    def order(self, order_id: str) -> Mapping[str, Any]:
        """The order as its buyer may see it."""
        request = orders_pb2.GetOrderRequest(order_id=order_id)
        answer = self._stub.call("GetOrder", request, orders_pb2.GetOrderResponse, self._call)
        return codec.to_plain(answer.order)


class DisputesService:
    """One method an rpc."""

    def __init__(self, node: rpc.Node) -> None:
        """Open the store and the way to orders."""
        self._store = Store(node.database)
        self._orders = node.stub("orders")

    def OpenCase(self, call: rpc.Call, request: pb.OpenCaseRequest) -> pb.OpenCaseResponse:
        """A buyer claims money back."""
        orders = OrdersOverRpc(self._orders, call)
        outcome = commands.open_case(
            self._store, orders, call.cause, commands.party(call.actor), codec.to_plain(request)
        )
        return pb.OpenCaseResponse(case=told(call, outcome))

    def GetCase(self, call: rpc.Call, request: pb.GetCaseRequest) -> pb.GetCaseResponse:
        """One case."""
        return pb.GetCaseResponse(
            case=message(call, queries.case(self._store, commands.party(call.actor), request.case_id))
        )

    def ListCases(self, call: rpc.Call, request: pb.ListCasesRequest) -> pb.ListCasesResponse:
        """A page of cases."""
        found, token = queries.cases(self._store, commands.party(call.actor), codec.to_plain(request))
        return pb.ListCasesResponse(cases=[message(call, case) for case in found], next_page_token=token)

    def AcceptCase(self, call: rpc.Call, request: pb.AcceptCaseRequest) -> pb.AcceptCaseResponse:
        """The merchant agrees."""
        outcome = commands.accept(self._store, call.cause, commands.party(call.actor), request.case_id)
        return pb.AcceptCaseResponse(case=told(call, outcome))

    def RefuseCase(self, call: rpc.Call, request: pb.RefuseCaseRequest) -> pb.RefuseCaseResponse:
        """The merchant refuses."""
        evidence = list(request.evidence)
        outcome = commands.refuse(
            self._store, call.cause, commands.party(call.actor), request.case_id, request.reason, evidence
        )
        return pb.RefuseCaseResponse(case=told(call, outcome))

    def EscalateCase(self, call: rpc.Call, request: pb.EscalateCaseRequest) -> pb.EscalateCaseResponse:
        """The buyer asks the platform to step in."""
        outcome = commands.escalate(
            self._store, call.cause, commands.party(call.actor), request.case_id, request.reason
        )
        return pb.EscalateCaseResponse(case=told(call, outcome))

    def WithdrawCase(self, call: rpc.Call, request: pb.WithdrawCaseRequest) -> pb.WithdrawCaseResponse:
        """The buyer takes the claim back."""
        outcome = commands.withdraw(self._store, call.cause, commands.party(call.actor), request.case_id)
        return pb.WithdrawCaseResponse(case=told(call, outcome))

    def RuleCase(self, call: rpc.Call, request: pb.RuleCaseRequest) -> pb.RuleCaseResponse:
        """The platform rules."""
        outcome = commands.rule(
            self._store, call.cause, commands.party(call.actor), request.case_id, codec.to_plain(request)
        )
        return pb.RuleCaseResponse(case=told(call, outcome))

    def ConfirmRuling(self, call: rpc.Call, request: pb.ConfirmRulingRequest) -> pb.ConfirmRulingResponse:
        """A second person confirms."""
        outcome = commands.confirm_ruling(self._store, call.cause, commands.party(call.actor), request.case_id)
        return pb.ConfirmRulingResponse(case=told(call, outcome))

    def RejectRuling(self, call: rpc.Call, request: pb.RejectRulingRequest) -> pb.RejectRulingResponse:
        """A second person disagrees."""
        outcome = commands.reject_ruling(
            self._store, call.cause, commands.party(call.actor), request.case_id, request.reason
        )
        return pb.RejectRulingResponse(case=told(call, outcome))

    def AcceptRuling(self, call: rpc.Call, request: pb.AcceptRulingRequest) -> pb.AcceptRulingResponse:
        """The loser gives up the appeal."""
        outcome = commands.accept_ruling(self._store, call.cause, commands.party(call.actor), request.case_id)
        return pb.AcceptRulingResponse(case=told(call, outcome))


def told(call: rpc.Call, outcome: Outcome) -> pb.Case:
    """The case of an outcome; says when it was done before."""
    if outcome.replayed:
        call.mark_replayed()
    return message(call, outcome.document)


def message(call: rpc.Call, case: Document) -> pb.Case:
    """A stored case as the caller may see it."""
    due = case.get("due_at")
    deadline = clock.moment(due) if due is not None else None
    shown = {**queries.shown(commands.party(call.actor), case), "case_id": case["_id"], "open_time": case["opened_at"]}
    return codec.from_plain(pb.Case, {**shown, "deadline": deadline})


SERVER: Final = rpc.Service("disputes", pb.DESCRIPTOR.services_by_name["DisputesService"], DisputesService, COLLECTIONS)
