"""A small HTTP client of the ``/v1`` API, as a careful program would write one: keys on every write, retries of what may be retried."""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

import httpx

from services.chassis import clock, ids

RETRIED: Final = frozenset({502, 503, 504})
RETRY_FOR_S: Final = 20.0
TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: HTTP status, JSON body ({} where there was none), headers, and how long it took (seconds)."""

    status: int
    body: dict[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)
    took_s: float = 0.0

    @property
    def fine(self) -> bool:
        """Whether it is a success."""
        return 200 <= self.status < 300

    @property
    def reason(self) -> str:
        """The reason of a refusal (``OUT_OF_STOCK``); empty for a success."""
        return str(self.body.get("reason", ""))

    @property
    def replayed(self) -> bool:
        """Whether it answers a request done before."""
        return self.headers.get("idempotency-replayed") == "true"


class UnexpectedAnswer(RuntimeError):
    """A call that should have gone well did not."""

    def __init__(self, call: str, answer: Answer) -> None:
        """Tell what was called and what came back."""
        said = f"{answer.reason}: {answer.body['detail']}" if answer.body.get("detail") else str(answer.body)
        super().__init__(f"{call} → {answer.status} {said}")
        self.answer = answer


class Line:
    """The connections that callers share, and a count of every HTTP status that came back. Thread-safe."""

    def __init__(self) -> None:
        """No connection yet. Proxies of the environment are not for a stack on this machine."""
        limits = httpx.Limits(max_connections=64, max_keepalive_connections=64)
        self.client = httpx.Client(timeout=TIMEOUT_S, limits=limits, trust_env=False)
        self.statuses: Counter[int] = Counter()
        self._counting = threading.Lock()

    def request(self, method: str, url: str, given: Mapping[str, Any]) -> httpx.Response:
        """One request. Raises httpx.TransportError."""
        response = self.client.request(method, url, **given)
        with self._counting:
            self.statuses[response.status_code] += 1
        return response

    @property
    def broken(self) -> int:
        """How many answers were 5xx."""
        return sum(count for status, count in self.statuses.items() if status >= httpx.codes.INTERNAL_SERVER_ERROR)


class Api:
    """The API at ``base_url`` as one caller sees it. Thread-safe; ``as_caller`` shares the connections."""

    def __init__(self, base_url: str, token: str = "", line: Line | None = None) -> None:
        """``token`` empty: anybody."""
        self.base_url, self.token = base_url.rstrip("/"), token
        self.line = line or Line()

    def as_caller(self, token: str) -> "Api":
        """The same API, called by somebody else."""
        return Api(self.base_url, token, self.line)

    def close(self) -> None:
        """Hang up, for all callers that share the connections."""
        self.line.client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, path: str, **params: Any) -> dict[str, Any]:
        """The body of a successful GET. Raises UnexpectedAnswer."""
        return self._fine("GET", path, self.ask("GET", path, params=params))

    def post(self, path: str, body: Mapping[str, Any] | None = None, *, key: str = "") -> dict[str, Any]:
        """The body of a successful POST of ``body`` as JSON. Raises UnexpectedAnswer."""
        return self._fine("POST", path, self.ask("POST", path, body or {}, key=key))

    def download(self, path: str, **params: Any) -> Iterator[bytes]:
        """The pieces of a file as they come. Raises UnexpectedAnswer, httpx.TransportError when the line breaks in the middle."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        with self.line.client.stream("GET", self.base_url + path, params=params, headers=headers) as response:
            if not response.is_success:
                response.read()
                raise UnexpectedAnswer(f"GET {path}", Answer(response.status_code, _body(response), response.headers))
            yield from response.iter_bytes()

    def ask(  # noqa: PLR0913 - what a request can carry
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        params: Mapping[str, Any] | None = None,
        form: Mapping[str, Any] | None = None,
        files: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        key: str = "",
        retry: bool = True,
    ) -> Answer:
        """Call and answer whatever came. ``path`` may be a whole URL (the channel's cashier).

        A write carries ``key`` (or a fresh one), so it is repeated like a read while the house is away (502, 503, 504 or no line).
        Raises httpx.TransportError when it stays away.
        """
        sent = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        if method != "GET":
            sent["Idempotency-Key"] = key or ids.secret()
        given: dict[str, Any] = {
            "headers": {**sent, **(headers or {})},
            "params": {k: v for k, v in (params or {}).items() if v is not None},
        }
        if form is not None:
            given["data"] = form
        elif method != "GET" and files is None:
            given["json"] = body or {}
        if files is not None:
            given["files"] = files
        url = path if path.startswith("http") else self.base_url + path
        until = clock.monotonic() + (RETRY_FOR_S if retry else 0)
        while True:
            began = clock.monotonic()
            answer = self._attempt(method, url, given, last=began > until)
            if answer is not None and (answer.status not in RETRIED or began > until or not retry):
                return answer
            time.sleep(0.1)

    def _attempt(self, method: str, url: str, given: Mapping[str, Any], *, last: bool) -> Answer | None:
        began = clock.monotonic()
        try:
            response = self.line.request(method, url, given)
        except httpx.TransportError:
            if last:
                raise
            return None
        took = clock.monotonic() - began
        return Answer(response.status_code, _body(response), response.headers, took)

    @staticmethod
    def _fine(method: str, path: str, answer: Answer) -> dict[str, Any]:
        if not answer.fine:
            raise UnexpectedAnswer(f"{method} {path}", answer)
        return answer.body


def _body(response: httpx.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {"text": response.text} if response.text else {}
    return body if isinstance(body, dict) else {"items": body}
