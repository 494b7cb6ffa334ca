"""The lists of a shop's products: the merchant's own, and what everybody sees."""

from datetime import datetime

from jishi.catalog.v1 import products_pb2 as pb
from jishi.catalog.v1 import shelves_pb2

from services.catalog.queries import products as queries
from services.catalog.queries import storefront
from services.catalog.queries.images import Pictures
from services.catalog.store import Store
from services.chassis import clock, codec, paging, rpc
from services.chassis.fresh import Fresh

MERCHANT = "merchant"
PAGE, PAGE_MOST = 20, 100


class ListCalls:
    """Part of CatalogService."""

    _store: Store
    _pictures: Pictures
    _lists: Fresh[pb.ListProductsResponse]
    _public_lists: Fresh[shelves_pb2.ListPublicProductsResponse]

    def ListProducts(self, _call: rpc.Call, request: pb.ListProductsRequest) -> pb.ListProductsResponse:
        """The shop's own. A page is read once in ``public_view_age`` while its merchant writes nothing: only what buyers take may be missing."""
        if request.external_id or request.merchant_sku:
            found = queries.named(self._store, request.shop_id, codec.to_plain(request))
            return codec.from_plain(pb.ListProductsResponse, {"products": found})
        writes = self._store.own_writes.count(request.shop_id)
        if writes is None:
            return self._page(request)
        key = (request.SerializeToString(deterministic=True), writes, clock.offset_ms())
        found_page = self._lists.get(key, lambda: self._page(request))
        assert found_page is not None  # noqa: S101 - _page answers or raises
        return found_page

    def written(self, call: rpc.Call) -> None:
        """After each write: pages that were kept for its merchant are not shown any more, by any server."""
        if call.caller.kind == MERCHANT and call.caller.shop_id:
            self._store.own_writes.note(call.caller.shop_id)

    def ListPublicProducts(
        self, _call: rpc.Call, request: shelves_pb2.ListPublicProductsRequest
    ) -> shelves_pb2.ListPublicProductsResponse:
        """What a shop has on sale, read once for many readers."""
        asked = (request.shop_id, request.category_id)
        filters = {"on_sale": asked}
        after = paging.decode(request.page_token, filters, str)
        size = queries.page_size(request.page_size, PAGE, PAGE_MOST)
        before = after[0] if after else None

        def load() -> shelves_pb2.ListPublicProductsResponse:
            shown, last = storefront.listed(self._store, asked, before, size, self._pictures)
            token = paging.encode(filters, [last]) if last else ""
            return codec.from_plain(shelves_pb2.ListPublicProductsResponse, {**shown, "next_page_token": token})

        found = self._public_lists.get((asked, size, before), load)
        assert found is not None  # noqa: S101 - load answers or raises
        return found

    def _page(self, request: pb.ListProductsRequest) -> pb.ListProductsResponse:
        wanted = codec.to_plain(request)
        size = queries.page_size(request.page_size, queries.PAGE, queries.PAGE_MOST)
        filters = {name: wanted.get(name) for name in ("shop_id", "state", "category_id", "updated_since")}
        if "updated_since" in wanted:
            after = paging.decode(request.page_token, filters, datetime, list) or [wanted["updated_since"], []]
            found, edge = queries.changed(self._store, request.shop_id, wanted, (after[0], after[1]), size)
            token = paging.encode(filters, list(edge)) if edge else ""
        else:
            before = paging.decode(request.page_token, filters, str)
            found, last = queries.products(self._store, request.shop_id, wanted, before[0] if before else None, size)
            token = paging.encode(filters, [last]) if last else ""
        return codec.from_plain(pb.ListProductsResponse, {"products": found, "next_page_token": token})
