"""Sealing the journal: whatever was written since the last round goes into the next blocks of the chain.

Any number of processes may try: a block's number is taken once. One that dies between two lines leaves nothing half done, since a
block, the sums of its periods and the place to go on from are one write.
"""

import contextlib
from collections.abc import Callable

from services.chassis import clock, policy
from services.chassis.commit import Shortfall, Taken
from services.chassis.reacting import JobRun
from services.payments.model.sealing import BLOCK
from services.payments.store import Store, sealing


def run(run: JobRun) -> None:
    """One round; the next follows after ``seal_every``."""
    seal_all(Store(run.database), run.keep)
    pause = policy.load("payments").span("seal_every", clock.business())
    run.later(int(pause.total_seconds() * 1000))


def seal_all(store: Store, keep: Callable[[], None]) -> int:
    """Seal what is in no block yet; how many entries. Where another process seals at the same time it has ours too."""
    found = sealing.unsealed(store)
    rows, last, done = found.rows, found.last, 0
    with contextlib.suppress(Taken, Shortfall):
        while done < len(rows):
            part = rows[done : done + BLOCK]
            is_last = done + len(part) == len(rows)
            last = sealing.seal(store, last, part, found.until if is_last else part[-1]["written_at"])
            done += len(part)
            keep()
        if not rows:
            sealing.nothing_until(store, found.until)
    return done
