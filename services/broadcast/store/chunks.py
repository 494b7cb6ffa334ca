"""Chunks of a broadcast: its recipients in one shard, by rank, ``size`` at a time. A chunk's row is written when it was delivered."""

from collections.abc import Mapping
from typing import Any

from pyroaring import BitMap

from services.broadcast.store.bitmaps import unpack


def chunk_id(job_id: str, chunk: int) -> str:
    """The id of a delivered chunk's row."""
    return f"{job_id}:{chunk}"


def recipients_of(part: Mapping[str, Any], chunk: int, size: int) -> BitMap:
    """The recipients in chunk number ``chunk`` of a job's shard ``part``."""
    begin = (chunk - part["first_chunk"]) * size
    found: BitMap = unpack(part["recipients"])[begin : begin + size]
    return found


def chunk_of(part: Mapping[str, Any], recipients: BitMap, ordinal: int, size: int) -> int:
    """The number of the chunk that holds ``ordinal``, or would hold it if it were a recipient."""
    return int(part["first_chunk"]) + int(recipients.rank(ordinal - 1) if ordinal else 0) // size
