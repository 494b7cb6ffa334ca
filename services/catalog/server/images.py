"""The rpcs about pictures."""

from collections.abc import Iterator

from jishi.catalog.v1 import images_pb2 as pb

from services.catalog.commands import images
from services.catalog.queries import images as queries
from services.catalog.queries import products, views
from services.catalog.store import Store
from services.chassis import codec, paging, rpc
from services.chassis.blobs import Blobs
from services.chassis.errors import invalid


class ImageCalls:
    """Part of CatalogService."""

    _store: Store
    _blobs: Blobs
    _base_url: str

    def UploadImage(self, call: rpc.Call, requests: Iterator[pb.UploadImageRequest]) -> pb.UploadImageResponse:
        """A picture, in pieces."""
        first = next(requests, None)
        if first is None:
            raise invalid("file", "send the picture as the multipart part `file`")

        def pieces() -> Iterator[bytes]:
            yield first.chunk
            for request in requests:
                yield request.chunk

        upload = images.Upload(first.shop_id, first.filename, pieces())
        outcome = images.upload_image(self._store, self._blobs, call.cause, upload)
        if outcome.replayed:
            call.mark_replayed()
        return codec.from_plain(pb.UploadImageResponse, {"image": views.image(outcome.document, self._base_url)})

    def ListImages(self, _call: rpc.Call, request: pb.ListImagesRequest) -> pb.ListImagesResponse:
        """The shop's pictures."""
        filters = {"images": request.shop_id}
        before = paging.decode(request.page_token, filters, str)
        size = products.page_size(request.page_size, products.PAGE, products.PAGE_MOST)
        found, last = queries.page(self._store, request.shop_id, before[0] if before else None, size)
        token = paging.encode(filters, [last]) if last else ""
        shown = [views.image(row, self._base_url) for row in found]
        return codec.from_plain(pb.ListImagesResponse, {"images": shown, "next_page_token": token})

    def DeleteImage(self, call: rpc.Call, request: pb.DeleteImageRequest) -> pb.DeleteImageResponse:
        """Off the list."""
        outcome = images.delete_image(self._store, call.cause, call.caller.shop_id, request.image_id)
        if outcome.replayed:
            call.mark_replayed()
        return pb.DeleteImageResponse()

    def GetImage(self, _call: rpc.Call, request: pb.GetImageRequest) -> pb.GetImageResponse:
        """The picture itself."""
        data, content_type = queries.picture(self._blobs, request.image_id, request.size)
        return pb.GetImageResponse(data=data, content_type=content_type)

    def FetchImportImages(self, call: rpc.Call, request: pb.FetchImportImagesRequest) -> pb.FetchImportImagesResponse:
        """Begin, or try again what failed."""
        outcome = images.fetch_images(self._store, call.cause, call.caller.shop_id, request.import_id)
        if outcome.replayed:
            call.mark_replayed()
        return pb.FetchImportImagesResponse(import_id=request.import_id, state=pb.FETCH_STATE_FETCHING)

    def ListImportImages(self, call: rpc.Call, request: pb.ListImportImagesRequest) -> pb.ListImportImagesResponse:
        """How far it is, and what became of each."""
        told = queries.fetching(self._store, call.caller.shop_id, request.import_id)
        state = codec.to_plain(request)["state"]
        filters = {"sources": request.import_id, "state": state}
        after = paging.decode(request.page_token, filters, str)
        size = products.page_size(request.page_size, products.PAGE, products.PAGE_MOST)
        found, last = queries.sources(self._store, request.import_id, state, after[0] if after else None, size)
        counts = {name: told[name] for name in ("state", "total", "fetched", "failed")}
        shown = [views.source(row, self._base_url) for row in found]
        token = paging.encode(filters, [last]) if last else ""
        return codec.from_plain(pb.ListImportImagesResponse, {**counts, "sources": shown, "next_page_token": token})
