"""Delivers what is due: payment and refund notifications on their retry schedule, late successes, slow refunds.

Durable: what is due is a field of the trade, so a channel killed at any moment goes on at its next start, and a notification whose
delivery was not yet recorded is sent again (at least once). What is being sent is kept in memory only, to not send it twice for
nothing; a second copy of the channel may, and that is allowed.
"""

import json
import logging
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import urllib3
from pymongo.errors import DuplicateKeyError, PyMongoError

from services.channel import commands, views, views_v2
from services.channel.keys import KeyRing
from services.channel.model import notice, refund, trade
from services.channel.model.values import EventType, Notice, Trade
from services.channel.settings import Rules
from services.channel.store import Store
from services.chassis import channel_signing as signing
from services.chassis import clock

log = logging.getLogger(__name__)

THREADS: Final = 8
HTTP_OK: Final = 200
MOST_IN_FLIGHT: Final = 64
SHORTEST_PAUSE_S: Final = 0.01
GATHER_S: Final = 0.02
"""Between two looks however often the bell rings: payments that come close together are found by one query."""
LONGEST_PAUSE_S: Final = 0.5
"""Between two looks when nothing rings."""
STOP_WITHIN_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Sender:
    """Signs, seals and posts one notification."""

    keys: KeyRing
    pool: urllib3.PoolManager

    def send(self, one: Trade, told: Notice, timeout_s: float) -> str:
        """Post ``told``; answers an error text, empty where the merchant took it: 2xx, in v2 a ``return_code`` SUCCESS."""
        is_v2 = bool(one.order.v2_signed)
        body = views_v2.notification(one, told, self.keys.api_key) if is_v2 else self.body(one, told)
        headers = {"Content-Type": "text/xml"} if is_v2 else self._signature(body)
        try:
            answer = self.pool.request(
                "POST",
                _address(one, told),
                body=body,
                headers=headers,
                timeout=timeout_s,
                retries=False,
                redirect=False,
            )
        except urllib3.exceptions.HTTPError as error:
            return f"{type(error).__name__}: {error}"[:200]
        if is_v2 and answer.status == HTTP_OK:
            return "" if views_v2.is_taken(answer.data) else "the answer is not <return_code>SUCCESS</return_code>"
        return "" if 200 <= answer.status < 300 and not is_v2 else f"HTTP {answer.status}"

    def _signature(self, body: bytes) -> dict[str, str]:
        now_s = clock.wall_ms() // 1000
        headers = signing.answer_headers(self.keys.platform_key, self.keys.platform_serial, body, now_s=now_s)
        return headers | {"Content-Type": "application/json", "Request-ID": str(uuid.uuid4())}

    def body(self, one: Trade, told: Notice) -> bytes:
        """The notification's JSON with its sealed resource."""
        plaintext = json.dumps(views.resource(one, told), ensure_ascii=False).encode()
        kind = "transaction" if told.event_type is EventType.PAID else "refund"
        sealed = signing.seal(self.keys.apiv3_key, plaintext, original_type=kind, associated_data=kind)
        return json.dumps(views.notification(told, sealed, commands.now()), ensure_ascii=False).encode()


def _address(one: Trade, told: Notice) -> str:
    back = one.refund(told.out_refund_no) if told.out_refund_no else None
    return back.notify_url if back is not None else one.order.notify_url


class Notifier:
    """A thread that looks for due trades and a few that work on them."""

    def __init__(self, store: Store, rules: Rules, keys: KeyRing) -> None:
        """Nothing runs before ``start``."""
        self._store = store
        self._rules = rules
        self._sender = Sender(keys, urllib3.PoolManager(maxsize=THREADS))
        self._bell = threading.Event()
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._in_flight: set[str] = set()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="notify")
        self._loop = threading.Thread(target=self._run, name="notifier", daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        self._loop.start()

    def stop(self) -> None:
        """Finish what is being sent and stop; what waits stays in the database."""
        self._stopping.set()
        self._bell.set()
        self._loop.join(STOP_WITHIN_S)
        self._threads.shutdown(wait=True, cancel_futures=True)

    def ring(self) -> None:
        """Something may be due now."""
        self._bell.set()

    def _run(self) -> None:
        pause = SHORTEST_PAUSE_S
        while not self._stopping.is_set():
            self._bell.wait(pause)
            self._bell.clear()
            try:
                found = self._sweep()
            except PyMongoError as error:
                log.warning("channel.notifier: the database does not answer: %s", error)
                found = 0
            pause = SHORTEST_PAUSE_S if found else min(max(pause, GATHER_S) * 2, LONGEST_PAUSE_S)
            self._stopping.wait(GATHER_S)

    def _sweep(self) -> int:
        """Hand what is due to the threads; answers how many trades."""
        with self._lock:
            busy = set(self._in_flight)
        if len(busy) >= MOST_IN_FLIGHT:
            return 0
        found = self._store.due(clock.wall_ms(), busy, MOST_IN_FLIGHT - len(busy))
        for one in found:
            with self._lock:
                self._in_flight.add(one.order.out_trade_no)
            self._threads.submit(self._work, one)
        return len(found)

    def _work(self, one: Trade) -> None:
        number = one.order.out_trade_no
        try:
            self.serve(one)
        except PyMongoError as error:
            log.warning("channel.notifier: %s stays due, the database does not answer: %s", number, error)
        except Exception:
            log.exception("channel.notifier: %s stays due", number)
        finally:
            with self._lock:
                self._in_flight.discard(number)

    def serve(self, one: Trade) -> None:
        """Do what is due on one trade as it was read: let it succeed, finish a refund, else send what it has to tell."""
        at = commands.now()
        drawn = commands.draw()
        settled = refund.settle_refund(trade.settle(one, drawn, at), drawn.event_id, at)
        if settled != one:
            try:
                self._store.amend(one, settled)
            except DuplicateKeyError:  # the drawn transaction_id is taken: still due, drawn again at the next look
                return
            self.ring()
            return
        results: dict[str, str] = {}
        tried: dict[str, int] = {}
        for told in notice.due(one, clock.wall_ms()):
            results[told.key] = self._sender.send(one, told, self._rules.notify_timeout_s(at))
            tried[told.key] = told.attempts
            if results[told.key]:
                log.info("channel.notifier: %s was not taken: %s", told.key, results[told.key])
        self._record(one, results, tried)

    def _record(self, one: Trade, results: dict[str, str], tried: dict[str, int]) -> None:
        """Write down the attempts; when somebody wrote in between, read again and write them down there."""
        current: Trade | None = one
        for _ in range(commands.TRIES):
            if current is None:
                return
            at = commands.now()
            new = notice.attempted(current, results, tried, self._rules.retry_ms(at), at)
            if new == current or self._store.amend(current, new):
                return
            current = self._store.by_number(one.order.out_trade_no)
