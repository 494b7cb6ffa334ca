"""Whether the state machine of money would notice: one-line bugs are planted on rare paths, and each must be caught in few histories.

The suite plants some of them, others in every run; all with ``EXAMPLES=all``.
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

HISTORIES = 1500
FEW = 6
SEARCHING = settings(
    max_examples=HISTORIES,
    stateful_step_count=40,
    phases=[Phase.generate],
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
BEFORE_IT_IS_PAID = (payable.__name__, repricing.__name__)
CHOSEN = MUTANTS if os.environ.get("EXAMPLES") == "all" else random.sample(MUTANTS, FEW)


@pytest.mark.parametrize("mutant", CHOSEN, ids=lambda mutant: mutant[0])
def test_a_planted_bug_is_caught(mutant):
    caught, machine = None, Trade if mutant[1].__module__ in BEFORE_IT_IS_PAID else Money
    with planted(mutant):
        try:
            run_state_machine_as_test(machine, settings=SEARCHING)
        except Exception as error:  # noqa: BLE001 - whatever notices it
            caught = error
    assert caught is not None, f"{HISTORIES} histories did not notice: {mutant[0]}"
