"""kill -9 of every process of the embedded stack, in the middle of its work: the story finishes and the audit is clean."""

import pytest

from tests.faults.traffic import EVERYTHING, Traffic

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def round_of(town, stack, seed, request):
    """``round_of(errands, trouble)``: traffic with trouble, then everything is checked and audited."""
    started = []

    def go(trouble, errands=EVERYTHING):
        traffic = Traffic(town, f"{request.node.originalname[5:15]}{seed}", seed)
        started.append(traffic)
        traffic.run(errands, trouble)
        stack.forgive()
        traffic.settle()
        traffic.check()
        stack.audited()
        return traffic

    yield go
    for traffic in started:
        traffic.close()


def test_quiet_traffic(round_of):
    round_of(lambda _: None)
