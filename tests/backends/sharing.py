"""Which tests stay together in one process when several share the suite, and which are begun first.

xdist has groups of its own (``--dist loadgroup``), but marks them in a way that pytest 9.2 no longer sees: every test goes alone, and each
process starts every stack and every broker. Until they agree again the suite has this scheduler.
"""

from collections.abc import Iterable

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

PLACES = (
    ("tests/journeys/test_cli_up.py", ""),
    ("tests/journeys/", "journeys"),
    ("tests/faults/test_processes_killed.py", "mortal stack"),
    ("tests/faults/test_imports_killed.py", "mortal stack"),
    ("tests/faults/test_repeats.py", "mortal stack"),
    ("tests/faults/test_search_killed.py", "mortal stack"),
    ("tests/faults/test_strangers.py", "mortal stack"),
    ("tests/faults/test_whatever_is_sent.py", "mortal stack"),
    ("tests/faults/test_mixed_orders.py", "broker of the faults"),
    ("tests/faults/test_rabbitmq_killed.py", "broker of the faults"),
    ("tests/faults/test_events_broker.py", "broker of the faults"),
    ("tests/faults/test_events_database.py", "broker of the faults"),
    ("tests/faults/test_any_order.py", "theatre"),
    ("tests/faults/test_long_after.py", ""),
    ("tests/contract/test_tooling_backends.py", "broker of the contracts"),
    ("tests/contract/test_worker_process.py", "broker of the contracts"),
    ("tests/contract/test_worker_relay.py", "broker of the contracts"),
    ("tests/contract/sdk/", "sdk"),
    ("tests/contract/bench/", "bench"),
    ("tests/contract/audit/test_audit_finds.py", "audited house"),
    ("tests/contract/test_process_kinds.py", ""),
    ("tests/contract/channel/", "channel"),
)
"""Where a test's id begins → its group; "": each goes alone. Those that take longest first, so that nobody waits for them in the end.

Together are those that share what is dear to start: a stack, a broker, a house with a story behind it.
"""


def group_of(node_id: str) -> str:
    """The group that stays in one process; "" for a test that goes anywhere."""
    return next((group for start, group in PLACES if node_id.startswith(start)), "")


def longest_first(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """In the order of ``PLACES``, a group where its first member stands; then everybody else as they were."""
    groups = [group for _, group in PLACES]

    def rank(item: pytest.Item) -> int:
        place = next((n for n, (start, _) in enumerate(PLACES) if item.nodeid.startswith(start)), len(PLACES))
        group = group_of(item.nodeid)
        return groups.index(group) if group else place

    return sorted(items, key=rank)


class InGroups(LoadScopeScheduling):
    """Hands out groups whole and everything else one by one, in the order of collection (``--no-loadscope-reorder``)."""

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        super().__init__(config, log)
        self.config.option.loadscopereorder = False

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid) or nodeid
