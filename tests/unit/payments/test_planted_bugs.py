"""Whether the state machines of money would notice: one-line bugs are planted on rare paths, and each must be caught in some histories.

The suite plants a few of them, others in every run; all with ``EXAMPLES=all``.
"""

import os
import random

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from services.payments.model import payable, repricing
from tests.unit.payments.mutants import MUTANTS, planted
from tests.unit.payments.test_any_history import Trade
from tests.unit.payments.test_any_money import Money

HISTORIES = 3000
"""Most are caught in some ten of them, the rarest in some hundred."""
FEW = 4
SEARCHING = settings(
    max_examples=HISTORIES,
    stateful_step_count=40,
    phases=[Phase.generate],
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
BEFORE_IT_IS_PAID = (payable.__name__, repricing.__name__)


def is_caught(mutant):
    """Whether a history fails where the bug is planted."""
    machine = Trade if mutant[1].__module__ in BEFORE_IT_IS_PAID else Money
    with planted(mutant):
        try:
            run_state_machine_as_test(machine, settings=SEARCHING)
        except Exception as error:  # noqa: BLE001 - whatever notices it
            print(f"{mutant[0]}: {error!r}"[:300])
            return True
    return False


# What is tested must be the same in all processes that share the suite, so it is drawn here and not where tests are collected.
@pytest.mark.parametrize("_number", range(FEW))
def test_a_planted_bug_is_caught(_number):
    mutant = random.choice(MUTANTS)
    assert is_caught(mutant), f"{HISTORIES} histories did not notice: {mutant[0]}"


@pytest.mark.skipif(os.environ.get("EXAMPLES") != "all", reason="minutes: EXAMPLES=all")
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant[0])
def test_every_planted_bug_is_caught(mutant):
    assert is_caught(mutant), f"{HISTORIES} histories did not notice: {mutant[0]}"
