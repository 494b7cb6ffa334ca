"""The rpcs about shelves, for their merchants and for everybody."""

from typing import TypeVar

from google.protobuf.message import Message
from jishi.catalog.v1 import shelves_pb2 as pb

from services.catalog.commands import shelves
from services.catalog.queries import products, storefront, views
from services.catalog.queries import shelves as queries
from services.catalog.queries.images import Pictures
from services.catalog.store import Store
from services.chassis import clock, codec, paging, rpc
from services.chassis.commit import Outcome
from services.chassis.fresh import Fresh
from services.chassis.links import Links
from services.chassis.mongo import Document

R = TypeVar("R", bound=Message)
PAGE, PAGE_MOST = 20, 50
PREVIEW = "shelf-preview"


class ShelfCalls:
    """Part of CatalogService."""

    _store: Store
    _base_url: str
    _pictures: Pictures
    _links: Links
    _shelves: Fresh[pb.GetPublicShelfResponse]
    _shelf_products: Fresh[pb.ListPublicShelfProductsResponse]

    # -------- the merchant's

    def CreateShelf(self, call: rpc.Call, request: pb.CreateShelfRequest) -> pb.CreateShelfResponse:
        """A new shelf."""
        outcome = shelves.create_shelf(
            self._store, call.cause, request.shop_id, request.slug, _draft(request), publish=request.publish
        )
        return _answer(call, pb.CreateShelfResponse, outcome)

    def UpdateShelf(self, call: rpc.Call, request: pb.UpdateShelfRequest) -> pb.UpdateShelfResponse:
        """A new draft."""
        place = (request.shop_id, request.shelf_id)
        outcome = shelves.update_shelf(
            self._store, call.cause, place, request.etag, _draft(request), publish=request.publish
        )
        return _answer(call, pb.UpdateShelfResponse, outcome)

    def ListShelves(self, _call: rpc.Call, request: pb.ListShelvesRequest) -> pb.ListShelvesResponse:
        """The shop's own."""
        filters = {"shelves": request.shop_id}
        after = paging.decode(request.page_token, filters, str, int)
        size = products.page_size(request.page_size, PAGE, PAGE_MOST)
        found, last = queries.shelves(self._store, request.shop_id, (after[0], after[1]) if after else None, size)
        token = paging.encode(filters, list(last)) if last else ""
        return codec.from_plain(pb.ListShelvesResponse, {"shelves": found, "next_page_token": token})

    def GetShelf(self, call: rpc.Call, request: pb.GetShelfRequest) -> pb.GetShelfResponse:
        """One of them."""
        row = queries.shelf_row(self._store, call.caller.shop_id, request.shelf_id)
        return codec.from_plain(pb.GetShelfResponse, {"shelf": views.shelf(row)})

    def DeleteShelf(self, call: rpc.Call, request: pb.DeleteShelfRequest) -> pb.DeleteShelfResponse:
        """Gone."""
        outcome = shelves.delete_shelf(self._store, call.cause, call.caller.shop_id, request.shelf_id)
        if outcome.replayed:
            call.mark_replayed()
        return pb.DeleteShelfResponse()

    def PublishShelf(self, call: rpc.Call, request: pb.PublishShelfRequest) -> pb.PublishShelfResponse:
        """The draft, or an old version again."""
        outcome = shelves.publish_shelf(self._store, call.cause, request.shop_id, request.shelf_id, request.version)
        return _answer(call, pb.PublishShelfResponse, outcome)

    def UnpublishShelf(self, call: rpc.Call, request: pb.UnpublishShelfRequest) -> pb.UnpublishShelfResponse:
        """Off its page."""
        outcome = shelves.unpublish_shelf(self._store, call.cause, request.shop_id, request.shelf_id)
        return _answer(call, pb.UnpublishShelfResponse, outcome)

    def SchedulePublish(self, call: rpc.Call, request: pb.SchedulePublishRequest) -> pb.SchedulePublishResponse:
        """At a time ahead."""
        publish_time = codec.to_plain(request).get("publish_time")
        outcome = shelves.schedule_publish(
            self._store, call.cause, request.shop_id, request.shelf_id, request.version, publish_time
        )
        return _answer(call, pb.SchedulePublishResponse, outcome)

    def CancelScheduledPublish(
        self, call: rpc.Call, request: pb.CancelScheduledPublishRequest
    ) -> pb.CancelScheduledPublishResponse:
        """Not at that time."""
        outcome = shelves.cancel_schedule(self._store, call.cause, request.shop_id, request.shelf_id)
        return _answer(call, pb.CancelScheduledPublishResponse, outcome)

    def ListShelfVersions(self, call: rpc.Call, request: pb.ListShelfVersionsRequest) -> pb.ListShelfVersionsResponse:
        """What was published, or waits for it."""
        filters = {"versions": request.shelf_id}
        before = paging.decode(request.page_token, filters, int)
        size = products.page_size(request.page_size, PAGE, PAGE_MOST)
        found, last = queries.versions(
            self._store, call.caller.shop_id, request.shelf_id, before[0] if before else None, size
        )
        token = paging.encode(filters, [last]) if last else ""
        return codec.from_plain(pb.ListShelfVersionsResponse, {"versions": found, "next_page_token": token})

    def CreateShelfPreview(
        self, call: rpc.Call, request: pb.CreateShelfPreviewRequest
    ) -> pb.CreateShelfPreviewResponse:
        """A link that shows it for a while."""
        shop_id = call.caller.shop_id
        lifetime = shelves.preview_lifetime(request.lifetime_s)
        row = queries.shelf_row(self._store, shop_id, request.shelf_id)
        shelves.check_version(row, request.version)
        about = {"shop": shop_id, "shelf": request.shelf_id, "version": request.version}
        link = self._links.sign(PREVIEW, about, lifetime_s=int(lifetime.total_seconds()))
        path = f"/v1/public/shelf-previews/{link.text}"
        told = {"path": path, "url": self._base_url + path, "expire_time": clock.moment(link.expires_at * 1000)}
        return codec.from_plain(pb.CreateShelfPreviewResponse, told)

    # -------- everybody's

    def GetShelfPreview(self, _call: rpc.Call, request: pb.GetShelfPreviewRequest) -> pb.GetShelfPreviewResponse:
        """What the link shows."""
        link = self._links.read(PREVIEW, request.preview, "preview link")
        shop_id, shelf_id, version = link.about["shop"], link.about["shelf"], link.about["version"]
        filters = {"preview": shop_id, "shelf": shelf_id, "version": version}
        place = paging.decode(request.page_token, filters, int, int)
        shown = storefront.preview(
            self._store, shop_id, shelf_id, version, (place[0], place[1]) if place else None, self._pictures
        )
        told = {"shelf": _page(shown, filters), "expire_time": clock.moment(link.expires_at * 1000)}
        return codec.from_plain(pb.GetShelfPreviewResponse, told)

    def GetPublicShelf(self, _call: rpc.Call, request: pb.GetPublicShelfRequest) -> pb.GetPublicShelfResponse:
        """What everybody sees, read once for many readers."""
        filters = {"shelf": [request.shop_id, request.slug]}
        after = paging.decode(request.page_token, filters, int, int)
        place = (after[0], after[1]) if after else None

        def load() -> pb.GetPublicShelfResponse:
            shown = storefront.public_shelf(self._store, request.shop_id, request.slug, place, self._pictures)
            return codec.from_plain(pb.GetPublicShelfResponse, _page(shown, filters))

        found = self._shelves.get((request.shop_id, request.slug, place), load)
        assert found is not None  # noqa: S101 - load answers or raises
        return found

    def ListPublicShelfProducts(
        self, _call: rpc.Call, request: pb.ListPublicShelfProductsRequest
    ) -> pb.ListPublicShelfProductsResponse:
        """The rest of a group, read once for many readers."""
        asked = (request.shop_id, request.slug, request.group_id)
        filters = {"shelf_products": asked}
        after = paging.decode(request.page_token, filters, int, str)
        size = products.page_size(request.page_size, 20, 100)
        place = (after[0], after[1]) if after else None

        def load() -> pb.ListPublicShelfProductsResponse:
            shown, last = storefront.shelf_products(self._store, asked, place, size, self._pictures)
            token = paging.encode(filters, list(last)) if last else ""
            return codec.from_plain(pb.ListPublicShelfProductsResponse, {**shown, "next_page_token": token})

        found = self._shelf_products.get((asked, size, place), load)
        assert found is not None  # noqa: S101 - load answers or raises
        return found


def _page(shown: Document, filters: Document) -> Document:
    token = paging.encode(filters, [shown["version"], shown["next"]]) if shown["next"] else ""
    return {**shown, "next_page_token": token}


def _answer(call: rpc.Call, kind: type[R], outcome: Outcome) -> R:
    if outcome.replayed:
        call.mark_replayed()
    return codec.from_plain(kind, {"shelf": views.shelf(outcome.document)})


def _draft(request: pb.CreateShelfRequest | pb.UpdateShelfRequest) -> Document:
    plain = codec.to_plain(request)
    return {name: plain[name] for name in ("name", "banner", "modules")}
