"""The rpcs about a buyer's addresses."""

from jishi.orders.v1 import addresses_pb2 as pb

from services.chassis import codec, rpc
from services.orders.commands import addresses as commands
from services.orders.queries import addresses as queries
from services.orders.server.calls import answer
from services.orders.store import Store


class AddressCalls:
    """Part of OrdersService."""

    _store: Store

    def CreateAddress(self, call: rpc.Call, request: pb.CreateAddressRequest) -> pb.CreateAddressResponse:
        """One more."""
        address = codec.to_plain(request.address)
        outcome = commands.add(self._store, call.cause, call.actor.subject, address, is_default=request.is_default)
        return codec.from_plain(pb.CreateAddressResponse, answer(call, outcome))

    def ListAddresses(self, call: rpc.Call, _request: pb.ListAddressesRequest) -> pb.ListAddressesResponse:
        """All of them."""
        found = queries.book(self._store, call.actor.subject)
        return codec.from_plain(pb.ListAddressesResponse, {"addresses": found})

    def GetAddress(self, call: rpc.Call, request: pb.GetAddressRequest) -> pb.GetAddressResponse:
        """One."""
        found = queries.one(self._store, call.actor.subject, request.address_id)
        return codec.from_plain(pb.GetAddressResponse, {"address": found})

    def UpdateAddress(self, call: rpc.Call, request: pb.UpdateAddressRequest) -> pb.UpdateAddressResponse:
        """Another text."""
        address = codec.to_plain(request.address)
        outcome = commands.change(
            self._store, call.cause, call.actor.subject, request.address_id, request.etag, address
        )
        return codec.from_plain(pb.UpdateAddressResponse, answer(call, outcome))

    def DeleteAddress(self, call: rpc.Call, request: pb.DeleteAddressRequest) -> pb.DeleteAddressResponse:
        """One less."""
        outcome = commands.delete(self._store, call.cause, call.actor.subject, request.address_id)
        return codec.from_plain(pb.DeleteAddressResponse, answer(call, outcome))

    def SetDefaultAddress(self, call: rpc.Call, request: pb.SetDefaultAddressRequest) -> pb.SetDefaultAddressResponse:
        """The one that is used when nothing else is said."""
        outcome = commands.make_default(self._store, call.cause, call.actor.subject, request.address_id)
        return codec.from_plain(pb.SetDefaultAddressResponse, answer(call, outcome))
