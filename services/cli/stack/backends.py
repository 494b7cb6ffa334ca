"""The addresses of a database and a broker that a stack is to use instead of its own, looked at before anything is started."""

from typing import Final
from urllib.parse import urlsplit

from pymongo.errors import PyMongoError
from pymongo.uri_parser import parse_uri

from services.chassis.settings import MEMORY_BROKER
from services.cli.stack.folder import StackError

BROKERS: Final = ("amqp", "amqps", urlsplit(MEMORY_BROKER).scheme)


def check_backends(mongo_uri: str, amqp_uri: str) -> None:
    """Raises StackError, in one line that names the variable, for what is no address; empty ones mean the stack's own."""
    try:
        if mongo_uri:
            parse_uri(mongo_uri)
    except (PyMongoError, ValueError) as error:
        example = "mongodb://host:27017/?replicaSet=rs0"
        raise StackError(
            f"MONGO_URI is no address of a database, such as {example}: {str(error).rstrip('.')}"
        ) from error
    if amqp_uri and not _is_broker(amqp_uri):
        raise StackError("AMQP_URI is no address of a broker, such as amqp://user:pass@host:5672/vhost")


def _is_broker(uri: str) -> bool:
    try:
        parts = urlsplit(uri)
        return parts.scheme in BROKERS and (parts.scheme == BROKERS[-1] or (bool(parts.hostname) and parts.port != 0))
    except ValueError:
        return False
