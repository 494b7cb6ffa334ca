"""An import job: its states, its policies, and what ends it.

queued → validating → ready (dry run) | running → completed | failed | cancelled. Failed products alone do not fail a job.
"""

from collections.abc import Mapping
from typing import Any, Final

from services.chassis.decisions import Change
from services.chassis.errors import Refusal, Violation, wrong_state

FORMATS: Final = ("shopify-csv", "jishi-csv")
POLICIES: Final = ("reject_all", "reject_failed", "stop_after_n")
WORKING: Final = frozenset({"queued", "validating", "running"})
CHECK: Final = "check"
"""The phase in which products are only compared: all of a dry run, and the first half of reject_all."""
RUN: Final = "run"


def check_options(file_format: str, policy: str, max_errors: int) -> str:
    """The policy in force (reject_failed when none is named). Raises Refusal INVALID_ARGUMENT naming every wrong field."""
    found: list[Violation] = []
    if file_format not in FORMATS:
        found.append(Violation("format", f"must be one of {', '.join(FORMATS)}"))
    found += policy_problems(policy, max_errors)
    if found:
        raise Refusal("INVALID_ARGUMENT", f"{found[0].field}: {found[0].message}", tuple(found))
    return policy or "reject_failed"


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


def progress(job: Mapping[str, Any], number: int, counts: Mapping[str, int]) -> Change:
    """What chunk ``number`` with these counts does to the job: counters, and the end when its policy says stop."""
    values: dict[str, Any] = {"next_chunk": number + 1, **{name: job[name] + count for name, count in counts.items()}}
    left = most_failed(job)
    if left is not None and counts["failed"] >= left:
        message = f"stopped after {values['failed']} failed products, as max_errors asks; what came before was applied"
        return Change(
            set={**values, "state": "failed", "reason": "TOO_MANY_ERRORS", "message": message}, unset=("next_at",)
        )
    return Change(set=values)


def after_check(job: Mapping[str, Any]) -> Change:
    """All products were compared: a dry run is ready, a clean file goes on to be applied, another fails as a whole."""
    if job["dry_run"]:
        return Change(set={"state": "ready"}, unset=("next_at",))
    if job["failed"]:
        message = f"{job['failed']} of {job['total']} products are wrong and the policy is reject_all: nothing was applied; mend them and send the file again"
        nothing = {"created": 0, "updated": 0, "unchanged": 0}
        return Change(
            set={"state": "failed", "reason": "PRODUCTS_REJECTED", "message": message, **nothing}, unset=("next_at",)
        )
    return start_running()


def start_running() -> Change:
    """From checking to writing: counters begin anew."""
    zero = dict.fromkeys(("next_chunk", "created", "updated", "unchanged", "failed"), 0)
    return Change(set={"state": "running", "phase": RUN, **zero})


def cancel(job: Mapping[str, Any]) -> Change | None:
    """Stop a job that is not over; None when it is cancelled already. Raises Refusal WRONG_STATE."""
    if job["state"] == "cancelled":
        return None
    if job["state"] not in WORKING:
        raise wrong_state("import", job["_id"], job["state"], "queued, validating or running")
    message = "stopped by the merchant; what was applied before stays"
    return Change(set={"state": "cancelled", "reason": "CANCELLED", "message": message}, unset=("next_at",))
