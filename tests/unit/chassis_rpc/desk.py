"""A small real service made for tests from `desk.proto`: compiled at import, answered by `Desk` on a real port and database."""

import hashlib
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

import grpc_tools
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message_factory import GetMessageClass
from grpc_tools import protoc
from jishi.options.v1 import options_pb2  # noqa: F401 - desk.proto needs it in the pool
from pymongo.errors import AutoReconnect

from services.chassis import codec, commit, ids, rpc
from services.chassis.errors import Refusal, Violation, not_found
from services.chassis.mongo import Collection
from services.chassis.rpc.contracts import Method, method

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
CARDS = "cards"
COLLECTIONS = (Collection(CARDS, keyed=True),)


@cache
def file_descriptor():
    """The compiled `desk.proto`."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "desk.binpb"
        includes = [HERE, ROOT / "protos", Path(grpc_tools.__path__[0]) / "_proto"]
        arguments = ["protoc", *(f"-I{path}" for path in includes), f"--descriptor_set_out={out}", "desk.proto"]
        assert protoc.main(arguments) == 0
        described = FileDescriptorSet.FromString(out.read_bytes())
    pool = descriptor_pool.Default()
    for file in described.file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool.FindFileByName("desk.proto")


def message(name: str) -> Any:
    """The class of a message of `desk.proto`."""
    return GetMessageClass(file_descriptor().message_types_by_name[name])


def descriptor():
    """The service of `desk.proto`."""
    return file_descriptor().services_by_name["DeskService"]


@cache
def methods_by_name() -> dict[str, Method]:
    """Its rpcs by short name."""
    return {found.name: method("desk", found) for found in descriptor().methods}


running: list["Desk"] = []
"""Every desk made in this process, the newest last."""


class Desk:
    """Answers the rpcs."""

    def __init__(self, node: rpc.Node) -> None:
        self.cards = node.database[CARDS]
        self.stamped = 0
        running.append(self)

    def GetCard(self, _call, request):
        found = self.cards.find_one({"_id": request.card_id})
        if found is None:
            raise not_found("card", request.card_id)
        return codec.from_plain(message("GetCardResponse"), {"card": _shown(found)})

    def ListCards(self, _call, request):
        found = [_shown(card) for card in self.cards.find({"shop_id": request.shop_id})]
        asked = codec.to_plain(request)
        return codec.from_plain(message("ListCardsResponse"), {"cards": found, "asked": asked})

    def WriteCard(self, call, request):
        outcome = commit.create(self.cards, {"_id": ids.new_id("card"), **codec.to_plain(request)}, call.cause)
        if outcome.replayed:
            call.mark_replayed()
        return codec.from_plain(message("WriteCardResponse"), {"card": _shown(outcome.document)})

    def StampCard(self, call, request):
        self.stamped += 1
        time.sleep(request.wait_ms / 1000)
        told = {
            "caller": call.caller.identity,
            "actor": call.actor.identity,
            "cause_id": call.cause.id,
            "traceparent": call.cause.traceparent,
            "remaining_ms": int(call.remaining() * 1000),
        }
        return codec.from_plain(message("StampCardResponse"), told)

    def BreakCard(self, _call, request):
        raise {
            "refusal": Refusal(
                "BROADCAST_QUOTA_EXHAUSTED",
                "no more today",
                (Violation("cards[0]", "too many"),),
                7,
                {"reset_at": "2026-01-06T00:00:00+08:00"},
            ),
            "database": AutoReconnect("gone"),
            "value": codec.BadValueError("lines[0].price", "must be whole"),
            "bug": ZeroDivisionError("a secret of ours"),
        }[request.how]

    def OpenDoor(self, _call, _request):
        return message("OpenDoorResponse")(open=True)

    def DownloadFile(self, _call, request):
        number = int(request.page_token or 0)
        self.given = number
        if request.breaks and number == request.breaks:
            raise Refusal("CONDITION_UNMET", "the file is gone")
        more = str(number + 1) if number + 1 < request.pieces else ""
        return message("DownloadFileResponse")(
            data=f"piece {number};".encode() * 1000,
            next_page_token=more,
            content_type="text/csv",
            file_name=request.file_name,
        )

    def UploadFile(self, _call, requests):
        first = next(requests)
        digest, size, chunks = hashlib.sha256(), 0, 0
        for piece in requests:
            digest.update(piece.chunk)
            size += len(piece.chunk)
            chunks += 1
        told = {**codec.to_plain(first), "size": size, "chunks": chunks, "sha256": digest.hexdigest()}
        return codec.from_plain(message("UploadFileResponse"), told)

    def TakeNotice(self, _call, request):
        said = f"{request.source} {request.headers['x-signature']} ".encode() + request.body
        return message("TakeNoticeResponse")(status=202, content_type="text/plain", body=said)


def _shown(card):
    return {**card, "card_id": card["_id"]}


def service() -> rpc.Service:
    """The declaration, as a `server.py` would hold it."""
    return rpc.Service("desk", descriptor(), Desk, COLLECTIONS)
