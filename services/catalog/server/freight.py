"""The rpcs about regions, freight templates and quotes."""

from typing import TypeVar

from google.protobuf.message import Message
from jishi.catalog.v1 import freight_pb2 as pb

from services.catalog.commands import freight
from services.catalog.queries import freight as queries
from services.catalog.queries import products, views
from services.catalog.store import Store
from services.chassis import codec, paging, rpc
from services.chassis.commit import Outcome
from services.chassis.mongo import Document
from services.chassis.regions import Place

R = TypeVar("R", bound=Message)


class FreightCalls:
    """Part of CatalogService."""

    _store: Store

    def ListRegions(self, _call: rpc.Call, _request: pb.ListRegionsRequest) -> pb.ListRegionsResponse:
        """Provinces and cities."""
        return codec.from_plain(pb.ListRegionsResponse, queries.region_list())

    def CreateFreightTemplate(
        self, call: rpc.Call, request: pb.CreateFreightTemplateRequest
    ) -> pb.CreateFreightTemplateResponse:
        """A new template."""
        outcome = freight.create_template(self._store, call.cause, request.shop_id, codec.to_plain(request))
        shown = {"template": views.template(outcome.document)}
        return _answer(call, pb.CreateFreightTemplateResponse, outcome, shown)

    def GetFreightTemplate(
        self, call: rpc.Call, request: pb.GetFreightTemplateRequest
    ) -> pb.GetFreightTemplateResponse:
        """One template."""
        shown = queries.template(self._store, call.caller.shop_id, request.template_id)
        return codec.from_plain(pb.GetFreightTemplateResponse, {"template": shown})

    def ListFreightTemplates(
        self, _call: rpc.Call, request: pb.ListFreightTemplatesRequest
    ) -> pb.ListFreightTemplatesResponse:
        """The shop's own."""
        filters = {"freight_templates": request.shop_id}
        before = paging.decode(request.page_token, filters, str)
        size = products.page_size(request.page_size, products.PAGE, products.PAGE_MOST)
        found, last = queries.templates(self._store, request.shop_id, before[0] if before else None, size)
        token = paging.encode(filters, [last]) if last else ""
        return codec.from_plain(pb.ListFreightTemplatesResponse, {"templates": found, "next_page_token": token})

    def UpdateFreightTemplate(
        self, call: rpc.Call, request: pb.UpdateFreightTemplateRequest
    ) -> pb.UpdateFreightTemplateResponse:
        """Other rules."""
        said = codec.to_plain(request)
        outcome = freight.update_template(
            self._store, call.cause, call.caller.shop_id, request.template_id, request.etag, said
        )
        shown = {"template": views.template(outcome.document)}
        return _answer(call, pb.UpdateFreightTemplateResponse, outcome, shown)

    def DeleteFreightTemplate(
        self, call: rpc.Call, request: pb.DeleteFreightTemplateRequest
    ) -> pb.DeleteFreightTemplateResponse:
        """Gone."""
        outcome = freight.delete_template(
            self._store, call.cause, call.caller.shop_id, request.template_id, request.etag
        )
        return _answer(call, pb.DeleteFreightTemplateResponse, outcome, {})

    def QuoteFreight(self, _call: rpc.Call, request: pb.QuoteFreightRequest) -> pb.QuoteFreightResponse:
        """What it costs to get there."""
        lines = codec.to_plain(request)["lines"]
        place = Place(request.destination.province, request.destination.city)
        return codec.from_plain(pb.QuoteFreightResponse, {"shops": queries.quote(self._store, lines, place)})


def _answer(call: rpc.Call, kind: type[R], outcome: Outcome, values: Document) -> R:
    if outcome.replayed:
        call.mark_replayed()
    return codec.from_plain(kind, values)
