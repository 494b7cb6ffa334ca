"""Bytes that are too large for a document, by a key that follows from them: in GridFS, or in an S3-compatible store.

What is kept under a key never changes, so keeping it twice is keeping it once, and whoever reads it may keep it for ever.
"""

import contextlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import urlsplit

import obstore
from gridfs import GridFSBucket, NoFile
from obstore.exceptions import BaseError
from obstore.store import S3Store

from services.chassis import logs
from services.chassis.errors import Refusal
from services.chassis.mongo import Database
from services.chassis.settings import Settings

ANSWER_WITHIN: Final = timedelta(seconds=5)
RETRIES: Final = 1
T = TypeVar("T")
_log = logs.get(__name__)


class Blobs(Protocol):
    """A store of blobs."""

    def put(self, key: str, data: bytes, content_type: str) -> None:
        """Keep ``data``; nothing is done for a key that is there."""

    def get(self, key: str) -> bytes | None:
        """What is kept under ``key``; None without it."""

    def drop(self, key: str) -> None:
        """Keep nothing under ``key`` any more; nothing is done where nothing is."""


class GridBlobs:
    """In the service's own database, as GridFS files named by their keys. Keeping one that dies half-way leaves chunks nobody reads."""

    def __init__(self, database: Database) -> None:
        """The bucket ``blobs``."""
        self._bucket = GridFSBucket(database, "blobs")

    def put(self, key: str, data: bytes, content_type: str) -> None:
        """See ``Blobs``. Two that keep it at once both do, and either is read."""
        if next(self._bucket.find({"filename": key}).limit(1), None) is None:
            self._bucket.upload_from_stream(key, data, metadata={"content_type": content_type})

    def get(self, key: str) -> bytes | None:
        """See ``Blobs``."""
        try:
            with self._bucket.open_download_stream_by_name(key) as file:
                return bytes(file.read())
        except NoFile:
            return None

    def drop(self, key: str) -> None:
        """See ``Blobs``. Who reads it at this moment may get half of it."""
        for file in self._bucket.find({"filename": key}):
            with contextlib.suppress(NoFile):  # another one was faster
                self._bucket.delete(file._id)  # noqa: SLF001 - how a GridOut calls its id


class S3Blobs:
    """In a bucket of an S3-compatible store. Raises Refusal UNAVAILABLE where that does not answer, or does not let us."""

    def __init__(self, settings: Settings) -> None:
        """``settings.blobs``: s3://bucket/prefix."""
        place = urlsplit(settings.blobs)
        said: dict[str, Any] = {
            "prefix": place.path.strip("/"),
            "endpoint": settings.s3_endpoint,
            "access_key_id": settings.s3_access_key_id,
            "secret_access_key": settings.s3_secret_access_key,
        }
        self._store = S3Store(
            place.netloc,
            region=settings.s3_region,
            client_options={"allow_http": settings.s3_endpoint.startswith("http:"), "timeout": ANSWER_WITHIN},
            retry_config={"max_retries": RETRIES, "retry_timeout": ANSWER_WITHIN},
            **{name: value for name, value in said.items() if value},
        )

    def put(self, key: str, data: bytes, content_type: str) -> None:
        """See ``Blobs``. Two that keep it at once both do, and either is read."""
        if self._asked(lambda: obstore.head(self._store, key)) is not None:
            return
        kept = self._asked(lambda: obstore.put(self._store, key, data, attributes={"Content-Type": content_type}))
        if kept is None:
            raise _away("there is no such bucket")

    def get(self, key: str) -> bytes | None:
        """See ``Blobs``."""
        return self._asked(lambda: bytes(obstore.get(self._store, key).bytes()))

    def drop(self, key: str) -> None:
        """See ``Blobs``."""
        self._asked(lambda: obstore.delete(self._store, key))

    @staticmethod
    def _asked(ask: Callable[[], T]) -> T | None:
        """What the store answers; None for what is not there."""
        try:
            return ask()
        except FileNotFoundError:
            return None
        except BaseError as error:
            raise _away(str(error)) from error


def _away(why: str) -> Refusal:
    _log.warning("picture store away", error=why[:500])
    return Refusal("UNAVAILABLE", "pictures cannot be reached right now; try again", retry_after_s=1)


def blobs(settings: Settings, database: Database) -> Blobs:
    """Where this installation keeps the blobs of the service that owns ``database``."""
    return S3Blobs(settings) if settings.blobs else GridBlobs(database)
