"""Logs: one JSON object a line on standard error, with the trace of the request; ``console`` format for people.

``logs.get(__name__).info("order placed", order_id=…)``: the event is a constant text, what varies are fields. Libraries that use
the standard ``logging`` come out in the same form.
"""

import logging
import logging.config
from typing import Any, Final

import orjson
import structlog
from structlog.types import EventDict, Processor

from services.chassis import tracing
from services.chassis.settings import Settings

QUIET: Final = {
    "pymongo": "WARNING",
    "httpx": "WARNING",
    "httpcore": "WARNING",
    "amqp": "WARNING",
    "kombu": "WARNING",
    "asyncio": "WARNING",
}
"""Libraries that tell more than one wants to read, and the level from which they are heard."""


def configure(settings: Settings, service: str, role: str) -> None:
    """Set up this process's logs. ``role``: server, worker, jobs, gateway, channel, cli. Safe to call again."""

    def told_by(_logger: Any, _name: str, fields: EventDict) -> EventDict:
        fields["service"], fields["role"] = service, role
        current = tracing.trace_id()
        if current:
            fields["trace_id"] = current
        return fields

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.StackInfoRenderer(),
        told_by,
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    formatter = {
        "()": structlog.stdlib.ProcessorFormatter,
        "foreign_pre_chain": shared,
        "processors": _ending(settings.log_format),
    }
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"jishi": formatter},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "jishi"}},
            "root": {"handlers": ["stderr"], "level": settings.log_level.upper()},
            "loggers": {name: {"level": level} for name, level in QUIET.items()},
        }
    )


def get(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of a module."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger


def _ending(log_format: str) -> list[Processor]:
    drop = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    if log_format == "console":
        return [
            drop,
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
        ]  # no locals: they hold tokens
    return [drop, structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_dumps)]


def _dumps(fields: EventDict, **_: Any) -> str:
    return orjson.dumps(fields, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
