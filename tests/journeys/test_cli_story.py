"""The demo's chapters on the journeys' stack: what `make demo` shows holds on every backend."""

import io

import pytest
from rich.console import Console
from rich.progress import Progress

from services.cli.demo.run import CHAPTERS, SAMPLE, chapter
from services.cli.demo.story import Story

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def story(stack, api):
    return Story(api, stack.bootstrap_secret, SAMPLE, Progress(console=Console(file=io.StringIO())))


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_chapter_holds(story, name):
    before = len(story.expect.failures)
    assert chapter(story, CHAPTERS[name]), story.expect.failures[before:]
    assert story.expect.failures[before:] == []
    assert any(figure.chapter == CHAPTERS[name].TITLE for figure in story.figures)
