"""A load generator that costs little: raw HTTP/1.1 over kept-alive connections, so that the two cores go to what is measured."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit


@dataclass
class Result:
    """What a run of requests came to. Latencies in seconds."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    @property
    def rate(self) -> float:
        """Requests (or flows) a second."""
        return len(self.latencies) / self.seconds if self.seconds else 0.0

    def percentile_ms(self, percent: float) -> float:
        """Milliseconds within which ``percent`` of them were answered."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] * 1000 if ordered else 0.0


class Connection:
    """One kept-alive connection to one base URL."""

    def __init__(self, base_url: str) -> None:
        parts = urlsplit(base_url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def call(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """One request; opens the connection when needed."""
        if self._writer is None or self._reader is None:
            self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        content = b"" if body is None else json.dumps(body, ensure_ascii=False).encode()
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._host}:{self._port}", f"Content-Length: {len(content)}"]
        if content:
            lines.append("Content-Type: application/json")
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self._writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + content)
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = next((int(line[15:]) for line in head.split("\r\n") if line.startswith("content-length:")), 0)
        answer = await self._reader.readexactly(length)
        if "connection: close" in head:
            await self.close()
        return int(head.split(" ", 2)[1]), answer

    async def json(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        """One request that must succeed; its JSON."""
        status, answer = await self.call(method, path, body, headers)
        if status >= 300:
            raise RuntimeError(f"{method} {path}: {status} {answer[:500].decode()}")
        return json.loads(answer) if answer else None

    async def close(self) -> None:
        """Close it."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


Flow = Callable[[Connection, Any], Awaitable[int]]


async def _drive(base_url: str, flow: Flow, items: AsyncIterator[Any], result: Result) -> None:
    connection = Connection(base_url)
    async for item in items:
        began = time.perf_counter()
        status = await flow(connection, item)
        result.latencies.append(time.perf_counter() - began)
        result.statuses[status] += 1
    await connection.close()


def run(base_url: str, flow: Flow, items: Iterable[Any], concurrency: int) -> Result:
    """Run ``flow`` for every item with ``concurrency`` of them in flight; a flow answers the status it ended with."""

    async def every() -> Result:
        result, iterator = Result(), iter(items)

        async def shared() -> AsyncIterator[Any]:
            for item in iterator:
                yield item

        began = time.perf_counter()
        await asyncio.gather(*(_drive(base_url, flow, shared(), result) for _ in range(concurrency)))
        result.seconds = time.perf_counter() - began
        return result

    return asyncio.run(every())


def get(paths: Sequence[str], headers: Mapping[str, str] | None = None) -> Flow:
    """A flow that reads the paths in turn."""

    async def flow(connection: Connection, item: Any) -> int:
        status, _ = await connection.call("GET", paths[item % len(paths)], headers=headers)
        return status

    return flow
