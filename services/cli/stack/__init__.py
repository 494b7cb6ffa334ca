"""The embedded stack: a database, every server, one worker process, one jobs process, the channel and the gateway, supervised.

``jishi up``, ``jishi demo`` and the journeys of the tests all start it from here. A child that dies is started again; a supervisor
that is killed takes its children with it, and the next start on the same folder goes on with the data.
"""

import contextlib
import json
import os
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL
from typing import Any, Final

import httpx
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from services.accounts.store.installation import BOOTSTRAP_FILE, once
from services.chassis import clock, ids, mongo
from services.chassis.settings import MEMORY_BROKER, Settings
from services.cli.processes import Child, stop_in_order
from services.cli.stack.addresses import SERVERS, Addresses, choose, server_name
from services.cli.stack.backends import check_backends
from services.cli.stack.folder import DATABASE, Folder, StackError, database_command
from services.cli.stack.watch import DEATHS_BORNE, Journal, Watch, logs

START_WITHIN_S: Final = 120.0
STOP_WITHIN_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Options:
    """How to run a stack. ``port`` 0: a free one. ``mongo_uri``/``amqp_uri`` empty: embedded database, ``memory://``."""

    data: Path
    port: int = 0
    sandbox: bool = True
    copies: int = 1
    mongo_uri: str = ""
    amqp_uri: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Further variables of the children (a database prefix, a log level)."""


class Stack:
    """One embedded stack on one data folder."""

    def __init__(self, options: Options, tell: Callable[[str], None] = lambda _: None) -> None:
        """Nothing is started yet. ``tell`` is given a sentence for each thing that goes wrong while the stack runs."""
        self.options = options
        self.data = options.data.resolve()
        self.children: dict[str, Child] = {}
        self._folder = Folder(self.data)
        self._journal = Journal(self._folder.log("supervisor"), tell)
        self._addresses = Addresses({}, options.copies)
        self._is_embedded = True
        self._ended = threading.Event()
        self._cancelled = threading.Event()
        self._spawner: ThreadPoolExecutor | None = None
        self._watcher: Future[None] | None = None

    # ------------------------------------------------------------------------------------------------------------ addresses

    @property
    def url(self) -> str:
        """Where the gateway answers."""
        return self._addresses.gateway

    @property
    def channel_url(self) -> str:
        """Where the mock payment channel answers (its cashier included)."""
        return self._addresses.channel

    @property
    def mongo_uri(self) -> str:
        """Where the database is."""
        return self.options.mongo_uri or self._addresses.database

    @property
    def bootstrap_secret(self) -> str:
        """What makes the first admin."""
        return (
            os.environ.get("JISHI_BOOTSTRAP_SECRET") or (self.data / BOOTSTRAP_FILE).read_text(encoding="utf-8").strip()
        )

    @property
    def environment(self) -> dict[str, str]:
        """The variables under which a process belongs to this stack (``jishi audit``, a test's own process)."""
        return {
            "MONGO_URI": self.mongo_uri,
            "AMQP_URI": self.options.amqp_uri or MEMORY_BROKER,
            "JISHI_EMBEDDED": str(self._is_embedded).lower(),
            "JISHI_SANDBOX": str(self.options.sandbox).lower(),
            "JISHI_DATA_DIR": str(self.data),
            **self._addresses.environment(),
            "EVENTLET_NO_GREENDNS": "yes",
            "PYTHONUNBUFFERED": "1",
            **self.options.environment,
        }

    # ------------------------------------------------------------------------------------------------------------ life

    def start(self, cancelled: threading.Event | None = None) -> "Stack":
        """Start everything and return when ``GET /healthz`` answers 200, or as soon as ``cancelled`` is set.

        Raises StackError; nothing runs then.
        """
        self._cancelled = cancelled or threading.Event()
        check_backends(self.options.mongo_uri, self.options.amqp_uri)
        self._folder.take()
        try:
            self._ended.clear()
            # All children are forked by one thread that lives as long as the stack: they die with the thread that forked them.
            self._spawner = ThreadPoolExecutor(1, thread_name_prefix="spawner")
            last = self._folder.recorded().get("ports", {})
            self._addresses = choose(self.options.copies, self.options.port, last)
            self._add_database()
            early, late = self._plan()
            for child in early:
                self._add(child)
            self._wait(self._database_answers, f"the database at {self.mongo_uri}", within_s=START_WITHIN_S)
            self._prepare_data()
            for child in late:
                self._add(child)
            self._record()
            watch = Watch(self.children, self._journal, self._abort_orphans, self._record)
            self._watcher = self._spawner.submit(watch.run, self._ended)
            self._wait(self._healthy, "the stack to become healthy", within_s=START_WITHIN_S)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop all in order: the gateway first, the database last. Safe to call twice."""
        self._end_watching()
        stop_in_order(self._of("gateway"), STOP_WITHIN_S)
        stop_in_order(self._of(SERVERS, "worker", "jobs", "channel"), STOP_WITHIN_S)
        stop_in_order(self._of(DATABASE), STOP_WITHIN_S)
        self._leave()

    def kill_all(self) -> None:
        """Kill -9 everything at once, as a power cut would; the data stay for the next ``start``."""
        self._end_watching()
        for child in self.children.values():
            child.signal(SIGKILL)
        for child in self.children.values():
            child.wait(STOP_WITHIN_S)
        self._leave()

    def kill(self, role: str) -> int:
        """Kill -9 the first running child of ``role`` (database, servers, worker, jobs, channel, gateway); it heals by itself.

        Answers the killed process's number. Raises KeyError where none of that role runs.
        """
        process = next((child.process for child in self._of(role) if child.running), None)
        if process is None:
            raise KeyError(role)
        process.kill()
        process.wait()
        return process.pid

    def hold(self, role: str) -> None:
        """Kill -9 every child of ``role`` and keep it down until ``release``."""
        for child in self._of(role):
            child.held = True
            child.signal(SIGKILL)
            child.wait(STOP_WITHIN_S)

    def release(self, role: str) -> None:
        """Let the children of ``role`` start again."""
        for child in self._of(role):
            child.failures, child.held = 0, False

    def wait_healthy(self, within_s: float = START_WITHIN_S) -> None:
        """Return when ``GET /healthz`` answers 200. Raises StackError."""
        self._wait(self._healthy, "the stack to become healthy", within_s=within_s)

    def connect(self) -> MongoClient[dict[str, Any]]:
        """A client of the stack's database, for audits and tests."""
        return MongoClient(self.mongo_uri, tz_aware=True, serverSelectionTimeoutMS=5000)

    # ------------------------------------------------------------------------------------------------------------ what to start

    def _plan(self) -> tuple[list[Child], list[Child]]:
        """Everything but the database: what may start beside it, and what wants it prepared. The slowest to start come first."""
        late = [self._python("worker", "worker", "services.embedded", "worker")]
        for copy in range(1, self.options.copies + 1):
            child = self._python(server_name(copy), SERVERS, "services.embedded", "servers")
            child.environment = {**child.environment, "JISHI_LISTEN": json.dumps(self._addresses.listen(copy))}
            late.append(child)
        late.append(self._python("jobs", "jobs", "services.embedded", "jobs"))
        early = [
            self._python("gateway", "gateway", "services.gateway"),
            self._python("channel", "channel", "services.channel"),
        ]
        return early, late

    def _python(self, name: str, role: str, module: str, *arguments: str) -> Child:
        command = [sys.executable, "-m", module, *arguments]
        environment = {**os.environ, **self.environment}
        return Child(name, role, command, environment, self._folder.log(name))

    # ------------------------------------------------------------------------------------------------------------ database

    def _add_database(self) -> None:
        """Start the embedded database, or ask the given one whether it has a replica set."""
        if self.options.mongo_uri:
            self._wait(self._database_answers, f"the database at {self.mongo_uri}", within_s=START_WITHIN_S)
            with self.connect() as client:
                self._is_embedded = "setName" not in client.admin.command("hello")
            return
        command = database_command(self.data, self._addresses.ports[DATABASE])
        quiet = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
        self._add(Child(DATABASE, DATABASE, command, quiet, self._folder.log(DATABASE)))

    def _database_answers(self) -> bool:
        try:
            with MongoClient[dict[str, Any]](self.mongo_uri, serverSelectionTimeoutMS=300) as client:
                client.admin.command("ping")
        except PyMongoError:
            return False
        return True

    def _prepare_data(self) -> None:
        """The bootstrap secret (0600, once) and the sandbox's clock."""
        once(self.data / BOOTSTRAP_FILE, os.environ.get("JISHI_BOOTSTRAP_SECRET") or ids.secret())
        if self.options.sandbox:
            with self.connect() as client:
                settings = Settings(
                    embedded=self._is_embedded, db_prefix=self.options.environment.get("JISHI_DB_PREFIX", "")
                )
                clock.open_sandbox(mongo.database(client, settings, "jishi"))

    # ------------------------------------------------------------------------------------------------------------ watching

    def _add(self, child: Child) -> None:
        child.ports = self._addresses.of(child.name)
        self.children[child.name] = child
        if self._spawner is None:
            raise StackError("the stack was stopped while it started")
        self._spawner.submit(child.start).result()

    def _abort_orphans(self) -> None:
        """End the transactions that a killed process left open; those of the living are aborted too, and tried again by ``commit``.

        The embedded database looks for orphans only when somebody begins or ends a transaction, and not before a minute. Until then
        every plain write to their documents waits, so that possibly nobody ever gets so far.
        """
        if self._is_embedded:
            with (
                contextlib.suppress(PyMongoError),
                MongoClient[dict[str, Any]](self.mongo_uri, serverSelectionTimeoutMS=300) as client,
            ):
                client.admin.command("killAllSessions", [])

    def _record(self) -> None:
        self._folder.record(
            {
                "base_url": self.url,
                "channel_url": self.channel_url,
                "mongo_uri": self.mongo_uri,
                "ports": dict(self._addresses.ports),
                "environment": self.environment,
                "supervisor": os.getpid(),
                "children": {name: child.identity for name, child in self.children.items() if child.identity},
            }
        )

    def _leave(self) -> None:
        if self._spawner is not None:
            self._spawner.shutdown(wait=True)
            self._spawner = None
        self._folder.leave()
        self.children.clear()

    def _end_watching(self) -> None:
        self._ended.set()
        if self._watcher is not None:
            self._watcher.result()
            self._watcher = None

    def _healthy(self) -> bool:
        try:
            return httpx.get(f"{self.url}/healthz", timeout=5).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def _of(self, *roles: str) -> list[Child]:
        return [child for child in self.children.values() if child.role in roles]

    def _wait(self, holds: Callable[[], bool], what: str, *, within_s: float) -> None:
        """Wait until ``holds``. Raises StackError with the log of a child that keeps dying, or when time is up."""
        until = clock.monotonic() + within_s
        while not self._cancelled.is_set() and not holds():
            broken = next((child for child in self.children.values() if self._is_broken(child)), None)
            if broken is not None or clock.monotonic() > until:
                raise StackError(
                    f"waited in vain for {what}\n{logs(self.children.values(), broken, self.data / 'logs')}"
                )
            threading.Event().wait(0.05)

    def _is_broken(self, child: Child) -> bool:
        """Whether it died and nobody starts it again, or dies again and again."""
        return not child.running and not child.held and (self._watcher is None or child.failures > DEATHS_BORNE)
