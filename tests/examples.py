"""How many random examples a property is shown: all of them where CI is set, a third while one works."""

import os


def examples(whole: int) -> int:
    """``whole`` on CI or with ``EXAMPLES=all``; else a third, so that the suite is soon done. Each run draws others."""
    return whole if os.environ.get("CI") or os.environ.get("EXAMPLES") == "all" else whole // 3


def histories(whole: int) -> int:
    """How many random histories a state machine plays: ``HISTORIES`` of them where that is set (3000 takes minutes)."""
    return int(os.environ.get("HISTORIES") or examples(whole))
