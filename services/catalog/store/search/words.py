"""Text to terms: Chinese cut into words by jieba's dictionary (rjieba), Latin and numbers as they stand, all in one shape.

Full-width letters are half-width ones (NFKC), case does not matter. A name is also indexed letter by letter, so that 连衣裙 finds whatever
holds these three letters side by side, however the dictionary cut it.
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

import rjieba

_LATIN: Final = re.compile(r"[a-z0-9]+(?:[.'-][a-z0-9]+)*")
_PART: Final = re.compile(r"[a-z]+|[0-9]+")
_HAN: Final = re.compile(r"[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+")
_LETTER: Final = re.compile(r"[a-z0-9]+|[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_FILLING: Final = frozenset("的了和与及或款个件之穿")
"""Said in between, and found nowhere in particular."""


def plain(text: str) -> str:
    """Half-width, lower case."""
    return unicodedata.normalize("NFKC", text).casefold()


def terms(text: str) -> list[str]:
    """Everything by which ``text`` is found: words and the words in them, Latin runs and their parts (iphone15: iphone, 15)."""
    shown = plain(text)
    found = [word for run in _HAN.findall(shown) for word in rjieba.cut_for_search(run)]
    for run in _LATIN.findall(shown):
        found.append(run)
        parts = _PART.findall(run)
        found += parts if len(parts) > 1 else []
    return found


def letters(text: str) -> list[str]:
    """The letters of ``text`` in order, a Latin run as one."""
    return _LETTER.findall(plain(text))


def heads(text: str) -> list[str]:
    """The last letters of the words of a name, which tell what it is: 连衣裙 and 半身裙 are 裙, 保温杯 is 杯."""
    return list(dict.fromkeys(word[-1] for run in _HAN.findall(plain(text)) for word in rjieba.cut(run)))


def head(word: str) -> str:
    """The letter by which people call a thing with two: 裙子, 包包; empty where ``word`` is no such name."""
    return word[0] if len(word) == 2 and word[1] in ("子", word[0]) and _HAN.match(word) else ""


def asked(text: str) -> list[str]:
    """The words of a question, each once, in order."""
    shown = plain(text)
    found = [word for run in _runs(shown) for word in (rjieba.cut(run) if _HAN.match(run) else [run])]
    return list(dict.fromkeys(word for word in found if word not in _FILLING)) or found[:1]


def is_latin(word: str) -> bool:
    """Whether it may be misspelt by a letter."""
    return word.isascii() and word.isalpha()


def _runs(shown: str) -> Iterator[str]:
    at = 0
    while at < len(shown):
        match = _LATIN.match(shown, at) or _HAN.match(shown, at)
        if match is None:
            at += 1
            continue
        yield match.group()
        at = match.end()
