"""The gRPC side of the catalog: protobuf in and out."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeVar

from google.protobuf.message import Message
from jishi.catalog.v1 import catalog_pb2, imports_pb2, products_pb2, reservations_pb2, shelves_pb2

from services.catalog.commands import imports, products, reservations, shelves
from services.catalog.queries import imports as import_queries
from services.catalog.queries import products as product_queries
from services.catalog.queries import shelves as shelf_queries
from services.catalog.queries import views
from services.catalog.store import COLLECTIONS, SERVICE, Store
from services.catalog.store.fresh import Fresh
from services.chassis import clock, codec, paging, policy, rpc
from services.chassis.commit import Outcome
from services.chassis.errors import invalid
from services.chassis.mongo import Document

R = TypeVar("R", bound=Message)


class CatalogService:
    """One method per rpc; see catalog.proto."""

    def __init__(self, node: rpc.Node) -> None:
        """Public views are read at most once in ``public_view_age`` seconds, whoever asks."""
        self._store = Store(node.database)
        age_s = policy.load(SERVICE).value("public_view_age", clock.business())
        self._shops: Fresh[Document] = Fresh(age_s)
        self._products: Fresh[products_pb2.GetProductResponse] = Fresh(age_s)
        self._shelves: Fresh[shelves_pb2.GetPublicShelfResponse] = Fresh(age_s)
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

    def CancelImport(
        self, call: rpc.Call, request: imports_pb2.CancelImportRequest
    ) -> imports_pb2.CancelImportResponse:
        """Stop it."""
        outcome = imports.cancel_import(self._store, call.cause, call.caller.shop_id, request.import_id)
        return _answer(call, imports_pb2.CancelImportResponse, outcome, views.job(outcome.document))

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

    def BulkUpdateStock(
        self, call: rpc.Call, request: products_pb2.BulkUpdateStockRequest
    ) -> products_pb2.BulkUpdateStockResponse:
        """Many changes of stock at once."""
        items = [products.Delta(item.sku_id, item.delta, item.request_id) for item in request.items]
        outcome = products.bulk_update_stock(self._store, call.cause, request.shop_id, items)
        return _answer(call, products_pb2.BulkUpdateStockResponse, outcome, {"results": outcome.answer})

    def GetProduct(self, call: rpc.Call, request: products_pb2.GetProductRequest) -> products_pb2.GetProductResponse:
        """One product; what everybody sees is read once for many readers."""
        if call.caller.kind == "merchant":
            return self._product(request.product_id, call.caller.shop_id)
        found = self._products.get(request.product_id, lambda: self._product(request.product_id, ""))
        assert found is not None  # noqa: S101 - _product answers or raises
        return found

    def _product(self, product_id: str, shop_id: str) -> products_pb2.GetProductResponse:
        shown = product_queries.product(self._store, product_id, shop_id)
        return codec.from_plain(products_pb2.GetProductResponse, {"product": shown})

    def GetProductVersion(
        self, call: rpc.Call, request: products_pb2.GetProductVersionRequest
    ) -> products_pb2.GetProductVersionResponse:
        """What a buyer saw."""
        shown = product_queries.version(self._store, request.product_id, request.version, call.caller.shop_id)
        return codec.from_plain(products_pb2.GetProductVersionResponse, {"product": shown})

    def ListProducts(
        self, _call: rpc.Call, request: products_pb2.ListProductsRequest
    ) -> products_pb2.ListProductsResponse:
        """The shop's own."""
        wanted = codec.to_plain(request)
        filters = {name: wanted[name] for name in ("shop_id", "state", "category_id")}
        before = paging.decode(request.page_token, filters, str)
        size = product_queries.page_size(request.page_size, product_queries.PAGE, product_queries.PAGE_MOST)
        found, last = product_queries.products(
            self._store, request.shop_id, wanted, before[0] if before else None, size
        )
        token = paging.encode(filters, [last]) if last else ""
        return codec.from_plain(products_pb2.ListProductsResponse, {"products": found, "next_page_token": token})

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
        row = outcome.document
        return {"product": views.product(row, self._store.stock_of([row["_id"]]), own=True)}

    def ListCategories(
        self, _call: rpc.Call, _request: products_pb2.ListCategoriesRequest
    ) -> products_pb2.ListCategoriesResponse:
        """The tree."""
        return codec.from_plain(products_pb2.ListCategoriesResponse, {"categories": product_queries.categories()})

    # -------- groups and shelves

    def CreateGroup(self, call: rpc.Call, request: shelves_pb2.CreateGroupRequest) -> shelves_pb2.CreateGroupResponse:
        """A new group."""
        outcome = shelves.create_group(
            self._store, call.cause, request.shop_id, request.name, list(request.product_ids)
        )
        made = {**outcome.document, "product_ids": set(request.product_ids)}  # as it was made, also when it grew since
        return _answer(call, shelves_pb2.CreateGroupResponse, outcome, {"group": views.group(made)})

    def ListGroups(self, _call: rpc.Call, request: shelves_pb2.ListGroupsRequest) -> shelves_pb2.ListGroupsResponse:
        """All of them."""
        return codec.from_plain(
            shelves_pb2.ListGroupsResponse, {"groups": shelf_queries.groups(self._store, request.shop_id)}
        )

    def AddGroupProducts(
        self, call: rpc.Call, request: shelves_pb2.AddGroupProductsRequest
    ) -> shelves_pb2.AddGroupProductsResponse:
        """More members."""
        outcome = shelves.change_group(
            self._store, call.cause, request.shop_id, request.group_id, add=list(request.product_ids), remove=[]
        )
        group = {**views.group(outcome.document), **outcome.answer}
        return _answer(call, shelves_pb2.AddGroupProductsResponse, outcome, {"group": group})

    def RemoveGroupProducts(
        self, call: rpc.Call, request: shelves_pb2.RemoveGroupProductsRequest
    ) -> shelves_pb2.RemoveGroupProductsResponse:
        """Fewer members."""
        outcome = shelves.change_group(
            self._store, call.cause, request.shop_id, request.group_id, add=[], remove=list(request.product_ids)
        )
        group = {**views.group(outcome.document), **outcome.answer}
        return _answer(call, shelves_pb2.RemoveGroupProductsResponse, outcome, {"group": group})

    def CreateShelf(self, call: rpc.Call, request: shelves_pb2.CreateShelfRequest) -> shelves_pb2.CreateShelfResponse:
        """A new shelf."""
        outcome = shelves.create_shelf(self._store, call.cause, request.shop_id, request.slug, _draft(request))
        made = {
            **outcome.document,
            "draft": _draft(request),
            "published_version": 0,
            "versions": 0,
        }  # whatever it is now
        return _answer(call, shelves_pb2.CreateShelfResponse, outcome, {"shelf": views.shelf(made)})

    def UpdateShelf(self, call: rpc.Call, request: shelves_pb2.UpdateShelfRequest) -> shelves_pb2.UpdateShelfResponse:
        """A new draft."""
        outcome = shelves.update_shelf(self._store, call.cause, request.shop_id, request.shelf_id, _draft(request))
        shelf = views.shelf({**outcome.document, **outcome.answer})
        return _answer(call, shelves_pb2.UpdateShelfResponse, outcome, {"shelf": shelf})

    def ListShelves(self, _call: rpc.Call, request: shelves_pb2.ListShelvesRequest) -> shelves_pb2.ListShelvesResponse:
        """All of them."""
        found = shelf_queries.shelves(self._store, request.shop_id)
        return codec.from_plain(shelves_pb2.ListShelvesResponse, {"shelves": found})

    def PublishShelf(
        self, call: rpc.Call, request: shelves_pb2.PublishShelfRequest
    ) -> shelves_pb2.PublishShelfResponse:
        """The draft, or an old version again."""
        outcome = shelves.publish_shelf(self._store, call.cause, request.shop_id, request.shelf_id, request.version)
        return _answer(call, shelves_pb2.PublishShelfResponse, outcome, {"shelf": views.shelf(outcome.document)})

    def GetPublicShelf(
        self, _call: rpc.Call, request: shelves_pb2.GetPublicShelfRequest
    ) -> shelves_pb2.GetPublicShelfResponse:
        """What everybody sees, read once for many readers."""

        def load() -> shelves_pb2.GetPublicShelfResponse:
            shown = shelf_queries.public_shelf(self._store, request.shop_id, request.slug)
            return codec.from_plain(shelves_pb2.GetPublicShelfResponse, shown)

        found = self._shelves.get((request.shop_id, request.slug), load)
        assert found is not None  # noqa: S101 - load answers or raises
        return found

    def GetPublicNavigation(
        self, _call: rpc.Call, request: shelves_pb2.GetPublicNavigationRequest
    ) -> shelves_pb2.GetPublicNavigationResponse:
        """The shop's categories."""
        return codec.from_plain(
            shelves_pb2.GetPublicNavigationResponse, shelf_queries.navigation(self._store, request.shop_id)
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
        outcome = reservations.reserve(
            self._desk, call.cause, request.checkout_id, request.buyer_id, pay_by, wanted["lines"]
        )
        return _answer(call, reservations_pb2.ReserveStockResponse, outcome, {"lines": outcome.document["lines"]})


def _answer(call: rpc.Call, kind: type[R], outcome: Outcome, values: Mapping[str, Any]) -> R:
    if outcome.replayed:
        call.mark_replayed()
    return codec.from_plain(kind, values)


def _pieces(first: imports_pb2.CreateImportRequest, rest: Iterator[imports_pb2.CreateImportRequest]) -> Iterator[bytes]:
    yield first.chunk
    for request in rest:
        yield request.chunk


def _draft(request: shelves_pb2.CreateShelfRequest | shelves_pb2.UpdateShelfRequest) -> Document:
    plain = codec.to_plain(request)
    return {name: plain[name] for name in ("name", "banner", "modules")}


SERVER: Final = rpc.Service(
    SERVICE, catalog_pb2.DESCRIPTOR.services_by_name["CatalogService"], CatalogService, COLLECTIONS
)
