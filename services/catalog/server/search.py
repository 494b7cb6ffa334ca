"""The rpcs of search."""

from jishi.catalog.v1 import search_pb2 as pb

from services.catalog.commands import search as commands
from services.catalog.queries import search as queries
from services.catalog.queries import search_check
from services.catalog.queries.products import page_size
from services.catalog.queries.search import Search
from services.catalog.store import Store
from services.chassis import codec, paging, rpc
from services.chassis.fresh import Fresh


class SearchCalls:
    """Part of CatalogService."""

    _store: Store
    _search: Search
    _found: Fresh[pb.SearchProductsResponse]
    """Answers of a moment ago by what was asked."""

    def SearchProducts(self, _call: rpc.Call, request: pb.SearchProductsRequest) -> pb.SearchProductsResponse:
        """Products by words, category, price, attributes; what many ask is found once in ``public_view_age``."""
        key = request.SerializeToString(deterministic=True)
        found = self._found.get(key, lambda: self._products_found(request))
        assert found is not None  # noqa: S101 - _products_found answers or raises
        return found

    def _products_found(self, request: pb.SearchProductsRequest) -> pb.SearchProductsResponse:
        wanted = codec.to_plain(request)
        filters = {name: value for name, value in wanted.items() if name not in ("page_size", "page_token", "facets")}
        after = paging.decode(request.page_token, filters, int, int)
        size = page_size(request.page_size, *queries.PAGES)
        place = (after[0], bool(after[1])) if after else None
        shown, offset = self._search.page(wanted, place, size)
        token = paging.encode(filters, [offset, int(shown["relaxed"])]) if offset is not None else ""
        return codec.from_plain(pb.SearchProductsResponse, {**shown, "next_page_token": token})

    def SuggestSearches(self, _call: rpc.Call, request: pb.SuggestSearchesRequest) -> pb.SuggestSearchesResponse:
        """How what is typed may go on."""
        most = page_size(request.page_size, *queries.SUGGESTIONS)
        return codec.from_plain(pb.SuggestSearchesResponse, self._search.suggest(request.q, most))

    def RebuildSearch(self, call: rpc.Call, request: pb.RebuildSearchRequest) -> pb.RebuildSearchResponse:
        """Anew."""
        if request.shop_id:
            outcome = commands.rebuild_shop(self._store, call.cause, request.shop_id)
        else:
            outcome = commands.rebuild(self._store, call.cause)
        if outcome.replayed:
            call.mark_replayed()
        told = {"rebuild_id": outcome.document["_id"], "asked_at": outcome.document["at"]}
        return codec.from_plain(pb.RebuildSearchResponse, told)

    def CheckSearch(self, _call: rpc.Call, request: pb.CheckSearchRequest) -> pb.CheckSearchResponse:
        """Whether it holds what is on sale."""
        filters = {"check": request.shop_id}
        after = paging.decode(request.page_token, filters, str)
        size = page_size(request.page_size, *search_check.PAGES)
        found, last = self._search.check(request.shop_id, after[0] if after else None, size)
        token = paging.encode(filters, [last]) if last else ""
        return codec.from_plain(pb.CheckSearchResponse, {"shops": found, "next_page_token": token})

    def GetSearchStatus(self, _call: rpc.Call, _request: pb.GetSearchStatusRequest) -> pb.GetSearchStatusResponse:
        """How far it is."""
        return codec.from_plain(pb.GetSearchStatusResponse, self._search.status())
