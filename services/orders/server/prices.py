"""The rpc that quotes."""

from collections.abc import Mapping, Sequence
from typing import Any

from jishi.catalog.v1 import reservations_pb2

from services.chassis import codec, rpc


class PricesOverRpc:
    """Catalog's prices, on behalf of one call."""

    def __init__(self, stub: rpc.Stub, call: rpc.Call) -> None:
        """Speak for one call."""
        self._stub, self._call = stub, call

    def quote(
        self, asked: Mapping[str, Any]
    ) -> tuple[Sequence[Mapping[str, Any]], Mapping[str, Sequence[Mapping[str, Any]]]]:
        """The lines as they would be frozen, and of each shop what carriers would take."""
        request = codec.from_plain(reservations_pb2.QuoteLinesRequest, asked)
        answer = self._stub.call("QuoteLines", request, reservations_pb2.QuoteLinesResponse, self._call)
        told = codec.to_plain(answer)
        return told["lines"], {shop["shop_id"]: shop["carriers"] for shop in told["shops"]}
