"""Counts what a process asks of the database: commands, and writes inside them. The cost of a hot path is these numbers."""

from collections import Counter as Tally
from collections.abc import Mapping
from typing import Any, Final

from prometheus_client import Counter
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

COMMANDS: Final = Counter(
    "jishi_mongo_commands_total",
    "Commands sent to the database; of several collections (bulkWrite) under the first",
    ("database", "command", "collection"),
)
WRITES: Final = Counter(
    "jishi_mongo_writes_total",
    "Documents written: one a statement, more where a statement wrote more",
    ("database", "collection"),
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
        self._running: dict[int, tuple[str, int]] = {}
        """Request id of an update or delete → its collection and its statements: one of them may write many documents."""

    def started(self, event: CommandStartedEvent) -> None:
        """A command goes out; a bulk write counts each of its statements, for the collection it touches."""
        name = event.command_name
        if name in _UNCOUNTED:
            return
        statements = event.command.get(_STATEMENTS.get(name, ""), ())
        touched = _namespaces(event)
        COMMANDS.labels(*self._labels(touched[0], name)).inc()
        if name == "bulkWrite":
            for number, count in Tally(_touched(statement) for statement in statements).items():
                WRITES.labels(*self._labels(touched[number])).inc(count)
        elif statements:
            WRITES.labels(*self._labels(touched[0])).inc(len(statements))
            if name in _OF_MANY:
                self._running[event.request_id] = (touched[0], len(statements))

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Count what a statement wrote beyond one document."""
        namespace, statements = self._running.pop(event.request_id, ("", 0))
        if namespace and event.reply.get("n", 0) > statements:
            WRITES.labels(*self._labels(namespace)).inc(event.reply["n"] - statements)

    def failed(self, event: CommandFailedEvent) -> None:
        """Nothing more to count."""
        self._running.pop(event.request_id, None)

    def _labels(self, namespace: str, *command: str) -> tuple[str, ...]:
        database, _, collection = namespace.partition(".")
        return (database.removeprefix(self._prefix), *command, collection)


def _namespaces(event: CommandStartedEvent) -> list[str]:
    """``database.collection`` of a command, or of each that a bulk write names; no collection where a command has none."""
    several: Any = event.command.get("nsInfo")
    if several:
        return [str(each["ns"]) for each in several]
    target = event.command.get("collection" if event.command_name == "getMore" else event.command_name)
    return [f"{event.database_name}.{target}" if isinstance(target, str) else event.database_name]


def _touched(statement: Mapping[str, Any]) -> int:
    """The number of the namespace that a statement of a bulk write names."""
    return int(next(iter(statement.values())))
