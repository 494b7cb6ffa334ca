"""The audit itself: wait until the stack is quiet, then make every check there is."""

from collections.abc import Callable, Iterator
from typing import Any, Final

from services.chassis import mongo, presence, subscriptions
from services.chassis.settings import SERVICES, Settings
from services.cli.audit import bills, broadcast, catalog, events, ledger, orders, seal, stock
from services.cli.audit.report import WAIT_S, Checked, Finding, Report, Wrong
from services.cli.audit.world import Check, World, name_of, seen

CHECKS: Final[tuple[Check, ...]] = (
    *stock.CHECKS,
    *catalog.CHECKS,
    *ledger.CHECKS,
    *seal.CHECKS,
    *bills.CHECKS,
    *orders.CHECKS,
    *broadcast.CHECKS,
    *events.CHECKS,
)
Progress = Callable[[str], Any]


def audit(
    settings: Settings, *, wait_s: float = WAIT_S, stopped: bool = False, progress: Progress = lambda _name: None
) -> Report:
    """Prove that nothing was lost or invented in the databases that ``settings`` name.

    Where the stack runs it waits up to ``wait_s`` seconds until nothing is left to do, and says what is stuck otherwise. One that was
    ``stopped``, or none of whose processes tells that it lives, is judged as it lies. ``progress`` hears the name of each check
    before it is made.
    """
    client = mongo.connect(settings)
    try:
        world = seen(client, settings, stopped=stopped)
        stuck = Checked(
            "quiet", "Nothing is left to do: outboxes, queues, waiting deliveries, timers and jobs are empty."
        )
        progress(stuck.check)
        if world.running:
            stuck.take(quiet(world, wait_s))
            world = seen(client, settings)
        report = Report(world.now, world.running, [stuck])
        log = events.Log(subscriptions.workers())
        for check in (*CHECKS, log.decidable, log.decided):
            progress(name_of(check))
            made = Checked(name_of(check), str(check.__doc__).strip().partition("\n")[0])
            made.take(check(world))
            report.checks.append(made)
        report.pairs = log.pairs
        return report
    finally:
        client.close()


def quiet(world: World, wait_s: float) -> Iterator[Finding]:
    """What is stuck after ``wait_s`` seconds; nothing, as soon as the stack is quiet."""
    shared = world.database("jishi")
    roles = set(shared["quiet"].distinct("service", {"role": "jobs"}))
    wanted = presence.expected(SERVICES, sorted(roles & subscriptions.jobs().keys()))
    problems = presence.wait_quiet(shared, wanted, wait_s, world.offset_ms)
    yield None
    yield from (Wrong("the stack", f"quiet within {wait_s:g} s", problem) for problem in problems)
