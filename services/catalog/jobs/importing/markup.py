"""A description in HTML → detail blocks: plain text and images, nothing a browser could run."""

import html
import re
from collections.abc import Iterable, Iterator
from typing import Final

import nh3

Block = tuple[str, str]
"""("text", plain text) or ("image", URL)."""
_BREAKS: Final = frozenset(
    {"p", "br", "div", "li", "ul", "ol", "tr", "table", "blockquote", "h1", "h2", "h3", "h4", "h5", "h6"}
)
_KEPT: Final = {*_BREAKS, "img"}
_DROPPED_WITH_CONTENT: Final = {"script", "style", "iframe", "noscript", "template", "object"}
_NESTABLE: Final = {"template", "object"}
_TOKEN: Final = re.compile(
    r"""<!--(?:-?>|.*?(?:--!?>|\Z))"""
    r"""|<(?P<end>/?)(?P<name>[a-zA-Z][^\s/>]*+)"""
    r"""(?P<rest>(?:[^>=]++|=[ \t\r\n\f]*+(?:"[^"]*+(?:"|\Z)|'[^']*+(?:'|\Z))|=)*+)(?:>|\Z)"""
    r"""|<[!?/][^>]*+(?:>|\Z)""",
    re.DOTALL,
)
"""A comment, a tag, or what browsers take for a comment. Possessive: no source makes it look at a character more than a few times."""
_ATTRIBUTE: Final = re.compile(r"""([^\s/=]++)(?:\s*+=\s*+(?:"([^"]*+)"?|'([^']*+)'?|([^\s]++)))?""")
_TAG: Final = re.compile(r"""<(/?)([a-z0-9]+)((?:\s+[a-z-]+="[^"]*")*)\s*/?>""")
_SOURCE: Final = re.compile(r'\ssrc="([^"]*)"')
_SPACES: Final = re.compile(r"[ \t\r\n\f\xa0]+")


def detail_blocks(source: str) -> tuple[Block, ...]:
    """Text blocks hold paragraphs separated by line breaks; images with anything but an http(s) address are dropped.

    Takes time in proportion to ``source``, however deep its tags are nested.
    """
    if "<" not in source:
        text = _lines(html.unescape(source).splitlines())
        return (("text", text),) if text else ()
    clean = nh3.clean(
        "".join(_flat(source)),
        tags=_KEPT,
        attributes={"img": {"src"}},
        url_schemes={"http", "https"},
        link_rel=None,
    )
    return tuple(_blocks(clean))


def _flat(source: str) -> Iterator[str]:
    """The same text, breaks and images without any nesting.

    A browser's tree of elements costs the square of its depth, and unclosed ``<b>`` are repeated in every paragraph; so nh3 is given
    elements that hold nothing. ``<wbr>`` stands where a tag was, lest what stood around it make a new one.
    """
    at = 0
    while (token := _TOKEN.search(source, at)) is not None:
        yield source[at : token.start()]
        at = token.end()
        name = (token["name"] or "").lower()
        if name == "img" and not token["end"]:
            yield f'<img src="{html.escape(_address(token["rest"]))}">'
        else:
            yield "<br>" if name in _BREAKS else "<wbr>"
        if name in _DROPPED_WITH_CONTENT and not token["end"]:
            at = _end_of(name, source, at)
    yield source[at:]


def _address(attributes: str) -> str:
    for found in _ATTRIBUTE.finditer(attributes):
        if found[1].lower() == "src":
            return html.unescape(found[2] or found[3] or found[4] or "")
    return ""


def _end_of(name: str, source: str, at: int) -> int:
    """Where the element that was opened before ``at`` is closed; the end of ``source`` if it never is."""
    depth = 1
    for tag in re.compile(rf"<(/?){name}(?=[\s/>])", re.IGNORECASE).finditer(source, at):
        depth += -1 if tag[1] else name in _NESTABLE
        if not depth:
            return tag.start()
    return len(source)


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
