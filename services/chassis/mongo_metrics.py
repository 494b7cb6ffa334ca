"""Counts what a process asks of the database: commands, and writes inside them. The cost of a hot path is these numbers."""

from typing import Any, Final

from prometheus_client import Counter
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

COMMANDS: Final = Counter("jishi_mongo_commands_total", "Commands sent to the database", ("database", "command"))
WRITES: Final = Counter(
    "jishi_mongo_writes_total", "Documents written: one a statement, more where a statement wrote more", ("database",)
)

_STATEMENTS: Final = {"insert": "documents", "update": "updates", "delete": "deletes", "bulkWrite": "ops"}
_OF_MANY: Final = frozenset({"update", "delete"})
_UNCOUNTED: Final = frozenset(
    {"hello", "ping", "endSessions", "saslStart", "saslContinue", "createIndexes", "killCursors"}
)


class Meter(CommandListener):
    """A pymongo listener that feeds the two counters."""

    def __init__(self, prefix: str) -> None:
        """``prefix`` of the database names is left out of the labels."""
        self._prefix = prefix
        self._running: dict[int, int] = {}
        """Request id of an update or delete → its statements: one of them may write many documents."""

    def started(self, event: CommandStartedEvent) -> None:
        """A command goes out; a bulk write counts each of its statements, for the database it touches."""
        name = event.command_name
        if name in _UNCOUNTED:
            return
        COMMANDS.labels(self._database(event), name).inc()
        statements = event.command.get(_STATEMENTS.get(name, ""), ())
        if statements:
            WRITES.labels(self._database(event)).inc(len(statements))
            if name in _OF_MANY:
                self._running[event.request_id] = len(statements)

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Count what a statement wrote beyond one document."""
        statements = self._running.pop(event.request_id, None)
        if statements is not None and event.reply.get("n", 0) > statements:
            WRITES.labels(event.database_name.removeprefix(self._prefix)).inc(event.reply["n"] - statements)

    def failed(self, event: CommandFailedEvent) -> None:
        """Nothing more to count."""
        self._running.pop(event.request_id, None)

    def _database(self, event: CommandStartedEvent) -> str:
        namespaces: Any = event.command.get("nsInfo")
        name = namespaces[0]["ns"].partition(".")[0] if namespaces else event.database_name
        return str(name).removeprefix(self._prefix)
