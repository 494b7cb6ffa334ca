"""Views: what anybody and buyers look at, counted here and told to the catalog in batches, so that a read writes nothing.

A batch is sealed after some views or a second, whichever is first, and told under a key of its own until the catalog has taken it: a
repetition counts nothing. At a graceful stop the last one is told too. A gateway that is killed loses what it has not told yet.
"""

import asyncio
import base64
import binascii
import contextlib
import hashlib
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from prometheus_client import Counter

from services.chassis import clock
from services.chassis.errors import Refusal
from services.chassis.logs import get
from services.chassis.rpc import Method
from services.chassis.rpc.aio import Backend
from services.chassis.rpc.call import AUTHORIZATION, IDEMPOTENCY_KEY

RECORDER: Final = "catalog.RecordViews"
EVERY_S: Final = 1.0
FULL: Final = 500
"""Views after which a batch is told at once."""
WAITING_MOST: Final = 100
"""Batches that wait for a catalog that is away: further views are not counted."""
PATIENCE_S: Final = 5.0
LONGEST: Final = 256
"""Characters of what a storefront calls a visitor; the rest of it makes no difference."""
COUNTED: Final = frozenset({"", "buyer"})
"""Kinds of callers whose reads are views: a merchant who looks at the own shop is no visitor."""
PASSING: Final = frozenset(
    {"UNAVAILABLE", "DEADLINE_EXCEEDED", "BACKLOG_FULL", "STILL_RUNNING", "VERSION_CONFLICT", "UNAUTHENTICATED"}
)
"""Reasons after which a batch is told again; a gateway's new key may not be known at once."""
OTHER: Final = "other"
_CODE: Final = re.compile(r"[a-z0-9_-]{1,32}")
VIEWS: Final = Counter("jishi_views_total", "Views seen by this gateway by what became of them", ("outcome",))
_log = get(__name__)


@dataclass(slots=True)
class _Seen:
    """One shop through one channel."""

    product: int = 0
    shelf: int = 0
    visitors: set[int] = field(default_factory=set)
    products: dict[str, "_Looked"] = field(default_factory=dict)


@dataclass(slots=True)
class _Looked:
    """One product through that channel."""

    views: int = 0
    visitors: set[int] = field(default_factory=set)


@dataclass(slots=True)
class _Batch:
    """Views until they are told. ``begin_ms``: wall time of the first."""

    begin_ms: int = 0
    views: int = 0
    seen: dict[tuple[str, str], _Seen] = field(default_factory=dict)
    key: str = field(default_factory=lambda: secrets.token_hex(16))


class Views:
    """All views of this process."""

    def __init__(self, method: Method, backends: Mapping[str, Backend], token: Callable[[], str]) -> None:
        """``method`` takes the batches, from whoever has this ``token``."""
        self._method, self._backends, self._token = method, backends, token
        self._open = _Batch()
        self._sealed: list[_Batch] = []
        self._full = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def note(self, what: str, request: Any, response: Any, authorization: str) -> None:
        """Count one view of ``what`` ("product", "shelf"), unless the reader is no visitor, or reads on."""
        kind, subject = caller_of(authorization)
        reads_on = bool(getattr(request, "page_token", None))
        if kind not in COUNTED or reads_on:
            return
        if len(self._sealed) >= WAITING_MOST:
            VIEWS.labels("dropped").inc()
            return
        shop_id = response.product.shop_id if what == "product" else response.shop_id
        batch = self._open
        batch.begin_ms = batch.begin_ms or clock.wall_ms()
        batch.views += 1
        said = request.channel
        channel = said if not said or _CODE.fullmatch(said) else OTHER
        seen = batch.seen.setdefault((shop_id, channel), _Seen())
        visitor = f"buyer:{subject}" if subject else f"named:{request.visitor[:LONGEST]}" if request.visitor else ""
        numbers = {number_of(shop_id, visitor)} if visitor else set()
        seen.visitors |= numbers
        if what == "product":
            seen.product += 1
            looked = seen.products.setdefault(response.product.product_id, _Looked())
            looked.views += 1
            looked.visitors |= numbers
        else:
            seen.shelf += 1
        VIEWS.labels("seen").inc()
        if batch.views >= FULL:
            self._seal()
            self._full.set()

    def start(self) -> None:
        """Tell batches from now on; inside the running event loop."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Tell what is left, for ``PATIENCE_S`` at most."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._seal()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._tell(), PATIENCE_S)
        lost = sum(batch.views for batch in self._sealed)
        if lost:
            VIEWS.labels("lost").inc(lost)
            _log.warning("views are lost: the catalog did not take them before the gateway stopped", views=lost)

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._full.wait(), EVERY_S)
            self._full.clear()
            self._seal()
            await self._tell()

    def _seal(self) -> None:
        if self._open.views:
            self._sealed.append(self._open)
            self._open = _Batch()

    async def _tell(self) -> None:
        """Tell the sealed batches, oldest first, until one is not taken; that one is told again next time."""
        while self._sealed:
            batch = self._sealed[0]
            try:
                await self._send(batch)
            except Refusal as refusal:
                if refusal.reason in PASSING:
                    return
                VIEWS.labels("refused").inc(batch.views)
                _log.error("a batch of views was refused", views=batch.views, reason=str(refusal))
            except Exception:  # noqa: BLE001 - a loop must go on; the batch is told again
                _log.exception("a batch of views cannot be told now", views=batch.views)
                return
            else:
                VIEWS.labels("told").inc(batch.views)
            self._sealed.pop(0)

    async def _send(self, batch: _Batch) -> None:
        metadata = ((AUTHORIZATION, f"Bearer {self._token()}"), (IDEMPOTENCY_KEY, batch.key))
        backend = self._backends[self._method.service]
        await backend.ask(self._method, _message(self._method, batch), metadata, PATIENCE_S)


def _message(method: Method, batch: _Batch) -> Any:
    message: Any = method.request()
    message.begin_time.FromMilliseconds(batch.begin_ms)
    for (shop_id, channel), seen in batch.seen.items():
        row = message.seen.add(shop_id=shop_id, channel=channel, product_views=seen.product, shelf_views=seen.shelf)
        row.visitors.extend(sorted(seen.visitors))
        for product_id, looked in seen.products.items():
            row.products.add(product_id=product_id, views=looked.views, visitors=sorted(looked.visitors))
    return message


def number_of(shop_id: str, visitor: str) -> int:
    """A number below 2^56 of a visitor of one shop: what is told instead of who it is."""
    return int.from_bytes(hashlib.blake2b(f"{shop_id}\x1f{visitor}".encode(), digest_size=7).digest(), "big")


def caller_of(authorization: str) -> tuple[str, str]:
    """(kind, subject) of a token that a service has just accepted, so that nobody needs to check it again; ("", "") without one."""
    parts = authorization.split(".")
    if len(parts) != 3:
        return "", ""
    try:
        claims = orjson.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return str(claims["kind"]), str(claims["sub"])
    except (ValueError, TypeError, KeyError, binascii.Error):
        return "", ""
