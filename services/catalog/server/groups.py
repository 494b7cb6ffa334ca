"""The rpcs about groups."""

from typing import TypeVar

from google.protobuf.message import Message
from jishi.catalog.v1 import shelves_pb2 as pb

from services.catalog.commands import groups
from services.catalog.queries import groups as queries
from services.catalog.queries import products, views
from services.catalog.store import Store
from services.chassis import codec, paging, rpc
from services.chassis.commit import Outcome

R = TypeVar("R", bound=Message)


class GroupCalls:
    """Part of CatalogService."""

    _store: Store

    def CreateGroup(self, call: rpc.Call, request: pb.CreateGroupRequest) -> pb.CreateGroupResponse:
        """A new group."""
        outcome = groups.create_group(self._store, call.cause, request.shop_id, request.name, list(request.product_ids))
        return _answer(call, pb.CreateGroupResponse, outcome)

    def ListGroups(self, _call: rpc.Call, request: pb.ListGroupsRequest) -> pb.ListGroupsResponse:
        """The shop's own."""
        filters = {"groups": request.shop_id}
        after = paging.decode(request.page_token, filters, str, int)
        size = products.page_size(request.page_size, products.PAGE, products.PAGE_MOST)
        place = (after[0], after[1]) if after else None
        found, last = queries.groups(self._store, request.shop_id, place, size)
        token = paging.encode(filters, list(last)) if last else ""
        return codec.from_plain(pb.ListGroupsResponse, {"groups": found, "next_page_token": token})

    def GetGroup(self, call: rpc.Call, request: pb.GetGroupRequest) -> pb.GetGroupResponse:
        """One group and its products."""
        group, product_ids = queries.group(self._store, call.caller.shop_id, request.group_id)
        return codec.from_plain(pb.GetGroupResponse, {"group": group, "product_ids": product_ids})

    def ListGroupProducts(self, call: rpc.Call, request: pb.ListGroupProductsRequest) -> pb.ListGroupProductsResponse:
        """Its products with all about them."""
        filters = {"group": request.group_id}
        after = paging.decode(request.page_token, filters, int, str)
        size = products.page_size(request.page_size, products.PAGE, products.PAGE_MOST)
        place = (after[0], after[1]) if after else None
        found, last = queries.members(self._store, call.caller.shop_id, request.group_id, place, size)
        token = paging.encode(filters, list(last)) if last else ""
        return codec.from_plain(pb.ListGroupProductsResponse, {"products": found, "next_page_token": token})

    def UpdateGroup(self, call: rpc.Call, request: pb.UpdateGroupRequest) -> pb.UpdateGroupResponse:
        """Another name."""
        outcome = groups.rename_group(
            self._store, call.cause, call.caller.shop_id, request.group_id, request.name, request.etag
        )
        return _answer(call, pb.UpdateGroupResponse, outcome)

    def DeleteGroup(self, call: rpc.Call, request: pb.DeleteGroupRequest) -> pb.DeleteGroupResponse:
        """Gone."""
        outcome = groups.delete_group(self._store, call.cause, call.caller.shop_id, request.group_id)
        if outcome.replayed:
            call.mark_replayed()
        return codec.from_plain(pb.DeleteGroupResponse, outcome.answer)

    def AddGroupProducts(self, call: rpc.Call, request: pb.AddGroupProductsRequest) -> pb.AddGroupProductsResponse:
        """More members."""
        outcome = groups.change_products(
            self._store, call.cause, request.shop_id, request.group_id, add=list(request.product_ids), remove=[]
        )
        return _answer(call, pb.AddGroupProductsResponse, outcome)

    def RemoveGroupProducts(
        self, call: rpc.Call, request: pb.RemoveGroupProductsRequest
    ) -> pb.RemoveGroupProductsResponse:
        """Fewer members."""
        outcome = groups.change_products(
            self._store, call.cause, request.shop_id, request.group_id, add=[], remove=list(request.product_ids)
        )
        return _answer(call, pb.RemoveGroupProductsResponse, outcome)

    def ChangeGroupProducts(
        self, call: rpc.Call, request: pb.ChangeGroupProductsRequest
    ) -> pb.ChangeGroupProductsResponse:
        """Others."""
        add, remove = list(request.add), list(request.remove)
        outcome = groups.change_products(
            self._store, call.cause, request.shop_id, request.group_id, add=add, remove=remove
        )
        return _answer(call, pb.ChangeGroupProductsResponse, outcome)

    def MoveGroupProducts(self, call: rpc.Call, request: pb.MoveGroupProductsRequest) -> pb.MoveGroupProductsResponse:
        """Another order."""
        outcome = groups.move_products(
            self._store, call.cause, request.shop_id, request.group_id, list(request.product_ids), request.position
        )
        return _answer(call, pb.MoveGroupProductsResponse, outcome)


def _answer(call: rpc.Call, kind: type[R], outcome: Outcome) -> R:
    if outcome.replayed:
        call.mark_replayed()
    return codec.from_plain(kind, {"group": views.group(outcome.document)})
