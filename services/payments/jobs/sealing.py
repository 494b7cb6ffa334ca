"""Sealing the journal: whatever was written since the last round goes into the next blocks of the chain.

Any number of processes may try: a block's number is taken once. One that dies between two lines leaves nothing half done, since a
block, the sums of its periods and the place to go on from are one write.

An entry may become visible after the round that should have sealed it: its writer slept, or has a clock that is behind. So every time is
looked at again after each pause of ``seal_again``, and between that the whole journal, a block's time a round, over and over.
"""

import contextlib
from collections.abc import Callable
from typing import Final

from services.chassis import clock, policy
from services.chassis.commit import Shortfall, Taken
from services.chassis.mongo import Document
from services.chassis.reacting import JobRun
from services.payments.model.sealing import BLOCK, is_late
from services.payments.store import Store, sealing

EVERYTHING: Final = "all"
"""The look that begins anew when it has come to the end."""
STEPS: Final = 20
"""Blocks whose time one look goes through in one round: more than a round seals, so that none is left behind for ever."""
Keep = Callable[[], None]


def run(run: JobRun) -> None:
    """One round; the next follows after ``seal_every``."""
    seal_all(Store(run.database), run.keep)
    pause = policy.load("payments").span("seal_every", clock.business())
    run.later(int(pause.total_seconds() * 1000))


def seal_all(store: Store, keep: Keep) -> int:
    """Seal what is in no block yet; how many entries. Where another process seals at the same time it has ours too."""
    done = 0
    with contextlib.suppress(Taken, Shortfall):
        while sealing.sum_up(store):
            keep()
        done += _seal_new(store, keep)
        done += _look_again(store, keep)
    return done


def _seal_new(store: Store, keep: Keep) -> int:
    found = sealing.unsealed(store)
    rows, last, done = found.rows, found.last, 0
    while done < len(rows):
        part = rows[done : done + BLOCK]
        is_last = done + len(part) == len(rows)
        # No further than now, whatever a clock that is ahead has written: others may still write until then.
        reached = found.until if is_last else min(part[-1]["written_at"], found.until)
        last = sealing.seal(store, last, part, reached)
        done += len(part)
        keep()
    if not rows:
        sealing.nothing_until(store, found.until)
    return done


# --------------------------------------------------------------------------------------------------------- what came late


def _look_again(store: Store, keep: Keep) -> int:
    """Seal what became visible after its time; how many entries."""
    places, done = dict(sealing.standing(store).get("looked", {})), 0
    for pause_s in policy.load("payments").value("seal_again", clock.business()):
        name, old = str(pause_s), clock.wall_ms() - pause_s * 1000
        for _ in range(STEPS):
            number = places.get(name, 0)
            ahead = sealing.block(store, number + 1)
            if ahead is None or ahead["reached"] > old:
                break
            places[name] = number + 1
            done += _looked(store, name, number, keep)
    return done + _looked(store, EVERYTHING, places.get(EVERYTHING, 0), keep)


def _looked(store: Store, name: str, number: int, keep: Keep) -> int:
    """Look at the time of the block behind ``number``, and remember that; how many entries were sealed."""
    rows, last, is_there = sealing.overlooked(store, number)
    late = [row for row in rows if is_late(row["written_at"], last)]
    for told_late, found in ((True, late), (False, [row for row in rows if row not in late])):
        last = _seal_old(store, last, found, keep, late=told_late)
    sealing.looked(store, name, number + 1 if is_there else 0)
    return len(rows)


def _seal_old(store: Store, last: Document | None, rows: list[Document], keep: Keep, *, late: bool) -> Document | None:
    for first in range(0, len(rows), BLOCK):
        part = rows[first : first + BLOCK]
        last = sealing.seal(store, last, part, last["reached"] if last else part[-1]["written_at"], late=late)
        keep()
    return last
