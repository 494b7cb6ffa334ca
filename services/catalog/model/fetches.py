"""Fetching the pictures that a product file names: where the work is, and what becomes of one address.

fetching (collect the addresses chunk by chunk, then fetch what waits) → done. An address: waiting → fetched | failed; a failure that
may pass is tried again after a growing pause, a few times.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from services.chassis.decisions import DONE as DECIDED
from services.chassis.decisions import STALE, Change, Decision, apply
from services.chassis.errors import Refusal, wrong_state

FETCHING: Final = "fetching"
DONE: Final = "done"
WAITING: Final = "waiting"
FETCHED: Final = "fetched"
FAILED: Final = "failed"
NEVER: Final = 0


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how late a failed address is tried again; the values are policy. ``first_s`` doubles each time."""

    attempts: int
    first_s: int


def check_import(job: Mapping[str, Any]) -> None:
    """Whether the pictures of the import can be fetched. Raises Refusal WRONG_STATE, CONDITION_UNMET."""
    if job["state"] != "completed":
        raise wrong_state("import", job["_id"], job["state"], "completed")
    if job["kind"] == "undo":
        raise Refusal("CONDITION_UNMET", f"{job['_id']} put products back; name the import of a file")


def decide_wanted(found: Mapping[str, Any], _data: Mapping[str, Any]) -> Decision:
    """``import.completed``: begin to fetch where whoever sent the file asked for it. ``found``: the import's row, the work's."""
    if found["fetching"] is not None:
        return DECIDED
    job = found["import"]
    return apply() if job is not None and job.get("fetch_images") else STALE


def begun(import_id: str, shop_id: str, now_ms: int) -> dict[str, Any]:
    """The row of the work, wanting to be done now."""
    return {
        "_id": import_id,
        "shop_id": shop_id,
        "state": FETCHING,
        "next_chunk": 0,
        "collected": False,
        "total": 0,
        "fetched": 0,
        "failed": 0,
        "next_at": now_ms,
    }


def again(row: Mapping[str, Any], now_ms: int) -> Change:
    """Begin anew: addresses are collected again, and those that failed wait again. Raises Refusal WRONG_STATE while it runs."""
    if row["state"] == FETCHING:
        raise wrong_state("fetching of images of", row["_id"], "still running", "done")
    zero = dict.fromkeys(("next_chunk", "total", "fetched", "failed"), 0)
    return Change(set={**zero, "state": FETCHING, "collected": False, "next_at": now_ms})


def addresses(listing: Mapping[str, Any], own: str) -> Iterator[str]:
    """The web addresses of a listing's pictures that are not at ``own`` (our own pictures)."""
    given = [
        *listing["images"],
        *(block["image"] for block in listing["detail"] if block.get("image")),
        *(sku["image"] for sku in listing["skus"] if sku.get("image")),
    ]
    for address in given:
        if address.startswith(("http://", "https://")) and not address.startswith(own):
            yield address


def source_id(shop_id: str, address: str) -> str:
    """The row of an address; each shop has its own, so that nobody learns from another's what it has."""
    return f"{shop_id}:{hashlib.sha256(address.encode()).hexdigest()[:32]}"


def waiting(shop_id: str, import_id: str, address: str) -> dict[str, Any]:
    """The row of an address that nobody has tried."""
    tried = {"attempts": 0, "try_at": NEVER, "reason": "", "message": "", "image_id": ""}
    return {
        "_id": source_id(shop_id, address),
        "shop_id": shop_id,
        "import_id": import_id,
        "url": address,
        "state": WAITING,
        **tried,
    }


def after_failure(source: Mapping[str, Any], patience: Patience, *, passing: bool, now_ms: int) -> dict[str, Any]:
    """What an address is after another failed attempt: {state, attempts, try_at}. ``passing``: it may go well later."""
    attempts = source["attempts"] + 1
    if not passing or attempts >= patience.attempts:
        return {"state": FAILED, "attempts": attempts, "try_at": NEVER}
    pause_ms = patience.first_s * 1000 * 2 ** (attempts - 1)
    return {"state": WAITING, "attempts": attempts, "try_at": now_ms + pause_ms}


def shown(listing: Mapping[str, Any], ours: Mapping[str, str]) -> dict[str, Any]:
    """The listing with our own addresses for those that were fetched (``ours``: address → address)."""
    return {
        **listing,
        "images": [ours.get(address, address) for address in listing["images"]],
        "detail": [
            {**block, "image": ours.get(block["image"], block["image"])} if block.get("image") else block
            for block in listing["detail"]
        ],
        "skus": [
            {**sku, "image": ours.get(sku["image"], sku["image"])} if sku.get("image") else sku
            for sku in listing["skus"]
        ],
    }
