"""Orders of every kind and all that is done with money, by several people at once on two of every process, which are killed -9 at
random, while the clock passes midnight and the end of a month (CST): who was told of a success finds it, nothing is stuck, the books close.

``make faults`` (``KILLS=20``) does every errand twice, with as many deaths; ``KILLS=10`` once, ``KILLS=4`` some of them. The suite leaves it out: it takes
both cores for half a minute. ``MARKET_SEED`` plays one again, as far as processes that race can be.
"""

import os
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from services.chassis import clock
from services.chassis.calendar import day
from services.cli.api import Api
from tests.backends.processes import wait_until
from tests.faults import closing
from tests.faults.clients import repeated
from tests.faults.conftest import DoubledStack
from tests.faults.market import Market
from tests.faults.monies import MONIES
from tests.faults.test_repeats import told_now
from tests.faults.trades import TRADES, parcels
from tests.faults.traffic import Town

KILLS = int(os.environ.get("KILLS", "0"))
pytestmark = [
    pytest.mark.needs_rabbitmq,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not KILLS, reason="long: make faults, or KILLS=4"),
]
FEW = 9
"""Errands of a short market."""
LONG = 10
"""So many deaths to every errand done once; fewer are a short market."""
WRITES = 6
"""Writes of an errand, on average: the trouble is spread over all of them."""


@pytest.fixture(scope="module")
def stack(rabbit_stack) -> DoubledStack:
    """Two of every process."""
    return rabbit_stack


@pytest.fixture(scope="module")
def town(stack) -> Iterator[Town]:
    """An admin and two shops."""
    api = Api(stack.url)
    yield Town.found(api, stack.bootstrap_secret, "集")
    api.close()


def troubles(stack, broker, market, kills):
    """What happens to the house, in its order: deaths of all kinds, and the two boundaries, which are passed in the middle of the trade."""
    rng = market.rng
    names = [name for name in stack.children if name != "database"]
    rng.shuffle(names)
    deaths = [names[number % len(names)] for number in range(kills - 1)] + ["database"]
    deaths += ["rabbitmq"] if KILLS >= LONG and hasattr(broker, "has_saved") else []
    rng.shuffle(deaths)
    acts = [(f"{name} dies", lambda _, name=name: die(stack, broker, name)) for name in deaths]
    for number, boundary in enumerate((market.midnight, market.month_end), 1):
        act = boundary.__name__, lambda pool, boundary=boundary: passes(pool, market, boundary())
        acts.insert(number * len(acts) // 3 + number - 1, act)
    return acts


def die(stack, broker, name):
    """Kill -9; who was killed is started again."""
    if name != "rabbitmq":
        stack.die(name)
        return
    broker.kill()
    broker.start()


def passes(pool, market, boundary):
    """The clock is moved to a moment before, and goes on by itself."""
    before = boundary - timedelta(seconds=1)
    pool.submit(market.move_clock, before)
    wait_until(lambda: market.now() >= before, "the clock to be moved")


def test_a_market_while_processes_die_and_the_month_ends(stack, town, broker):
    seed = int(os.environ.get("MARKET_SEED", secrets.randbelow(1_000_000)))
    began = clock.wall()
    market = Market(town, f"mk{seed}", seed, channel=stack.channel_url)
    rng = market.rng
    every = [*TRADES, *MONIES]
    errands = every * (KILLS // LONG) or rng.sample(every, FEW)
    acts = troubles(stack, broker, market, KILLS)
    print(f"seed {seed}: {[name for name, _ in acts]}; {[errand.__name__ for errand in errands]}")

    def trouble(market):
        moments = sorted(rng.sample(range(5, 5 + WRITES * len(errands)), len(acts)))
        with ThreadPoolExecutor(2) as pool:
            for moment, (name, act) in zip(moments, acts, strict=True):
                market.busy(moment)
                print(f"{clock.wall():%H:%M:%S} after {len(market.journal.lines)} answers: {name}")
                act(pool)
            market.again(parcels, f"{market.name}-last")

    try:
        market.run(errands, trouble)
        stack.forgive()
        stack.wait_healthy()
        days = closing.crossed(stack)
        assert len({one[:7] for one in days}) > 1, f"no order was placed in the next month: {sorted(days)}"
        closing.pass_all_time(market)
        changed = repeated(market.journal, told_now)
        assert not changed, "\n".join(changed)
        closing.reconciled(market, {day(began), day(clock.wall())})
        stack.audited()
        broken = market.kept()
        assert not broken, "\n".join(broken)
        assert closing.stuck(stack) == []
        closing.sealed(stack, market)
        closing.billed(stack, market)
    except BaseException:
        print(stack.loud())
        raise
    finally:
        market.close()
