"""Blobs in GridFS and in an S3-compatible store: the same promises."""

import pytest
from pydantic import ValidationError

from services.chassis.blobs import GridBlobs, S3Blobs, blobs
from services.chassis.errors import Refusal
from services.chassis.settings import Settings
from tests.backends.s3 import S3Server


@pytest.fixture(scope="module")
def s3():
    with S3Server() as server:
        yield server


@pytest.fixture(params=["gridfs", "s3"])
def store(request, memory_world):
    if request.param == "gridfs":
        return blobs(memory_world.settings, memory_world.database("catalog"))
    return blobs(request.getfixturevalue("s3").settings, memory_world.database("catalog"))


def test_the_settings_choose(memory_world, s3):
    database = memory_world.database("catalog")
    assert isinstance(blobs(Settings(), database), GridBlobs)
    assert isinstance(blobs(s3.settings, database), S3Blobs)
    with pytest.raises(ValidationError, match="no s3://bucket/prefix"):
        Settings(blobs="file:///etc")


def test_what_is_kept_comes_back_and_keeping_it_twice_is_keeping_it_once(store):
    content = bytes(range(256)) * 3000  # several chunks
    assert store.get("images/a/0") is None
    for _ in range(2):
        store.put("images/a/0", content, "image/png")
    assert store.get("images/a/0") == content
    assert store.get("images/a/640") is None


def test_gridfs_keeps_one_file_of_one_key(memory_world):
    database = memory_world.database("catalog")
    store = GridBlobs(database)
    for _ in range(3):
        store.put("k", b"x", "image/png")
    assert database["blobs.files"].count_documents({}) == 1


def test_a_store_that_is_away_or_refuses_us_is_said_to_be_and_soon(memory_world, s3):
    database = memory_world.database("catalog")
    away = Settings(
        blobs="s3://pictures", s3_endpoint="http://127.0.0.1:9", s3_access_key_id="k", s3_secret_access_key="s"
    )
    for settings in (s3.settings_for("s3://nowhere"), away):
        store = blobs(settings, database)
        with pytest.raises(Refusal, match="UNAVAILABLE"):
            store.put("images/a/0", b"x", "image/png")


def test_what_is_there_is_not_written_over(store):
    store.put("images/b/0", b"first", "image/png")
    store.put("images/b/0", b"as another release would draw it", "image/png")
    assert store.get("images/b/0") == b"first"
