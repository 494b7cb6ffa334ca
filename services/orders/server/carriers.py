"""The carriers' door."""

import json

from jishi.orders.v1 import carriers_pb2 as pb

from services.chassis import codec, rpc
from services.chassis.errors import invalid
from services.orders.commands import carriers as commands
from services.orders.server.calls import answer
from services.orders.store import Store


class CarrierCalls:
    """Part of OrdersService."""

    _store: Store

    def ReceiveCarrierEvents(
        self, _call: rpc.Call, request: pb.ReceiveCarrierEventsRequest
    ) -> pb.ReceiveCarrierEventsResponse:
        """A carrier tells of parcels."""
        cause = commands.verified(self._store, request.carrier, dict(request.headers), request.body)
        told, _ = commands.told(self._store, cause, request.carrier, _parcels(request.body))
        return pb.ReceiveCarrierEventsResponse(
            status=200, content_type="application/json", body=json.dumps(told, ensure_ascii=False).encode()
        )

    def SetCarrierSecret(self, call: rpc.Call, request: pb.SetCarrierSecretRequest) -> pb.SetCarrierSecretResponse:
        """An admin opens the door to a carrier."""
        told, replayed = commands.set_secret(self._store, call.cause, request.carrier, request.secret)
        if replayed:
            call.mark_replayed()
        return codec.from_plain(pb.SetCarrierSecretResponse, told)

    def CloseCarrierDoor(self, call: rpc.Call, request: pb.CloseCarrierDoorRequest) -> pb.CloseCarrierDoorResponse:
        """An admin closes it."""
        outcome = commands.close_door(self._store, call.cause, request.carrier)
        return codec.from_plain(pb.CloseCarrierDoorResponse, answer(call, outcome))


def _parcels(body: bytes) -> list[dict[str, object]]:
    """What a message says. Raises Refusal INVALID_ARGUMENT naming every wrong field."""
    try:
        values = json.loads(body)
    except ValueError as error:
        raise invalid("body", 'must be JSON: {"parcels": [{"track_no": …, "events": […]}]}') from error
    if not isinstance(values, dict):
        raise invalid("body", "must be a JSON object with parcels")
    parcels: list[dict[str, object]] = codec.to_plain(codec.from_json(pb.CarrierMessage, values))["parcels"]
    return parcels
