"""What the chapters of the demo share: the API, the people and shops made so far, what was expected, and the figures."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from rich.progress import Progress, TaskID

from services.chassis import clock
from services.cli import world
from services.cli.api import Answer, Api
from services.cli.clocks import advance
from services.cli.world import Buyer, Merchant

T = TypeVar("T")
PATIENCE_S: Final = 20.0


class Abandoned(RuntimeError):
    """A chapter cannot go on: what it waited for did not come. Written down as a failure already."""


@dataclass(slots=True)
class Expectations:
    """What should have been, and was not."""

    kept: int = 0
    failures: list[str] = field(default_factory=list)
    chapter: str = ""

    def true(self, holds: object, what: str) -> bool:
        """Expect ``holds``; ``what`` says so in words."""
        if holds:
            self.kept += 1
        else:
            self.failures.append(f"{self.chapter}: {what}")
        return bool(holds)

    def equal(self, found: object, wanted: object, what: str) -> bool:
        """Expect ``found == wanted``."""
        return self.true(found == wanted, f"{what}: expected {wanted!r}, found {found!r}")

    def refused(self, answer: Answer, reason: str, what: str) -> bool:
        """Expect a refusal for ``reason`` (of the error catalogue), told as such."""
        found = f"{answer.status} {answer.reason} {answer.body.get('detail', answer.body)}"
        return self.true(
            not answer.fine and answer.reason == reason, f"{what}: expected a refusal {reason}, found {found}"
        )


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table at the end."""

    chapter: str
    what: str
    value: str


@dataclass(slots=True)
class Story:
    """The demo as it goes on."""

    api: Api
    bootstrap_secret: str
    products: Path
    progress: Progress
    expect: Expectations = field(default_factory=Expectations)
    figures: list[Figure] = field(default_factory=list)
    admin: Api = field(init=False)
    arbitrator: Api = field(init=False)
    auditor: Api = field(init=False)
    shops: list[Merchant] = field(default_factory=list)
    subscription: Merchant = field(init=False)
    buyers: list[Buyer] = field(default_factory=list)

    def figure(self, what: str, value: object) -> None:
        """Keep a figure for the table."""
        text = f"{value:,}" if isinstance(value, int) else str(value)
        self.figures.append(Figure(self.expect.chapter, what, text))

    @contextmanager
    def bar(self, text: str, total: int) -> Iterator[Callable[[int], None]]:
        """A progress bar; call what it yields with how much was done."""
        task: TaskID = self.progress.add_task(f"  {text}", total=total)
        try:
            yield lambda done: self.progress.advance(task, done)
        finally:
            self.progress.update(task, visible=False)

    def shop(self, number: int) -> Api:
        """The API as the merchant of the n-th shop (from 0)."""
        return self.api.as_caller(self.shops[number].token)

    def buyer(self, number: int) -> Api:
        """The API as the n-th buyer (from 0)."""
        return self.api.as_caller(self.buyers[number].token)

    def new_shop(self, name: str) -> Merchant:
        """A further open shop, for a chapter of its own."""
        return world.open_shop(self.admin, name)

    def new_buyer(self, name: str) -> Api:
        """The API as a further buyer."""
        return self.api.as_caller(world.buyer(self.api, name).token)

    def until(self, read: Callable[[], T], holds: Callable[[T], Any], what: str, within_s: float = PATIENCE_S) -> T:
        """Read again and again until ``holds``. Raises Abandoned (a failure) with what was read last."""
        end = clock.monotonic() + within_s
        while True:
            found = read()
            if holds(found):
                self.expect.kept += 1
                return found
            if clock.monotonic() > end:
                self.expect.failures.append(
                    f"{self.expect.chapter}: waited in vain for {what}; last: {str(found)[:600]}"
                )
                raise Abandoned(what)
            time.sleep(0.05)

    def advance(self, seconds: int = 0, until: Any = None) -> None:
        """Move the business clock and wait until the stack is quiet."""
        answer = advance(self.admin, seconds, until)
        self.expect.true(answer["quiet"], f"the stack comes to rest after the clock moved: {answer['busy']}")
