"""Pauses grow, stay below their bound, and differ from each other."""

from services.chassis.backoff import exponential


def test_pauses_double_up_to_the_bound_with_jitter():
    for failures, plain in ((1, 500), (2, 1000), (5, 8000), (9, 60_000), (10_000, 60_000)):
        pauses = [exponential(failures, 500, 60_000) for _ in range(50)]
        assert all(plain * 0.74 <= pause <= plain * 1.26 for pause in pauses)
        assert len(set(pauses)) > 1
