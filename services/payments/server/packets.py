"""The rpcs of red packets."""

from jishi.payments.v1 import packets_pb2 as pb

from services.chassis import codec, rpc
from services.payments.commands.packets import claim, give_packet, send_packet
from services.payments.queries import packets as queries
from services.payments.store import Store


class PacketCalls:
    """Part of PaymentsService."""

    _store: Store

    def SendRedPacket(self, call: rpc.Call, request: pb.SendRedPacketRequest) -> pb.SendRedPacketResponse:
        """Money given away."""
        found, replayed = send_packet(self._store, call.cause, request.shop_id, codec.to_plain(request))
        if replayed:
            call.mark_replayed()
        return pb.SendRedPacketResponse(packet=codec.from_plain(pb.RedPacket, queries.as_sent(found)))

    def GiveRedPacket(self, call: rpc.Call, request: pb.GiveRedPacketRequest) -> pb.GiveRedPacketResponse:
        """A buyer's own."""
        giver = call.actor.subject
        found, replayed = give_packet(self._store, call.cause, giver, codec.to_plain(request))
        if replayed:
            call.mark_replayed()
        return pb.GiveRedPacketResponse(packet=codec.from_plain(pb.RedPacket, queries.as_sent(found, giver)))

    def ClaimRedPacket(self, call: rpc.Call, request: pb.ClaimRedPacketRequest) -> pb.ClaimRedPacketResponse:
        """The caller's part."""
        part, replayed = claim(self._store, call.cause, request.packet_id, call.actor.subject)
        if replayed:
            call.mark_replayed()
        told = {"packet_id": request.packet_id, "amount": part["amount"], "claimed_at": part["claimed_at"]}
        return codec.from_plain(pb.ClaimRedPacketResponse, told)

    def GetRedPacket(self, call: rpc.Call, request: pb.GetRedPacketRequest) -> pb.GetRedPacketResponse:
        """One packet."""
        actor = call.actor
        shop_id = actor.shop_id if actor.kind == "merchant" else None
        buyer_id = actor.subject if actor.kind == "buyer" else None
        found = queries.packet(self._store, request.packet_id, shop_id, buyer_id)
        return pb.GetRedPacketResponse(packet=codec.from_plain(pb.RedPacket, found))
