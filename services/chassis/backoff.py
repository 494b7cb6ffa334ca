"""Waiting longer after each failure, with jitter, so that many who failed together do not come back together."""

import random


def exponential(failures: int, first_ms: int, most_ms: int) -> int:
    """Milliseconds to wait after ``failures`` (1, 2, …) failures in a row: doubling from ``first_ms``, at most ``most_ms``, ± 25 %."""
    plain = min(most_ms, first_ms * 2 ** min(max(failures, 1) - 1, 30))
    return int(plain * random.uniform(0.75, 1.25))  # noqa: S311 - spreads retries, no secret
