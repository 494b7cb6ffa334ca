"""Taking in a product file, and stopping its import."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from services.catalog.commands.products import shop_of
from services.catalog.model import imports
from services.catalog.store import SERVICE, Store
from services.chassis import clock, commit, ids, policy
from services.chassis.commit import Cause, Outcome, Transaction
from services.chassis.decisions import Change
from services.chassis.errors import Refusal, invalid, not_found
from services.chassis.mongo import Document

BLOCK_BYTES: Final = 2**20


@dataclass(frozen=True, slots=True)
class Options:
    """How a file is to be imported."""

    shop_id: str
    format: str
    policy: str
    max_errors: int
    dry_run: bool
    file_name: str


def create_import(store: Store, cause: Cause, options: Options, content: Iterator[bytes]) -> Outcome:
    """Store the file and queue its import; a replay answers with the import that is there.

    Raises Refusal INVALID_ARGUMENT (options, empty file), TOO_LARGE, IDEMPOTENCY_KEY_REUSED (another file or options).
    """
    shop = shop_of(store, options.shop_id)
    chosen = imports.check_options(options.format, options.policy, options.max_errors)
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
            _keep(store, file_id, blocks, block)
        blocks += 1
    if not size:
        raise invalid("file", "send the product file as the multipart part `file`; it was empty or missing")
    hashed = Cause(cause.id, digest.hexdigest(), cause.causation, cause.traceparent)
    if before is not None:
        return commit.created_before(before, hashed)
    import_id = ids.new_id("imp")
    job: Document = {
        "_id": import_id,
        "position": import_id,
        "shop_id": options.shop_id,
        "currency": shop.currency,
        "format": options.format,
        "policy": chosen,
        "max_errors": options.max_errors,
        "dry_run": options.dry_run,
        "chunk": {name: rules.value(f"import_chunk_{name}", shop.now) for name in ("products", "rows")},
        "limits": rules.version("product_limits", shop.now),
        "file_name": options.file_name[:255],
        "file": {"id": file_id, "blocks": blocks, "bytes": size},
        "state": "queued",
        "phase": imports.CHECK,
        "reason": "",
        "message": "",
        **dict.fromkeys(("next_chunk", "rows", "total", "created", "updated", "unchanged", "failed"), 0),
        "next_at": clock.wall_ms(),
    }
    return commit.create(store.imports, job, hashed)


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


def _keep(store: Store, file_id: str, number: int, block: bytes) -> None:
    expires = clock.wall() + policy.load(SERVICE).span("import_file_kept", clock.business())
    row: Document = {"_id": f"{file_id}:{number}", "data": block, "expire_at": expires}
    Transaction(store.client).insert(store.import_files, row).commit()


def cancel_import(store: Store, cause: Cause, shop_id: str, import_id: str) -> Outcome:
    """Stop an import of the shop before its next chunk. Raises Refusal NOT_FOUND, WRONG_STATE when it is over."""

    def decide(job: Document) -> Change | None:
        if job["shop_id"] != shop_id:
            raise not_found("import", import_id)
        wanted = imports.cancel(job)
        return wanted and replace(wanted, set={**wanted.set, "end_time": clock.business()})

    return commit.change(store.imports, import_id, cause, decide, kind="import")
