"""Sets of followers: roaring bitmaps of ordinals, kept in shards of 2²⁰ ordinals each."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from pyroaring import BitMap

SHARD_BITS: Final = 20


def shard_of(ordinal: int) -> int:
    """The number of the shard that holds ``ordinal``."""
    return ordinal >> SHARD_BITS


def first_of(number: int) -> int:
    """The first ordinal of a shard."""
    return number << SHARD_BITS


def by_shard(ordinals: Iterable[int]) -> dict[int, BitMap]:
    """Ordinals by the number of the shard they lie in, in order."""
    parts: dict[int, list[int]] = defaultdict(list)
    for ordinal in ordinals:
        parts[shard_of(ordinal)].append(ordinal)
    return {number: BitMap(part) for number, part in sorted(parts.items())}


def pack(bits: BitMap) -> bytes:
    """A bitmap as it is stored."""
    bits.run_optimize()
    return bytes(bits.serialize())


def unpack(stored: bytes | None) -> BitMap:
    """A stored bitmap; nothing stored is nobody."""
    return BitMap.deserialize(bytes(stored)) if stored else BitMap()


def from_ordinal(bits: BitMap, start: int) -> BitMap:
    """Those of ``bits`` that are ``start`` or later."""
    return bits[bits.rank(start - 1) :] if start > 0 else bits
