"""The rpcs of the category tree."""

from jishi.catalog.v1 import categories_pb2 as pb
from jishi.catalog.v1 import products_pb2

from services.catalog.commands import categories as commands
from services.catalog.queries import categories as queries
from services.catalog.queries.products import page_size
from services.catalog.store import Store
from services.chassis import codec, paging, rpc
from services.chassis.commit import Outcome
from services.chassis.mongo import Document

_LATEST = 2**53


class CategoryCalls:
    """Part of CatalogService."""

    _store: Store
    _shown: dict[tuple[int, bool], dict[int, products_pb2.Category]]
    """Messages of the categories, made once for each revision of the tree, with and without attributes."""

    def ListCategories(
        self, _call: rpc.Call, request: products_pb2.ListCategoriesRequest
    ) -> products_pb2.ListCategoriesResponse:
        """The tree, page by page."""
        attributes = request.with_attributes
        filters = {"parent": request.parent_id, "attributes": attributes}
        after = paging.decode(request.page_token, filters, int)
        tree = self._store.tree()
        size = page_size(request.page_size, 200, 1000)
        found, last = queries.page(tree, request.parent_id, after[0] if after else 0, size)
        shown = self._shown.setdefault((tree.revision, attributes), {})
        for each in found:
            if each.id not in shown:
                plain = queries.category(each, attributes=attributes)
                shown[each.id] = codec.from_plain(products_pb2.Category, plain)
        for old in [key for key in list(self._shown) if key[0] < tree.revision]:
            self._shown.pop(old, None)
        token = paging.encode(filters, [last]) if last else ""
        return products_pb2.ListCategoriesResponse(categories=[shown[each.id] for each in found], next_page_token=token)

    def GetCategory(self, _call: rpc.Call, request: pb.GetCategoryRequest) -> pb.GetCategoryResponse:
        """One of them."""
        found = queries.one(self._store.tree(), request.category_id)
        return codec.from_plain(pb.GetCategoryResponse, {"category": found})

    def ListSubcategories(self, _call: rpc.Call, request: pb.ListSubcategoriesRequest) -> pb.ListSubcategoriesResponse:
        """What stands below one."""
        found = queries.children(self._store.tree(), request.category_id)
        return codec.from_plain(pb.ListSubcategoriesResponse, {"categories": found})

    def ListCategorySkuAttributes(
        self, _call: rpc.Call, request: pb.ListCategorySkuAttributesRequest
    ) -> pb.ListCategorySkuAttributesResponse:
        """规格."""
        found = queries.sku_attributes(self._store.tree(), request.category_id)
        return codec.from_plain(pb.ListCategorySkuAttributesResponse, {"sku_attributes": found})

    def ListCategoryProperties(
        self, _call: rpc.Call, request: pb.ListCategoryPropertiesRequest
    ) -> pb.ListCategoryPropertiesResponse:
        """属性."""
        found = queries.properties(self._store.tree(), request.category_id)
        return codec.from_plain(pb.ListCategoryPropertiesResponse, {"properties": found})

    def CreateCategory(self, call: rpc.Call, request: pb.CreateCategoryRequest) -> pb.CreateCategoryResponse:
        """A new one."""
        outcome = commands.create(
            self._store,
            call.cause,
            call.caller.identity,
            request.parent_id,
            commands.wanted(codec.to_plain(request)),
            request.reason,
            leaf=request.leaf,
        )
        return codec.from_plain(pb.CreateCategoryResponse, _edited(call, outcome))

    def UpdateCategory(self, call: rpc.Call, request: pb.UpdateCategoryRequest) -> pb.UpdateCategoryResponse:
        """Another name, other attributes."""
        outcome = commands.change(
            self._store,
            call.cause,
            call.caller.identity,
            request.category_id,
            commands.wanted(codec.to_plain(request)),
            request.etag,
            request.reason,
        )
        return codec.from_plain(pb.UpdateCategoryResponse, _edited(call, outcome))

    def RetireCategory(self, call: rpc.Call, request: pb.RetireCategoryRequest) -> pb.RetireCategoryResponse:
        """No new products."""
        return codec.from_plain(pb.RetireCategoryResponse, self._retired(call, request, retired=True))

    def RestoreCategory(self, call: rpc.Call, request: pb.RestoreCategoryRequest) -> pb.RestoreCategoryResponse:
        """New products again."""
        return codec.from_plain(pb.RestoreCategoryResponse, self._retired(call, request, retired=False))

    def _retired(
        self, call: rpc.Call, request: pb.RetireCategoryRequest | pb.RestoreCategoryRequest, *, retired: bool
    ) -> Document:
        actor = call.caller.identity
        outcome = commands.retire(self._store, call.cause, actor, request.category_id, request.reason, retired=retired)
        return _edited(call, outcome)

    def ListCategoryChanges(
        self, _call: rpc.Call, request: pb.ListCategoryChangesRequest
    ) -> pb.ListCategoryChangesResponse:
        """Who, when and why."""
        filters = {"category": request.category_id}
        before = paging.decode(request.page_token, filters, int)
        found, last = queries.changes(
            self._store, request.category_id, before[0] if before else _LATEST, page_size(request.page_size, 20, 100)
        )
        token = paging.encode(filters, [last]) if last else ""
        return codec.from_plain(pb.ListCategoryChangesResponse, {"changes": found, "next_page_token": token})

    def GetCategoryChange(self, _call: rpc.Call, request: pb.GetCategoryChangeRequest) -> pb.GetCategoryChangeResponse:
        """One of them, whole."""
        found = queries.change(self._store, request.revision)
        return codec.from_plain(pb.GetCategoryChangeResponse, {"change": found})


def _edited(call: rpc.Call, outcome: Outcome) -> Document:
    if outcome.replayed:
        call.mark_replayed()
    return {"category": queries.stored(outcome.answer)}
