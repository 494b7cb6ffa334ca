"""Careful clients: each repeats a request under its own idempotency key until it is answered, and writes the answer down."""

import itertools
import json
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx

from services.cli.api import Answer, Api
from tests.backends.processes import PATIENCE_S, wait_until

PASSING = frozenset({"STILL_RUNNING", "VERSION_CONFLICT", "UNAVAILABLE", "BACKLOG_FULL", "DEADLINE_EXCEEDED"})
"""Reasons after which a careful client repeats the request."""
AGAIN = "SYSTEM_ERROR"
"""The channel's word for it: call again with the same parameters."""
REPLAYED = "Idempotency-Replayed"
AT_ONCE = 5


class GivenUpError(RuntimeError):
    """An answer that no client should get, or none for too long."""


class RefusedError(GivenUpError):
    """A refusal that asking again does not change."""

    def __init__(self, call: str, answer: Answer) -> None:
        super().__init__(f"{call} → {answer}")
        self.answer = answer


@dataclass(frozen=True)
class Acknowledged:
    """A write that was answered with success: what to send to repeat it, and the answer."""

    api: Api
    method: str
    path: str
    given: Mapping[str, Any]
    key: str
    answer: Answer


class Journal:
    """Everything that was acknowledged, and how many requests are in flight now. Thread-safe."""

    def __init__(self) -> None:
        self.lines: list[Acknowledged] = []
        self.in_flight = 0
        self._lock = threading.Lock()

    def begin(self) -> None:
        with self._lock:
            self.in_flight += 1

    def end(self, line: Acknowledged | None) -> None:
        with self._lock:
            self.in_flight -= 1
            if line is not None:
                self.lines.append(line)


class Client:
    """One person: writes under keys of their own, repeated until they are answered."""

    def __init__(self, api: Api, name: str, journal: Journal) -> None:
        self.api, self.name, self.journal = api, name, journal
        self._steps = itertools.count(1)  # several threads may act for one merchant, each with a key of its own

    def acting(self, token: str) -> "Client":
        """The same person with another token; keys stay apart."""
        return Client(self.api.as_caller(token), f"{self.name}/{token[-8:]}", self.journal)

    def post(self, path: str, body: Mapping[str, Any] | None = None, **given: Any) -> dict[str, Any]:
        """The body of the answer to a POST; ``given``: form, files. Raises GivenUpError."""
        return self.write("POST", path, **(given or {"body": body or {}}))

    def write(self, method: str, path: str, *, key: str = "", **given: Any) -> dict[str, Any]:
        """The body of the answer. Raises GivenUpError."""
        key = key or f"{self.name}-{next(self._steps)}"
        self.journal.begin()
        line = None
        try:
            answer = patiently(self.api, method, path, key=key, **given)
            line = Acknowledged(self.api, method, path, given, key, answer)
        finally:
            self.journal.end(line)
        return answer.body

    def get(self, path: str, **params: Any) -> dict[str, Any]:
        """The body of the answer. Raises GivenUpError."""
        return patiently(self.api, "GET", path, params=params).body

    def until(self, path: str, holds: Callable[[dict[str, Any]], Any], what: str, **params: Any) -> dict[str, Any]:
        """Read ``path`` until it is as wanted."""
        found: dict[str, Any] = {}

        def read() -> bool:
            found.clear()
            found.update(self.get(path, **params))
            return bool(holds(found))

        try:
            wait_until(read, what, seconds=PATIENCE_S, every=0.1)
        except TimeoutError as error:
            raise GivenUpError(f"{self.name}: {error}; last: {json.dumps(found, ensure_ascii=False)[:800]}") from error
        return found


def patiently(api: Api, method: str, path: str, **given: Any) -> Answer:
    """Ask until a success comes. Raises GivenUpError for a refusal that asking again does not change, or after too long."""
    found: list[Answer | str] = []

    def ask() -> bool:
        try:
            answer = api.ask(method, path, retry=False, **given)
        except httpx.TransportError as error:
            found[:] = [repr(error)]
            return False
        found[:] = [answer]
        passing = answer.status in (502, 503, 504) or answer.reason in PASSING or answer.body.get("code") == AGAIN
        return answer.fine or not passing

    try:
        wait_until(ask, f"{method} {path}", seconds=PATIENCE_S, every=0.1)
    except TimeoutError as error:
        raise GivenUpError(f"{error}; last: {found}") from error
    if isinstance(found[0], str):
        raise GivenUpError(f"{method} {path} → {found[0]}")
    if not found[0].fine:
        raise RefusedError(f"{method} {path}", found[0])
    return found[0]


def repeated(journal: Journal, told_now: Callable[[Acknowledged], frozenset[str]] = lambda _: frozenset()) -> list[str]:
    """Every acknowledged write once more under its key; what was answered differently, or not said to be a repetition.

    ``told_now``: the fields of an answer that may differ.
    """

    def again(line: Acknowledged) -> str:
        found = patiently(line.api, line.method, line.path, key=line.key, **line.given)
        free = told_now(line)
        bodies = [{name: value for name, value in one.body.items() if name not in free} for one in (line.answer, found)]
        said = found.replayed or REPLAYED in free
        if found.status == line.answer.status and bodies[0] == bodies[1] and said:
            return ""
        told = f"{line.method} {line.path}: {line.answer.status} {bodies[0]}\n  became {found.status} {bodies[1]}"
        return told if said else f"{told} and is said to be new"

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [told for told in pool.map(again, journal.lines) if told]
