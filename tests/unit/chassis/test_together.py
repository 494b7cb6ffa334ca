"""What waits at the same time is done in one round, and nobody waits behind a round that is not theirs."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from services.chassis.together import Together
from tests.backends.processes import wait_until

ASKING = 16


class Rounds:
    """Work that can be held up: every round is noted, and answers tenfold."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.open, self.began = threading.Event(), threading.Event()
        self.open.set()

    def __call__(self, items):
        self.sizes.append(len(items))
        self.began.set()
        assert self.open.wait(20)
        return [ValueError(item) if item < 0 else item * 10 for item in items]


@pytest.fixture
def rounds() -> Rounds:
    return Rounds()


def test_a_lone_request_is_a_round_of_its_own(rounds):
    together = Together(rounds)
    assert [together.ask(number) for number in range(3)] == [0, 10, 20]
    assert rounds.sizes == [1, 1, 1]


def test_who_comes_while_a_round_is_under_way_is_part_of_the_next_one(rounds):
    together = Together(rounds)
    rounds.open.clear()
    with ThreadPoolExecutor(ASKING) as pool:
        first = pool.submit(together.ask, 0)
        assert rounds.began.wait(20)
        others = [pool.submit(together.ask, number) for number in range(1, ASKING)]
        wait_until(lambda: len(together._waiting) == ASKING - 1, "all to wait")
        rounds.open.set()
        assert [one.result(20) for one in (first, *others)] == [number * 10 for number in range(ASKING)]
    assert rounds.sizes == [1, ASKING - 1]


def test_who_has_an_answer_goes_while_the_next_round_is_under_way(rounds):
    together = Together(rounds, most=2)
    rounds.open.clear()
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(together.ask, 0)
        assert rounds.began.wait(20)
        pairs = [pool.submit(together.ask, number) for number in (1, 2, 3)]
        wait_until(lambda: len(together._waiting) == 3, "three to wait")
        held = threading.Event()
        together._work = lambda items: rounds(items) if len(items) > 1 else (held.wait(20), rounds(items))[1]
        rounds.open.set()
        assert first.result(20) == 0
        answered = lambda: sum(one.done() for one in pairs) == 2  # noqa: E731 - said where it is asked
        wait_until(answered, "those of the second round to go, while the third is held up")
        held.set()
        assert sorted(one.result(20) for one in pairs) == [10, 20, 30]
    assert rounds.sizes == [1, 2, 1]


def test_each_gets_its_own_refusal_and_what_breaks_a_round_breaks_it_for_all_of_it(rounds):
    together = Together(rounds)
    assert together.ask(1) == 10
    with pytest.raises(ValueError, match="-1"):
        together.ask(-1)
    short = Together(lambda _items: [])
    for _ in range(2):
        with pytest.raises(ValueError, match="shorter"):
            short.ask(1)


def test_a_killed_leader_leaves_the_lead_to_the_next(rounds):
    together, killed = Together(rounds), threading.Event()

    def dies(_items):
        killed.wait(20)
        together._work = rounds
        raise KeyboardInterrupt

    together._work = dies
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(together.ask, 1)
        wait_until(lambda: together._is_led and not together._waiting, "the round to begin")
        second = pool.submit(together.ask, 2)
        wait_until(lambda: len(together._waiting) == 1, "another to wait")
        killed.set()
        assert isinstance(first.exception(20), KeyboardInterrupt)
        assert second.result(20) == 20
    assert together.ask(3) == 30


def test_many_at_once_are_all_answered_in_few_rounds(rounds):
    together = Together(rounds)
    with ThreadPoolExecutor(ASKING) as pool:
        assert list(pool.map(together.ask, range(2000))) == [number * 10 for number in range(2000)]
    assert sum(rounds.sizes) == 2000
    assert not together._is_led
    assert not together._waiting
