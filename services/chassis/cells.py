"""Texts in files that people open with a spreadsheet program.

A cell that begins with ``= + - @`` or a tab is run as a formula there (CSV injection, CWE-1236), so an apostrophe goes before it. One
also goes before an apostrophe that could be taken for ours, so that reading takes off exactly what writing put on.
"""

from typing import Final

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_GUARDED: Final = (*_FORMULA, "'")


def safe(text: str) -> str:
    """``text`` as it may stand in a cell."""
    if text.startswith(_FORMULA) or (text.startswith("'") and text[1:].startswith(_GUARDED)):
        return "'" + text
    return text


def plain(text: str) -> str:
    """What ``safe`` was given."""
    return text[1:] if text.startswith("'") and text[1:].startswith(_GUARDED) else text
