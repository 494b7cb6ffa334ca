"""The gRPC side of the catalog: protobuf in and out."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeVar

from google.protobuf.message import Message
from jishi.catalog.v1 import (
    catalog_pb2,
    exports_pb2,
    imports_pb2,
    products_pb2,
    reservations_pb2,
    search_pb2,
    shelves_pb2,
)

from services.catalog.commands import exports, imports, products, reservations
from services.catalog.queries import exports as export_queries
from services.catalog.queries import imports as import_queries
from services.catalog.queries import products as product_queries
from services.catalog.queries import storefront, views
from services.catalog.queries.images import Pictures
from services.catalog.queries.search import Search, keeper
from services.catalog.server.bulk import BulkCalls
from services.catalog.server.categories import CategoryCalls
from services.catalog.server.freight import FreightCalls
from services.catalog.server.groups import GroupCalls
from services.catalog.server.images import ImageCalls
from services.catalog.server.lists import ListCalls
from services.catalog.server.search import SearchCalls
from services.catalog.server.shelves import ShelfCalls
from services.catalog.server.viewing import ViewingCalls
from services.catalog.server.windows import WindowCalls
from services.catalog.store import COLLECTIONS, SERVICE, Store
from services.chassis import blobs, clock, codec, paging, policy, rpc
from services.chassis.commit import Outcome
from services.chassis.errors import invalid
from services.chassis.fresh import Fresh
from services.chassis.links import Links
from services.chassis.mongo import Document
from services.chassis.regions import Place

R = TypeVar("R", bound=Message)


class CatalogService(
    CategoryCalls,
    BulkCalls,
    FreightCalls,
    GroupCalls,
    ImageCalls,
    ListCalls,
    SearchCalls,
    ShelfCalls,
    ViewingCalls,
    WindowCalls,
):
    """One method per rpc; see catalog.proto."""

    def __init__(self, node: rpc.Node) -> None:
        """Public views are read at most once in ``public_view_age`` seconds, whoever asks."""
        self._store, self._base_url = Store(node.database), node.settings.base_url
        self._blobs = blobs.blobs(node.settings, node.database)
        self._shown = {}
        age_s = policy.load(SERVICE).value("public_view_age", clock.business())
        self._shops: Fresh[Document] = Fresh(age_s)
        self._lists: Fresh[products_pb2.ListProductsResponse] = Fresh(age_s)
        self._products: Fresh[products_pb2.GetProductResponse] = Fresh(age_s)
        self._public_lists: Fresh[shelves_pb2.ListPublicProductsResponse] = Fresh(age_s)
        self._shelves: Fresh[shelves_pb2.GetPublicShelfResponse] = Fresh(age_s)
        self._shelf_products: Fresh[shelves_pb2.ListPublicShelfProductsResponse] = Fresh(age_s)
        self._links = Links(node.settings, SERVICE)
        self._found: Fresh[search_pb2.SearchProductsResponse] = Fresh(age_s)
        self._pictures = Pictures(self._base_url, self._shops)
        self._search = Search(self._store, node.settings.data_dir, self._pictures)
        self._desk = reservations.Desk(self._store, self._shops)

    # -------- product files

    def CreateImport(
        self, call: rpc.Call, requests: Iterator[imports_pb2.CreateImportRequest]
    ) -> imports_pb2.CreateImportResponse:
        """A file, in pieces."""
        first = next(requests, None)
        if first is None:
            raise invalid("file", "send the product file as the multipart part `file`")
        options = imports.Options(
            shop_id=first.shop_id,
            format=first.format,
            policy=codec.to_plain(first)["policy"],
            max_errors=first.max_errors,
            dry_run=first.dry_run,
            file_name=first.filename,
            fetch_images=first.fetch_images,
        )
        outcome = imports.create_import(self._store, call.cause, options, _pieces(first, requests))
        queued = views.job({**outcome.document, "state": "queued"})  # as it was, also when a repetition asks
        return _answer(call, imports_pb2.CreateImportResponse, outcome, queued)

    def GetImport(self, call: rpc.Call, request: imports_pb2.GetImportRequest) -> imports_pb2.GetImportResponse:
        """How far it is."""
        return codec.from_plain(
            imports_pb2.GetImportResponse, import_queries.job(self._store, call.caller.shop_id, request.import_id)
        )

    def ListImports(self, _call: rpc.Call, request: imports_pb2.ListImportsRequest) -> imports_pb2.ListImportsResponse:
        """The shop's imports."""
        before = paging.decode(request.page_token, {"shop": request.shop_id}, str)
        size = product_queries.page_size(request.page_size, product_queries.PAGE, product_queries.PAGE_MOST)
        found, last = import_queries.jobs(self._store, request.shop_id, before[0] if before else None, size)
        token = paging.encode({"shop": request.shop_id}, [last]) if last else ""
        return codec.from_plain(imports_pb2.ListImportsResponse, {"imports": found, "next_page_token": token})

    def ListImportResults(
        self, call: rpc.Call, request: imports_pb2.ListImportResultsRequest
    ) -> imports_pb2.ListImportResultsResponse:
        """What became of each product."""
        outcome = codec.to_plain(request)["outcome"]
        filters = {"import": request.import_id, "outcome": outcome}
        after = paging.decode(request.page_token, filters, int, int)
        size = product_queries.page_size(request.page_size, 200, 1000)
        place = (after[0], after[1]) if after else None
        found, last = import_queries.results(self._store, call.caller.shop_id, request.import_id, outcome, place, size)
        token = paging.encode(filters, list(last)) if last else ""
        return codec.from_plain(imports_pb2.ListImportResultsResponse, {"results": found, "next_page_token": token})

    def DownloadImportResults(
        self, call: rpc.Call, request: imports_pb2.DownloadImportResultsRequest
    ) -> imports_pb2.DownloadImportResultsResponse:
        """The same as a file."""
        outcome = codec.to_plain(request)["outcome"]
        filters = {"file": request.import_id, "outcome": outcome}
        after = paging.decode(request.page_token, filters, int, int)
        place = (after[0], after[1]) if after else None
        data, last = import_queries.results_csv(self._store, call.caller.shop_id, request.import_id, outcome, place)
        return imports_pb2.DownloadImportResultsResponse(
            data=data,
            next_page_token=paging.encode(filters, list(last)) if last else "",
            content_type="text/csv; charset=utf-8",
            file_name=f"{request.import_id}-results.csv",
        )

    def CancelImport(
        self, call: rpc.Call, request: imports_pb2.CancelImportRequest
    ) -> imports_pb2.CancelImportResponse:
        """Stop it."""
        outcome = imports.cancel_import(self._store, call.cause, call.caller.shop_id, request.import_id)
        return _answer(call, imports_pb2.CancelImportResponse, outcome, views.job(outcome.document))

    def RetryImport(self, call: rpc.Call, request: imports_pb2.RetryImportRequest) -> imports_pb2.RetryImportResponse:
        """The failed ones again."""
        outcome = imports.retry_import(self._store, call.cause, call.caller.shop_id, request.import_id)
        queued = views.job({**outcome.document, "state": "queued"})
        return _answer(call, imports_pb2.RetryImportResponse, outcome, queued)

    def UndoImport(self, call: rpc.Call, request: imports_pb2.UndoImportRequest) -> imports_pb2.UndoImportResponse:
        """Put it back."""
        outcome = imports.undo_import(self._store, call.cause, call.caller.shop_id, request.import_id)
        queued = views.job({**outcome.document, "state": "queued"})
        return _answer(call, imports_pb2.UndoImportResponse, outcome, queued)

    def CreateExport(
        self, call: rpc.Call, request: exports_pb2.CreateExportRequest
    ) -> exports_pb2.CreateExportResponse:
        """A file of the catalog."""
        state = codec.to_plain(request)["product_state"]
        outcome = exports.create_export(self._store, call.cause, request.shop_id, request.format, state)
        queued = {**views.export(outcome.document), "state": "queued"}
        return _answer(call, exports_pb2.CreateExportResponse, outcome, queued)

    def GetExport(self, call: rpc.Call, request: exports_pb2.GetExportRequest) -> exports_pb2.GetExportResponse:
        """How far it is."""
        shown = export_queries.job(self._store, call.caller.shop_id, request.export_id)
        return codec.from_plain(exports_pb2.GetExportResponse, {"export": shown})

    def ListExports(self, _call: rpc.Call, request: exports_pb2.ListExportsRequest) -> exports_pb2.ListExportsResponse:
        """The shop's exports."""
        before = paging.decode(request.page_token, {"exports": request.shop_id}, str)
        size = product_queries.page_size(request.page_size, product_queries.PAGE, product_queries.PAGE_MOST)
        found, last = export_queries.jobs(self._store, request.shop_id, before[0] if before else None, size)
        token = paging.encode({"exports": request.shop_id}, [last]) if last else ""
        return codec.from_plain(exports_pb2.ListExportsResponse, {"exports": found, "next_page_token": token})

    def DownloadExport(
        self, call: rpc.Call, request: exports_pb2.DownloadExportRequest
    ) -> exports_pb2.DownloadExportResponse:
        """A piece of its file."""
        filters = {"export": request.export_id}
        place = paging.decode(request.page_token, filters, int)
        data, last, told = export_queries.piece(
            self._store, call.caller.shop_id, request.export_id, place[0] if place else 0
        )
        return exports_pb2.DownloadExportResponse(
            data=data,
            next_page_token=paging.encode(filters, [last]) if last else "",
            content_type=told["content_type"],
            file_name=told["file_name"],
        )

    # -------- products and stock

    def BulkUpsertProducts(
        self, call: rpc.Call, request: products_pb2.BulkUpsertProductsRequest
    ) -> products_pb2.BulkUpsertProductsResponse:
        """Many products at once."""
        wanted = codec.to_plain(request)
        outcome = products.bulk_upsert(
            self._store, call.cause, request.shop_id, wanted["items"], wanted["policy"], request.max_errors
        )
        return _answer(call, products_pb2.BulkUpsertProductsResponse, outcome, outcome.document)

    def GetProduct(self, call: rpc.Call, request: products_pb2.GetProductRequest) -> products_pb2.GetProductResponse:
        """One product; what everybody sees is read once for many readers."""
        if call.caller.kind == "merchant":
            return self._product(request.product_id, call.caller.shop_id)
        found = self._products.get(request.product_id, lambda: self._product(request.product_id, ""))
        assert found is not None  # noqa: S101 - _product answers or raises
        return found

    def _product(self, product_id: str, shop_id: str) -> products_pb2.GetProductResponse:
        shown = product_queries.product(self._store, product_id, shop_id, self._pictures)
        return codec.from_plain(products_pb2.GetProductResponse, {"product": shown})

    def GetProductVersion(
        self, call: rpc.Call, request: products_pb2.GetProductVersionRequest
    ) -> products_pb2.GetProductVersionResponse:
        """What a buyer saw."""
        caller = call.caller
        judges = caller.kind in ("admin", "arbitrator")
        shown = product_queries.version(
            self._store, request.product_id, request.version, caller.shop_id, any_shop=judges
        )
        return codec.from_plain(products_pb2.GetProductVersionResponse, {"product": shown})

    def PutProductOnSale(
        self, call: rpc.Call, request: products_pb2.PutProductOnSaleRequest
    ) -> products_pb2.PutProductOnSaleResponse:
        """上架."""
        outcome = products.put_on_sale(self._store, call.cause, call.caller.shop_id, request.product_id)
        return _answer(call, products_pb2.PutProductOnSaleResponse, outcome, self._own(outcome))

    def TakeProductOffSale(
        self, call: rpc.Call, request: products_pb2.TakeProductOffSaleRequest
    ) -> products_pb2.TakeProductOffSaleResponse:
        """下架."""
        outcome = products.take_off_sale(self._store, call.cause, call.caller.shop_id, request.product_id)
        return _answer(call, products_pb2.TakeProductOffSaleResponse, outcome, self._own(outcome))

    def _own(self, outcome: Outcome) -> Document:
        return {"product": product_queries.own(self._store, outcome.document)}

    # -------- navigation

    def GetPublicNavigation(
        self, _call: rpc.Call, request: shelves_pb2.GetPublicNavigationRequest
    ) -> shelves_pb2.GetPublicNavigationResponse:
        """The shop's categories."""
        return codec.from_plain(
            shelves_pb2.GetPublicNavigationResponse, storefront.navigation(self._store, request.shop_id)
        )

    # -------- reservations

    def ReserveStock(
        self, call: rpc.Call, request: reservations_pb2.ReserveStockRequest
    ) -> reservations_pb2.ReserveStockResponse:
        """All lines or none."""
        wanted = codec.to_plain(request)
        pay_by = wanted.get("pay_by")
        if pay_by is None:
            raise invalid("pay_by", "say until when the checkout may be paid")
        place = Place(request.destination.province, request.destination.city)
        carriage = reservations.Carriage(place, wanted["carriers"])
        outcome = reservations.reserve(
            self._desk, call.cause, request.checkout_id, request.buyer_id, pay_by, wanted["lines"], carriage
        )
        return _answer(call, reservations_pb2.ReserveStockResponse, outcome, {"lines": outcome.document["lines"]})

    def QuoteLines(
        self, _call: rpc.Call, request: reservations_pb2.QuoteLinesRequest
    ) -> reservations_pb2.QuoteLinesResponse:
        """What reserving would freeze."""
        wanted = codec.to_plain(request)
        place = Place(request.destination.province, request.destination.city)
        carriage = reservations.Carriage(place, wanted["carriers"])
        lines, shops = reservations.quote(self._desk, wanted["lines"], carriage)
        return codec.from_plain(reservations_pb2.QuoteLinesResponse, {"lines": lines, "shops": shops})


def _answer(call: rpc.Call, kind: type[R], outcome: Outcome, values: Mapping[str, Any]) -> R:
    if outcome.replayed:
        call.mark_replayed()
    return codec.from_plain(kind, values)


def _pieces(first: imports_pb2.CreateImportRequest, rest: Iterator[imports_pb2.CreateImportRequest]) -> Iterator[bytes]:
    yield first.chunk
    for request in rest:
        yield request.chunk


def _keeper(node: rpc.Node) -> rpc.Beside:
    return keeper(Store(node.database), node.settings.data_dir)


SERVER: Final = rpc.Service(
    SERVICE, catalog_pb2.DESCRIPTOR.services_by_name["CatalogService"], CatalogService, COLLECTIONS, beside=_keeper
)
