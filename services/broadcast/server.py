"""The gRPC door of broadcast: protobuf in and out, and the client of accounts."""

from typing import Final

from jishi.accounts.v1 import accounts_pb2
from jishi.broadcast.v1 import broadcast_pb2 as pb

from services.broadcast import queries
from services.broadcast.commands import following, sending
from services.broadcast.queries.inbox import inbox
from services.broadcast.store import COLLECTIONS, Store
from services.chassis import codec, rpc
from services.chassis.commit import Outcome
from services.chassis.errors import Refusal
from services.chassis.mongo import Document


class BroadcastService:
    """One method an rpc."""

    def __init__(self, node: rpc.Node) -> None:
        """Open the store and the way to accounts."""
        self._store = Store(node.database)
        self._accounts = node.stub("accounts")

    def BulkFollow(self, call: rpc.Call, request: pb.BulkFollowRequest) -> pb.BulkFollowResponse:
        """Followers arrive."""
        answer, replayed = following.bulk_follow(
            self._store, call.cause, account(call, request.account_id), list(request.openids), request.source
        )
        _mark(call, replayed=replayed)
        return codec.from_plain(pb.BulkFollowResponse, answer)

    def BulkUnfollow(self, call: rpc.Call, request: pb.BulkUnfollowRequest) -> pb.BulkUnfollowResponse:
        """Followers leave or mute."""
        answer, replayed = following.bulk_unfollow(
            self._store, call.cause, account(call, request.account_id), list(request.openids), mute=request.mute
        )
        _mark(call, replayed=replayed)
        return codec.from_plain(pb.BulkUnfollowResponse, answer)

    def BulkUnmute(self, call: rpc.Call, request: pb.BulkUnmuteRequest) -> pb.BulkUnmuteResponse:
        """Muted followers get broadcasts again."""
        answer, replayed = following.bulk_unmute(
            self._store, call.cause, account(call, request.account_id), list(request.openids)
        )
        _mark(call, replayed=replayed)
        return codec.from_plain(pb.BulkUnmuteResponse, answer)

    def ListFollowers(self, call: rpc.Call, request: pb.ListFollowersRequest) -> pb.ListFollowersResponse:
        """A page of followers."""
        size = queries.page_size(request.page_size)
        rows, token = queries.followers(self._store, account(call, request.account_id), size, request.page_token)
        followers = [
            codec.from_plain(pb.Follower, {**row, "tag_ids": row["tags"], "follow_time": row["followed_at"]})
            for row in rows
        ]
        return pb.ListFollowersResponse(followers=followers, next_page_token=token)

    def CreateTag(self, call: rpc.Call, request: pb.CreateTagRequest) -> pb.CreateTagResponse:
        """A new tag."""
        outcome = following.create_tag(self._store, call.cause, account(call, request.account_id), request.name)
        _mark(call, replayed=outcome.replayed)
        made = {**outcome.document, "count": 0}  # as it was made, whoever carries it now
        return pb.CreateTagResponse(tag=codec.from_plain(pb.Tag, made))

    def ListTags(self, call: rpc.Call, request: pb.ListTagsRequest) -> pb.ListTagsResponse:
        """All tags."""
        found = self._store.tags_of(account(call, request.account_id))
        return pb.ListTagsResponse(tags=[codec.from_plain(pb.Tag, tag) for tag in found])

    def AssignTag(self, call: rpc.Call, request: pb.AssignTagRequest) -> pb.AssignTagResponse:
        """Tag followers."""
        answer, replayed = following.assign_tag(
            self._store, call.cause, account(call, request.account_id), request.tag_id, list(request.openids)
        )
        _mark(call, replayed=replayed)
        return codec.from_plain(pb.AssignTagResponse, answer)

    def SendBroadcast(self, call: rpc.Call, request: pb.SendBroadcastRequest) -> pb.SendBroadcastResponse:
        """Admit and send."""
        outcome = sending.send(self._store, call.cause, account(call, request.account_id), codec.to_plain(request))
        return pb.SendBroadcastResponse(broadcast=_told(call, outcome))

    def GetBroadcast(self, call: rpc.Call, request: pb.GetBroadcastRequest) -> pb.GetBroadcastResponse:
        """One broadcast."""
        found = queries.job(self._store, account(call, request.account_id), request.job_id)
        return pb.GetBroadcastResponse(broadcast=_message(found))

    def ListBroadcasts(self, call: rpc.Call, request: pb.ListBroadcastsRequest) -> pb.ListBroadcastsResponse:
        """A page of broadcasts."""
        size = queries.page_size(request.page_size)
        found, token = queries.jobs(self._store, account(call, request.account_id), size, request.page_token)
        return pb.ListBroadcastsResponse(broadcasts=[_message(job) for job in found], next_page_token=token)

    def ListDeliveries(self, call: rpc.Call, request: pb.ListDeliveriesRequest) -> pb.ListDeliveriesResponse:
        """Who got it, who did not, and why."""
        asked = codec.to_plain(request)
        openids, total, token = queries.deliveries(self._store, account(call, request.account_id), asked)
        return pb.ListDeliveriesResponse(openids=openids, total=total, next_page_token=token)

    def GetQuota(self, call: rpc.Call, request: pb.GetQuotaRequest) -> pb.GetQuotaResponse:
        """What is left, and a forecast."""
        found = queries.quota(self._store, account(call, request.account_id), request.tag_id)
        return codec.from_plain(pb.GetQuotaResponse, found)

    def ListInbox(self, call: rpc.Call, request: pb.ListInboxRequest) -> pb.ListInboxResponse:
        """A page of a buyer's messages from one account."""
        openid = self._own_openid(call, request)
        size = queries.page_size(request.page_size)
        found, token = inbox(self._store, request.account_id, openid, size, request.page_token)
        messages = [codec.from_plain(pb.InboxMessage, message) for message in found]
        return pb.ListInboxResponse(messages=messages, next_page_token=token)

    def _own_openid(self, call: rpc.Call, request: pb.ListInboxRequest) -> str:
        asked = accounts_pb2.ResolveOpenidRequest(account_id=request.account_id)
        own = self._accounts.call("ResolveOpenid", asked, accounts_pb2.ResolveOpenidResponse, call).openid
        if request.openid and request.openid != own:
            raise Refusal("PERMISSION_DENIED", "this openid is not yours", info={"field": "openid"})
        return str(own)


def account(call: rpc.Call, account_id: str) -> str:
    """The official account that a merchant's token speaks for (the pipeline has filled it in). Raises Refusal."""
    if not account_id:
        raise Refusal("PERMISSION_DENIED", f"the token of {call.actor.subject} speaks for no official account")
    return account_id


def _mark(call: rpc.Call, *, replayed: bool) -> None:
    if replayed:
        call.mark_replayed()


def _told(call: rpc.Call, outcome: Outcome) -> pb.Broadcast:
    """The broadcast as it was admitted, whatever became of it: a repeated command answers the same."""
    _mark(call, replayed=outcome.replayed)
    return _message(queries.as_admitted(outcome.document))


def _message(job: Document) -> pb.Broadcast:
    times = {"create_time": job["admitted_at"], "finish_time": job.get("finished_at")}
    return codec.from_plain(pb.Broadcast, {**job, "job_id": job["_id"], **times})


SERVER: Final = rpc.Service(
    "broadcast", pb.DESCRIPTOR.services_by_name["BroadcastService"], BroadcastService, COLLECTIONS
)
