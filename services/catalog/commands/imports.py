"""Taking in a product file, and stopping its import."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from services.catalog.commands.products import shop_of
from services.catalog.model import imports
from services.catalog.model.chunks import Shop
from services.catalog.store import SERVICE, Store
from services.catalog.store.files import BLOCK_BYTES, keep_block
from services.chassis import clock, commit, ids, policy
from services.chassis.commit import Cause, Outcome, Taken
from services.chassis.decisions import Change
from services.chassis.errors import Refusal, invalid, not_found
from services.chassis.mongo import Document


@dataclass(frozen=True, slots=True)
class Options:
    """How a file is to be imported."""

    shop_id: str
    format: str
    policy: str
    max_errors: int
    dry_run: bool
    file_name: str
    fetch_images: bool = False


def create_import(store: Store, cause: Cause, options: Options, content: Iterator[bytes]) -> Outcome:
    """Store the file and queue its import; a replay answers with the import that is there.

    Raises Refusal INVALID_ARGUMENT (options, empty file), TOO_LARGE, IDEMPOTENCY_KEY_REUSED (another file or options).
    """
    shop = shop_of(store, options.shop_id)
    chosen = imports.check_options(options.format, options.policy, options.max_errors, options.file_name)
    file_id = ids.new_id("file")
    before = store.imports.find_one({"created_by": cause.id})  # then the file is only read, to see that it is the same
    digest = hashlib.sha256(repr(options).encode())
    size = blocks = 0
    rules = policy.load(SERVICE)
    most = rules.value("import_bytes", shop.now)
    for block in _blocks(content):
        size += len(block)
        if size > most:
            raise Refusal("TOO_LARGE", f"a file has at most {most} bytes; split it", info={"most": str(most)})
        digest.update(block)
        if before is None:
            keep_block(store, file_id, blocks, block)
        blocks += 1
    if not size:
        raise invalid("file", "send the product file as the multipart part `file`; it was empty or missing")
    hashed = Cause(cause.id, digest.hexdigest(), cause.causation, cause.traceparent)
    if before is not None:
        return commit.created_before(before, hashed)
    how = {
        "format": options.format,
        "policy": chosen,
        "max_errors": options.max_errors,
        "dry_run": options.dry_run,
        "file_name": options.file_name[:255],
        "fetch_images": options.fetch_images,
        "file": {"id": file_id, "blocks": blocks, "bytes": size},
    }
    return commit.create(store.imports, _queued(shop, imports.UPLOAD, how), hashed)


def _queued(shop: Shop, kind: str, how: Document, origin: str = "") -> Document:
    """A job that waits. ``how``: format, policy, max_errors, dry_run, file_name, file."""
    import_id, rules = ids.new_id("imp"), policy.load(SERVICE)
    return {
        "_id": import_id,
        "position": import_id,
        "shop_id": shop.shop_id,
        "currency": shop.currency,
        "kind": kind,
        "origin_import_id": origin,
        **{name: how[name] for name in ("format", "policy", "max_errors", "dry_run", "file_name", "file")},
        **({"laid": how["laid"]} if "laid" in how else {}),
        "fetch_images": how.get("fetch_images", False),
        "chunk": {name: rules.value(f"import_chunk_{name}", shop.now) for name in ("products", "rows")},
        "limits": rules.version("product_limits", shop.now),
        "state": "queued",
        "phase": imports.CHECK,
        "reason": "",
        "message": "",
        **dict.fromkeys(("next_chunk", "rows", "total", "created", "updated", "unchanged", "failed"), 0),
        "next_at": clock.wall_ms(),
        "working_for": shop.shop_id,
    }


def _blocks(content: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes in blocks of one mebibyte."""
    waiting = bytearray()
    for piece in content:
        waiting += piece
        while len(waiting) >= BLOCK_BYTES:
            yield bytes(waiting[:BLOCK_BYTES])
            del waiting[:BLOCK_BYTES]
    if waiting:
        yield bytes(waiting)


def retry_import(store: Store, cause: Cause, shop_id: str, import_id: str) -> Outcome:
    """Queue a job for the products of the import that failed, from its file and under its policy.

    Raises Refusal NOT_FOUND, WRONG_STATE while it runs, CONDITION_UNMET when nothing failed or the file is gone.
    """
    shop = shop_of(store, shop_id)
    before = commit.created(store.imports, cause)
    if before is not None:
        return before
    origin = _own(store, shop_id, import_id)
    imports.check_retry(origin)
    if store.import_files.find_one({"_id": f"{origin['file']['id']}:0"}, {"_id": 1}) is None:
        raise Refusal("CONDITION_UNMET", f"the file of {import_id} is not kept any more; send it again")
    return commit.create(store.imports, _queued(shop, imports.RETRY, origin, import_id), cause)


def undo_import(store: Store, cause: Cause, shop_id: str, import_id: str) -> Outcome:
    """Queue the job that puts back what the import applied. There is one for an import, for ever.

    Raises Refusal NOT_FOUND, WRONG_STATE while it runs, CONDITION_UNMET when it changed nothing, ALREADY_EXISTS naming the undo.
    """
    shop = shop_of(store, shop_id)
    before = commit.created(store.imports, cause)
    if before is not None:
        return before
    origin = _own(store, shop_id, import_id)
    imports.check_undo(origin)
    undo_id = ids.derived_id("imp", f"undo:{import_id}")
    how = {**origin, "policy": "reject_failed", "max_errors": 0}
    try:
        return commit.create(store.imports, {**_queued(shop, imports.UNDO, how, import_id), "_id": undo_id}, cause)
    except Taken as taken:
        raise Refusal("ALREADY_EXISTS", f"{import_id} was undone already, by {undo_id}") from taken


def _own(store: Store, shop_id: str, import_id: str) -> Document:
    row = store.imports.find_one({"_id": import_id})
    if row is None or row["shop_id"] != shop_id:
        raise not_found("import", import_id)
    return row


def cancel_import(store: Store, cause: Cause, shop_id: str, import_id: str) -> Outcome:
    """Stop an import of the shop before its next chunk. Raises Refusal NOT_FOUND, WRONG_STATE when it is over."""

    def decide(job: Document) -> Change | None:
        if job["shop_id"] != shop_id:
            raise not_found("import", import_id)
        wanted = imports.cancel(job)
        return wanted and replace(wanted, set={**wanted.set, "end_time": clock.business()})

    return commit.change(store.imports, import_id, cause, decide, kind="import")
