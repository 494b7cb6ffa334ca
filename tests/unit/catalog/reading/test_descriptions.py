"""Descriptions in HTML: what becomes of them, and that none keeps the reader busy."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.catalog.jobs.importing.markup import detail_blocks
from tests.unit.catalog.reading.opening import HEAD, LIMITS, SHIRT, problems


def test_descriptions_become_blocks_without_anything_that_runs():
    source = (
        '<h1>Hi &amp; bye</h1><p>one<br>two</p><script>alert(1)</script><img src="https://example.com/a.jpg?x=1&amp;y=2" onerror="x()">'
        '<img src="javascript:alert(1)"><a href="javascript:x" onclick="y">link</a> tail &lt;b&gt;'
    )
    assert detail_blocks(source) == (
        ("text", "Hi & bye\none\ntwo"),
        ("image", "https://example.com/a.jpg?x=1&y=2"),
        ("text", "link tail <b>"),
    )
    assert detail_blocks("plain &amp; simple") == (("text", "plain & simple"),)
    assert detail_blocks("  ") == ()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("<p>a<!-- <p>b --> c", (("text", "a c"),)),
        ("a <b title='x>y'>b</b><STYLE>p{}</STYLE >c", (("text", "a bc"),)),
        ("<object>a<object>b</object>c</object>d", (("text", "d"),)),
        ("a<script>b", (("text", "a"),)),
        ("<<b>p>a", (("text", "<p>a"),)),
        ("<IMG data-src='https://x/1' alt=\"a>b\" SRC=//x/2>", (("image", "//x/2"),)),
        ("<img src='\"><script>x</script>'>a", (("text", "a"),)),
        ("a < b<?php p ?></ p>c", (("text", "a < bc"),)),
    ],
)
def test_what_stands_in_tags_and_comments_is_no_text(source, expected):
    assert detail_blocks(source) == expected


@pytest.mark.parametrize(
    "pattern", ["<div>", "<b id={0}><p>", "<object>", "<div><table></div></table>", "<!--", '<p a="', "<", "<img "]
)
def test_no_nesting_keeps_the_reader_busy(pattern):
    """Four times as long takes about four times as long; a tree of elements takes sixteen times."""

    def seconds(characters):
        source = "".join(pattern.format(n) for n in range(characters // len(pattern)))
        before = time.process_time()
        detail_blocks(source)
        return time.process_time() - before

    detail_blocks("<p>")
    assert seconds(LIMITS.html) < 10 * min(seconds(LIMITS.html // 4) for _ in range(3)) + 0.5


def test_html_above_its_limit_is_not_read_and_fails_its_product_alone():
    deep = "<div>" * (LIMITS.html // 5 + 1)
    assert problems(HEAD + f"a,A,{deep},true,Size,S,,,,1,9,,\n" + SHIRT) == [(2, "Body (HTML)", "TOO_LONG")]
    assert problems(f"external_id,title,price,description\na,A,9,{deep}\n", name="jishi-csv") == [
        (2, "description", "TOO_LONG")
    ]


@given(st.text(alphabet="<>/\"'= abimgsrcp&;:x\n", max_size=60))
def test_no_description_breaks_the_reader(source):
    for kind, content in detail_blocks(source):
        assert kind in ("text", "image")
        assert content.strip()
        if kind == "image":
            assert content.startswith(("http", "//"))
