"""The gRPC side of accounts: protobuf in and out."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, TypeVar

from google.protobuf.message import Message
from jishi.accounts.v1 import accounts_pb2 as pb
from jishi.accounts.v1 import people_pb2, shops_pb2

from services.accounts import queries
from services.accounts.commands import credentials, merchants, people, sandbox, tokens
from services.accounts.commands.credentials import Given, House
from services.accounts.store import COLLECTIONS, Store
from services.accounts.store.installation import bootstrap_secret, installation_key
from services.chassis import clock, codec, mongo, paging, presence, rpc
from services.chassis.commit import Outcome
from services.chassis.errors import Refusal
from services.chassis.settings import SERVICES

R = TypeVar("R", bound=Message)
QUIET_WITHIN_S: Final = 30.0
"""How long an advance of the clock waits for the stack to come to rest, where the caller's deadline allows it."""
ANSWER_TAKES_S: Final = 0.5


class AccountsService:
    """One method per rpc; see accounts.proto."""

    def __init__(self, node: rpc.Node) -> None:
        """Read the installation's key, made on first use."""
        settings = node.settings
        self._settings = settings
        shared = mongo.database(node.client, settings, "jishi")
        store = Store(node.database, node.client, shared)
        self._store = store
        self._key = installation_key(settings)
        self._house = House(store, node.signer, self._key, settings.sandbox)

    # ------------------------------------------------------------------------------------------------ credentials and tokens

    def BootstrapAdmin(self, call: rpc.Call, request: pb.BootstrapAdminRequest) -> pb.BootstrapAdminResponse:
        """The first admin."""
        known = bootstrap_secret(self._settings)
        staff_id, given = tokens.bootstrap_admin(self._house, call.cause, known, request.secret, request.name)
        return _with_token(call, pb.BootstrapAdminResponse, given, {"staff_id": staff_id})

    def IssueToken(self, call: rpc.Call, request: pb.IssueTokenRequest) -> pb.IssueTokenResponse:
        """Credentials → token."""
        given = tokens.issue(self._house, call.cause, **codec.to_plain(request))
        if given.replayed:
            call.mark_replayed()
        values: dict[str, Any] = {
            "access_token": given.text,
            "token_type": "Bearer",
            "expires_in": given.lifetime_s,
            "scope": " ".join(given.scopes) if request.scope else None,
        }
        return codec.from_plain(pb.IssueTokenResponse, values)

    def RevokeToken(self, call: rpc.Call, request: pb.RevokeTokenRequest) -> pb.RevokeTokenResponse:
        """One token, or all of a subject."""
        outcome = tokens.revoke(self._house, call.cause, call.caller, request.token_id, request.subject)
        return _answer(call, pb.RevokeTokenResponse, outcome, {"revocation_id": outcome.document["_id"]})

    # ------------------------------------------------------------------------------------------------ accounts and shops

    def RegisterAccount(
        self, call: rpc.Call, request: shops_pb2.RegisterAccountRequest
    ) -> shops_pb2.RegisterAccountResponse:
        """A new official account."""
        outcome, secret = merchants.register_account(self._house, call.cause, codec.to_plain(request))
        account = outcome.document
        values = {"account_id": account["_id"], "appid": account["appid"], "secret": secret}
        return _answer(call, shops_pb2.RegisterAccountResponse, outcome, values)

    def GetAccount(self, _call: rpc.Call, request: shops_pb2.GetAccountRequest) -> shops_pb2.GetAccountResponse:
        """One official account; the pipeline has checked whose."""
        account = queries.with_id(queries.account(self._store, request.account_id), "account_id")
        return codec.from_plain(shops_pb2.GetAccountResponse, {"account": account})

    def UpdateAccount(self, call: rpc.Call, request: shops_pb2.UpdateAccountRequest) -> shops_pb2.UpdateAccountResponse:
        """Verification, payment, warm-up, name."""
        wanted = codec.to_plain(request)
        outcome = merchants.update_account(self._house, call.cause, wanted.pop("account_id"), wanted)
        account = queries.with_id({**outcome.document, **(outcome.answer or {})}, "account_id")
        return _answer(call, shops_pb2.UpdateAccountResponse, outcome, {"account": account})

    def ApplyForShop(self, call: rpc.Call, request: shops_pb2.ApplyForShopRequest) -> shops_pb2.ApplyForShopResponse:
        """An application for the account's one shop."""
        values = codec.to_plain(request)
        outcome = merchants.apply_for_shop(self._house, call.cause, call.caller.account_id, values)
        applied = {**outcome.document, "state": "applied", "reason": ""}  # whatever became of it since
        return _shop(call, shops_pb2.ApplyForShopResponse, replace(outcome, document=applied))

    def ApproveShop(self, call: rpc.Call, request: shops_pb2.ApproveShopRequest) -> shops_pb2.ApproveShopResponse:
        """Applied → open."""
        outcome = merchants.step_shop(self._house, call.cause, request.shop_id, "approve")
        return _shop(call, shops_pb2.ApproveShopResponse, outcome)

    def RejectShop(self, call: rpc.Call, request: shops_pb2.RejectShopRequest) -> shops_pb2.RejectShopResponse:
        """Applied → rejected."""
        outcome = merchants.step_shop(self._house, call.cause, request.shop_id, "reject", request.reason)
        return _shop(call, shops_pb2.RejectShopResponse, outcome)

    def SuspendShop(self, call: rpc.Call, request: shops_pb2.SuspendShopRequest) -> shops_pb2.SuspendShopResponse:
        """Open → suspended."""
        outcome = merchants.step_shop(self._house, call.cause, request.shop_id, "suspend", request.reason)
        return _shop(call, shops_pb2.SuspendShopResponse, outcome)

    def ReopenShop(self, call: rpc.Call, request: shops_pb2.ReopenShopRequest) -> shops_pb2.ReopenShopResponse:
        """Suspended → open."""
        outcome = merchants.step_shop(self._house, call.cause, request.shop_id, "reopen")
        return _shop(call, shops_pb2.ReopenShopResponse, outcome)

    def CloseShop(self, call: rpc.Call, request: shops_pb2.CloseShopRequest) -> shops_pb2.CloseShopResponse:
        """Open or suspended → closed."""
        outcome = merchants.step_shop(self._house, call.cause, request.shop_id, "close", request.reason)
        return _shop(call, shops_pb2.CloseShopResponse, outcome)

    def GetShop(self, call: rpc.Call, request: shops_pb2.GetShopRequest) -> shops_pb2.GetShopResponse:
        """A shop's public card."""
        shop = queries.shop(self._store, call.caller, request.shop_id)
        return codec.from_plain(shops_pb2.GetShopResponse, {"shop": queries.with_id(shop, "shop_id")})

    def ListShops(self, _call: rpc.Call, request: shops_pb2.ListShopsRequest) -> shops_pb2.ListShopsResponse:
        """A page of shops."""
        values = codec.to_plain(request)
        filters = {"state": values["state"]} if values["state"] else {}
        after = paging.decode(request.page_token, filters, datetime, str)
        shops, last = queries.shops_page(self._store, filters, after, request.page_size)
        return codec.from_plain(
            shops_pb2.ListShopsResponse,
            {
                "shops": [queries.with_id(shop, "shop_id") for shop in shops],
                "next_page_token": paging.encode(filters, last) if last else "",
            },
        )

    # ------------------------------------------------------------------------------------------------ staff, apps, buyers

    def CreateStaff(self, call: rpc.Call, request: people_pb2.CreateStaffRequest) -> people_pb2.CreateStaffResponse:
        """A member of the platform's staff."""
        values = codec.to_plain(request)
        staff_id, given = people.create_staff(self._house, call.cause, values["role"], values["name"])
        return _with_token(call, people_pb2.CreateStaffResponse, given, {"staff_id": staff_id})

    def DismissStaff(self, call: rpc.Call, request: people_pb2.DismissStaffRequest) -> people_pb2.DismissStaffResponse:
        """The end of a member's service."""
        outcome = people.dismiss_staff(self._house, call.cause, request.staff_id)
        return _answer(call, people_pb2.DismissStaffResponse, outcome, {})

    def RegisterApp(self, call: rpc.Call, request: people_pb2.RegisterAppRequest) -> people_pb2.RegisterAppResponse:
        """A developer's app."""
        outcome, secret = people.register_app(self._house, call.cause, request.name, list(request.scopes))
        values = {"client_id": outcome.document["_id"], "client_secret": secret}
        return _answer(call, people_pb2.RegisterAppResponse, outcome, values)

    def GrantApp(self, call: rpc.Call, request: people_pb2.GrantAppRequest) -> people_pb2.GrantAppResponse:
        """An app installed on the merchant's shop."""
        scopes = list(request.scopes)
        outcome = people.grant_app(self._house, call.cause, request.shop_id, request.client_id, scopes)
        return _answer(call, people_pb2.GrantAppResponse, outcome, {"grant": {**outcome.document, "active": True}})

    def RevokeGrant(self, call: rpc.Call, request: people_pb2.RevokeGrantRequest) -> people_pb2.RevokeGrantResponse:
        """An app taken off the merchant's shop."""
        outcome = people.revoke_grant(self._house, call.cause, request.shop_id, request.client_id)
        return _answer(call, people_pb2.RevokeGrantResponse, outcome, {"grant": {**outcome.document, "active": False}})

    def ListGrants(self, _call: rpc.Call, request: people_pb2.ListGrantsRequest) -> people_pb2.ListGrantsResponse:
        """The apps of the merchant's shop; the pipeline has checked whose."""
        return codec.from_plain(people_pb2.ListGrantsResponse, {"grants": self._store.grants_of(request.shop_id)})

    def ResolveOpenid(self, call: rpc.Call, request: pb.ResolveOpenidRequest) -> pb.ResolveOpenidResponse:
        """The openid of the buyer who asks, or for whom broadcast asks."""
        if call.actor.kind != "buyer":
            raise Refusal("PERMISSION_DENIED", "only buyers have openids")
        queries.account(self._store, request.account_id)
        found = queries.openids(self._key, call.actor.subject, [request.account_id])
        return codec.from_plain(pb.ResolveOpenidResponse, found[0])

    def DescribeParties(self, _call: rpc.Call, request: pb.DescribePartiesRequest) -> pb.DescribePartiesResponse:
        """Shops and openids, for other services."""
        found = queries.describe_parties(
            self._store, self._key, request.buyer_id, request.shop_ids, request.account_ids
        )
        return codec.from_plain(pb.DescribePartiesResponse, found)

    # ------------------------------------------------------------------------------------------------ the sandbox

    def SandboxBuyer(self, call: rpc.Call, request: pb.SandboxBuyerRequest) -> pb.SandboxBuyerResponse:
        """A buyer out of nothing."""
        user_id, given = people.sandbox_buyer(self._house, call.cause, request.name)
        known = queries.openids(self._key, user_id, request.account_ids)
        return _with_token(call, pb.SandboxBuyerResponse, given, {"user_id": user_id, "openids": known})

    def GetClock(self, _call: rpc.Call, _request: pb.GetClockRequest) -> pb.GetClockResponse:
        """The business clock as persisted."""
        offset = clock.read_offset(self._store.shared)
        return codec.from_plain(pb.GetClockResponse, _clock(offset))

    def AdvanceClock(self, call: rpc.Call, request: pb.AdvanceClockRequest) -> pb.AdvanceClockResponse:
        """Move the business clock, wait until all have seen it and come to rest."""
        values = codec.to_plain(request)
        offset, replayed = sandbox.advance_clock(self._store, call.cause, values["seconds"], values.get("until"))
        if replayed:
            call.mark_replayed()
        clock.see(offset)
        busy = self._settle(offset, min(QUIET_WITHIN_S, call.remaining() - ANSWER_TAKES_S))
        return codec.from_plain(pb.AdvanceClockResponse, {**_clock(offset), "quiet": not busy, "busy": busy})

    def _settle(self, offset: int, patience_s: float) -> list[str]:
        """Wait until every process has seen the clock and come to rest; answers what has not after ``patience_s``."""
        until, shared = clock.monotonic() + patience_s, self._store.shared
        late = presence.wait_seen(shared, offset, patience_s)
        if late:
            return late
        wanted = presence.expected(SERVICES, self._store.services_with_jobs())
        return presence.wait_quiet(shared, wanted, max(0.0, until - clock.monotonic()), offset)


def _clock(offset: int) -> dict[str, Any]:
    return {"now": clock.moment(clock.wall_ms() + offset), "offset_ms": offset}


def _answer(call: rpc.Call, kind: type[R], outcome: Outcome, values: Mapping[str, Any]) -> R:
    if outcome.replayed:
        call.mark_replayed()
    return codec.from_plain(kind, values)


def _shop(call: rpc.Call, kind: type[R], outcome: Outcome) -> R:
    shop = {**outcome.document, **(outcome.answer or {})}
    return _answer(call, kind, outcome, {"shop": queries.with_id(shop, "shop_id")})


def _with_token(call: rpc.Call, kind: type[R], given: Given, values: Mapping[str, Any]) -> R:
    if given.replayed:
        call.mark_replayed()
    return codec.from_plain(kind, {**values, **credentials.answer_of(given)})


SERVER = rpc.Service("accounts", pb.DESCRIPTOR.services_by_name["AccountsService"], AccountsService, COLLECTIONS)
