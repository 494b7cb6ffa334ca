"""The rpcs that read the ledger."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from jishi.payments.v1 import ledger_pb2 as pb

from services.chassis import codec, paging, rpc
from services.payments.queries import ledger as queries
from services.payments.store import Store

CSV_TYPE: Final = "text/csv; charset=utf-8"


class LedgerCalls:
    """Part of PaymentsService."""

    _store: Store

    def VerifyLedger(self, _call: rpc.Call, request: pb.VerifyLedgerRequest) -> pb.VerifyLedgerResponse:
        """Blocks against the journal."""
        return codec.from_plain(pb.VerifyLedgerResponse, queries.verification(self._store, codec.to_plain(request)))

    def ListStatement(self, _call: rpc.Call, request: pb.ListStatementRequest) -> pb.ListStatementResponse:
        """What moved on a shop's accounts."""
        asked, after = _asked(request)
        told, rest = queries.statement(self._store, asked, after, request.page_size)
        token = paging.encode(_filters(request), rest) if rest else ""
        return codec.from_plain(pb.ListStatementResponse, {**told, "next_page_token": token})

    def DownloadStatement(self, _call: rpc.Call, request: pb.DownloadStatementRequest) -> pb.DownloadStatementResponse:
        """The same as CSV."""
        asked, after = _asked(request)
        data, name, rest = queries.statement_piece(self._store, asked, after)
        return pb.DownloadStatementResponse(
            data=data,
            next_page_token=paging.encode(_filters(request), rest) if rest else "",
            content_type=CSV_TYPE,
            file_name=name,
        )


Asking = pb.ListStatementRequest | pb.DownloadStatementRequest


def _asked(request: Asking) -> tuple[Mapping[str, Any], list[Any] | None]:
    after = paging.decode(request.page_token, _filters(request), datetime, str)
    return codec.to_plain(request), after


def _filters(request: Asking) -> dict[str, Any]:
    asked = codec.to_plain(request)
    return {name: asked.get(name) for name in ("shop_id", "from_time", "to_time")}
