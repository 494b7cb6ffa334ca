"""What a text that people type may hold."""

import re
from typing import Final

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CONTROL_IN_LINES: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def has_control(text: str, *, lines: bool = False) -> bool:
    """Whether ``text`` holds a control character (Unicode category Cc); with ``lines`` line ends and tabs are none."""
    return (_CONTROL_IN_LINES if lines else _CONTROL).search(text) is not None
