"""A description in HTML → detail blocks: plain text and images, nothing a browser could run."""

import html
import re
from collections.abc import Iterable
from typing import Final

import nh3

Block = tuple[str, str]
"""("text", plain text) or ("image", URL)."""
_BREAKS: Final = frozenset(
    {"p", "br", "div", "li", "ul", "ol", "tr", "table", "blockquote", "h1", "h2", "h3", "h4", "h5", "h6"}
)
_KEPT: Final = {*_BREAKS, "img"}
_DROPPED_WITH_CONTENT: Final = {"script", "style", "iframe", "noscript", "template", "object"}
_TAG: Final = re.compile(r"""<(/?)([a-z0-9]+)((?:\s+[a-z-]+="[^"]*")*)\s*/?>""")
_SOURCE: Final = re.compile(r'\ssrc="([^"]*)"')
_SPACES: Final = re.compile(r"[ \t\r\n\f\xa0]+")


def detail_blocks(source: str) -> tuple[Block, ...]:
    """Text blocks hold paragraphs separated by line breaks; images with anything but an http(s) address are dropped."""
    if "<" not in source:
        text = _lines(html.unescape(source).splitlines())
        return (("text", text),) if text else ()
    clean = nh3.clean(
        source,
        tags=_KEPT,
        clean_content_tags=_DROPPED_WITH_CONTENT,
        attributes={"img": {"src"}},
        url_schemes={"http", "https"},
        link_rel=None,
    )
    return tuple(_blocks(clean))


def _blocks(clean: str) -> list[Block]:
    blocks: list[Block] = []
    lines: list[str] = [""]
    at = 0
    for tag in _TAG.finditer(clean):
        lines[-1] += clean[at : tag.start()]
        at = tag.end()
        if tag[2] == "img":
            address = _SOURCE.search(tag[3])
            url = html.unescape(address[1]).strip() if address else ""
            if url.startswith(("http://", "https://", "//")):
                _flush(lines, blocks)
                blocks.append(("image", url))
        elif tag[2] in _BREAKS:
            lines.append("")
    lines[-1] += clean[at:]
    _flush(lines, blocks)
    return blocks


def _flush(lines: list[str], blocks: list[Block]) -> None:
    text = _lines(html.unescape(_SPACES.sub(" ", line)) for line in lines)
    if text:
        blocks.append(("text", text))
    lines[:] = [""]


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(stripped for line in lines if (stripped := _SPACES.sub(" ", line).strip()))
