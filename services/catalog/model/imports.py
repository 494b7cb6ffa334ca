"""An import job: its states, its policies, and what ends it.

queued → validating → ready (dry run) | running → completed | failed | cancelled. Failed products alone do not fail a job.
A *retry* goes through the products again that failed in its origin; an *undo* puts back what its origin applied.
"""

from collections.abc import Mapping
from typing import Any, Final

from services.chassis.decisions import DONE, EARLY, STALE, Change, Decision, apply
from services.chassis.errors import Refusal, Violation, wrong_state

FORMATS: Final = ("shopify-csv", "jishi-csv", "jsonl", "xlsx")
_CSV: Final = ("csv", "txt")
EXTENSIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "shopify-csv": _CSV,
    "jishi-csv": _CSV,
    "jsonl": ("jsonl", "ndjson", "txt"),
    "xlsx": ("xlsx",),
}
"""How a file of each format may be called; a name without extension says nothing."""
POLICIES: Final = ("reject_all", "reject_failed", "stop_after_n")
WORKING: Final = frozenset({"queued", "validating", "running"})
CHECK: Final = "check"
"""The phase in which products are only compared: all of a dry run, and the first half of reject_all."""
RUN: Final = "run"
UPLOAD: Final = "upload"
RETRY: Final = "retry"
UNDO: Final = "undo"
OVER: Final = ("next_at", "working_for")
"""What a job has only while it is to be worked on."""


def check_options(file_format: str, policy: str, max_errors: int, file_name: str = "") -> str:
    """The policy in force (reject_failed when none is named). Raises Refusal INVALID_ARGUMENT naming every wrong field."""
    found: list[Violation] = []
    if file_format not in FORMATS:
        found.append(Violation("format", f"must be one of {', '.join(FORMATS)}"))
    else:
        found += _name_problems(file_format, file_name)
    found += policy_problems(policy, max_errors)
    if found:
        raise Refusal("INVALID_ARGUMENT", f"{found[0].field}: {found[0].message}", tuple(found))
    return policy or "reject_failed"


def _name_problems(file_format: str, file_name: str) -> list[Violation]:
    stem, dot, extension = file_name.rpartition(".")
    extension = extension.casefold()
    if not (stem and dot) or extension in EXTENSIONS[file_format] or not (extension.isascii() and extension.isalnum()):
        return []
    fitting = [name for name, extensions in EXTENSIONS.items() if extension in extensions]
    mend = f"send it as {' or '.join(fitting)}" if fitting else f"save it as .{EXTENSIONS[file_format][0]}"
    return [Violation("file", f"a file called .{extension[:20]} is no {file_format}; {mend}")]


def policy_problems(policy: str, max_errors: int) -> list[Violation]:
    """What is wrong with a policy and its max_errors."""
    if policy not in ("", *POLICIES):
        return [Violation("policy", f"must be one of {', '.join(POLICIES)}")]
    if policy == "stop_after_n" and max_errors < 1:
        return [Violation("max_errors", "stop_after_n needs max_errors of at least 1")]
    return []


def chunk_id(import_id: str, phase: str, number: int) -> str:
    """The id of a chunk follows from its place, so applying it again meets itself."""
    return f"{import_id}:{phase}:{number}"


def most_failed(job: Mapping[str, Any]) -> int | None:
    """How many more products may fail before the job stops; None for any number."""
    return job["max_errors"] - job["failed"] if job["policy"] == "stop_after_n" else None


def progress(job: Mapping[str, Any], number: int, counts: Mapping[str, int], place: int = 0) -> Change:
    """What chunk ``number`` with these counts does to the job: counters, where the next chunk begins in the file, and the end when its
    policy says stop.
    """
    values: dict[str, Any] = {"next_chunk": number + 1, **{name: job[name] + count for name, count in counts.items()}}
    values["place"] = place
    left = most_failed(job)
    if left is not None and counts["failed"] >= left:
        message = f"stopped after {values['failed']} failed products, as max_errors asks; what came before was applied"
        return Change(set={**values, "state": "failed", "reason": "TOO_MANY_ERRORS", "message": message}, unset=OVER)
    return Change(set=values)


def after_check(job: Mapping[str, Any]) -> Change:
    """All products were compared: a dry run is ready, a clean file goes on to be applied, another fails as a whole."""
    if job["dry_run"]:
        return Change(set={"state": "ready"}, unset=OVER)
    if job["failed"]:
        message = f"{job['failed']} of {job['total']} products are wrong and the policy is reject_all: nothing was applied; mend them and send the file again"
        nothing = {"created": 0, "updated": 0, "unchanged": 0}
        return Change(set={"state": "failed", "reason": "PRODUCTS_REJECTED", "message": message, **nothing}, unset=OVER)
    return start_running()


def start_running() -> Change:
    """From checking to writing: counters begin anew."""
    zero = dict.fromkeys(("next_chunk", "place", "created", "updated", "unchanged", "failed"), 0)
    return Change(set={"state": "running", "phase": RUN, **zero})


def cancel(job: Mapping[str, Any]) -> Change | None:
    """Stop a job that is not over; None when it is cancelled already. Raises Refusal WRONG_STATE."""
    if job["state"] == "cancelled":
        return None
    if job["state"] not in WORKING:
        raise wrong_state("import", job["_id"], job["state"], "queued, validating or running")
    if job["kind"] == UNDO:
        raise Refusal(
            "WRONG_STATE", f"{job['_id']} is an undo; it goes on to its end, so that nothing is left half put back"
        )
    message = "stopped by the merchant; what was applied before stays"
    return Change(set={"state": "cancelled", "reason": "CANCELLED", "message": message}, unset=OVER)


def check_retry(job: Mapping[str, Any]) -> None:
    """Whether the failed products of ``job`` can be gone through again. Raises Refusal WRONG_STATE, CONDITION_UNMET."""
    _check_over(job, "retried")
    if job["kind"] == UNDO or job["dry_run"]:
        kind = "an undo" if job["kind"] == UNDO else "a dry run"
        raise Refusal("CONDITION_UNMET", f"{job['_id']} is {kind}; send the file as an import")
    if job["phase"] != RUN:
        raise Refusal("CONDITION_UNMET", f"nothing of {job['_id']} was applied; send the whole file again")
    if not job["failed"]:
        raise Refusal("CONDITION_UNMET", f"no product of {job['_id']} failed")


def check_undo(job: Mapping[str, Any]) -> None:
    """Whether what ``job`` applied can be put back. Raises Refusal WRONG_STATE, CONDITION_UNMET."""
    _check_over(job, "undone")
    if job["kind"] == UNDO:
        raise Refusal("CONDITION_UNMET", f"{job['_id']} is an undo itself; import the file again instead")
    if job["phase"] != RUN or not job["created"] + job["updated"]:
        raise Refusal("CONDITION_UNMET", f"{job['_id']} changed nothing")


def _check_over(job: Mapping[str, Any], wanted: str) -> None:
    if job["state"] in WORKING:
        raise Refusal(
            "WRONG_STATE", f"{job['_id']} is {job['state']}; it can be {wanted} when it is over, or cancelled"
        )


def start_undo(origin: Mapping[str, Any]) -> Change:
    """From queued to putting back."""
    return Change(set={"state": "running", "phase": RUN, "total": origin["created"] + origin["updated"]})


def turn(older: int, most: int) -> int:
    """0 when a job before which ``older`` others of its shop are to be worked on may begin, ``most`` at once; else ms to wait."""
    return 0 if older < most else min(500 * (older - most + 1), 5_000)


def decide_import_noted(shop: Mapping[str, Any] | None, data: Mapping[str, Any]) -> Decision:
    """``import.completed``: the shop remembers the import that ended last."""
    if shop is None:
        return EARLY
    noted = shop.get("last_import")
    if noted is None or noted["at"] < data["end_time"]:
        return apply()
    return DONE if noted["import_id"] == data["import_id"] else STALE
