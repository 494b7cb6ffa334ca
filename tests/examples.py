"""How many random examples a property is shown: all of them where CI is set, a third while one works."""

import os


def examples(whole: int) -> int:
    """``whole`` on CI or with ``EXAMPLES=all``; else a third, so that the suite is soon done. Each run draws others."""
    return whole if os.environ.get("CI") or os.environ.get("EXAMPLES") == "all" else whole // 3
