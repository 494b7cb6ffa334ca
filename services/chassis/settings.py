"""Everything that may differ between two installations, read from the environment once."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

from pydantic import AliasChoices, Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

SERVICES: Final = ("accounts", "catalog", "orders", "payments", "disputes", "broadcast")
"""The services that have a gRPC server and a worker, in the order of their default ports."""

MEMORY_BROKER: Final = "memory://"


class Settings(BaseSettings):
    """``JISHI_*`` variables; ``MONGO_URI`` and ``AMQP_URI`` go without the prefix because other tools use them too."""

    model_config = SettingsConfigDict(env_prefix="JISHI_", extra="ignore", frozen=True, populate_by_name=True)

    mongo_uri: str = Field("mongodb://127.0.0.1:27017", validation_alias=AliasChoices("MONGO_URI", "mongo_uri"))
    amqp_uri: str = Field(MEMORY_BROKER, validation_alias=AliasChoices("AMQP_URI", "amqp_uri"))
    db_prefix: str = ""
    """Put before every database name: several worlds on one database server (tests)."""
    data_dir: Path = Path(".jishi")
    """Keys, bootstrap secret, embedded database, channel credentials."""
    sandbox: bool = False
    """Movable business clock and the sandbox doors."""
    embedded: bool = False
    """Database without replica set: no majority concern, no change streams."""
    listen: dict[str, str] = Field(default_factory=dict)
    """Service → host:port where its gRPC server listens (JSON). Default 127.0.0.1:50051 and up."""
    rpc: dict[str, str] = Field(default_factory=dict)
    """Service → addresses (comma separated) where clients find it (JSON). Default: where it listens."""
    gateway_listen: str = "127.0.0.1:8080"
    base_url: str = "http://127.0.0.1:8080"
    """Where the gateway is reached from outside (notification URLs, shelf links)."""
    channel_listen: str = "127.0.0.1:8090"
    channel_url: str = "http://127.0.0.1:8090"
    keys_dir: Path | None = None
    """Ed25519 keys of the services. Default: ``data_dir/keys``."""
    jwks: dict[str, str] = Field(default_factory=dict)
    """Service → URL of its JWKS document (JSON), for services whose public keys are not in ``keys``."""
    jwks_listen: dict[str, str] = Field(default_factory=dict)
    """Service → host:port where its server shows its JWKS document (JSON). Empty: nowhere."""
    bootstrap_secret: str = ""
    rpc_threads: int = 16
    rpc_timeout_s: float = 10.0
    worker_concurrency: int = 10
    """Handlers that run at once for each service of a worker."""
    jobs_threads: int = 4
    """Jobs that run at once in a jobs process."""
    bell: dict[str, str] = Field(default_factory=dict)
    """Service → host:port where others tell its worker that facts were committed (JSON, UDP). Empty: the relay only polls."""
    bell_listen: str = ""
    """host:port where a worker hears it; needed where the address in ``bell`` is not its own to bind (containers: 0.0.0.0)."""
    blobs: str = ""
    """Where pictures are kept: empty: in the database (GridFS); s3://bucket/prefix: in an S3-compatible store."""
    s3_endpoint: str = ""
    """http(s)://host:port of the store; empty: Amazon's own."""
    s3_region: str = "us-east-1"
    s3_access_key_id: str = ""
    s3_secret_access_key: str = ""
    """Empty: as the machine is allowed (its role)."""
    fetch_from: list[str] = Field(default_factory=list)
    """host:port of inside servers from which pictures may be fetched all the same (JSON); all other private addresses are refused."""
    log_level: str = "INFO"
    log_format: str = "json"
    metrics_listen: dict[str, str] = Field(default_factory=dict)
    """Role (server, worker, jobs) → host:port of its Prometheus page. Empty: off."""
    otlp_endpoint: str = ""
    """OTLP over HTTP. Empty: traces are carried but not exported."""

    @field_validator("blobs")
    @classmethod
    def _is_bucket(cls, told: str) -> str:
        """A store that cannot be would be found only by the first picture."""
        if told and not (told.startswith("s3://") and told.removeprefix("s3://").partition("/")[0]):
            raise ValueError(f"{told!r} is no s3://bucket/prefix")
        return told

    @field_validator("bell", "bell_listen")
    @classmethod
    def _has_port(cls, told: dict[str, str] | str) -> dict[str, str] | str:
        """A bell without a port would be found only by the first command that rings it."""
        for address in told.values() if isinstance(told, dict) else [told] if told else []:
            host, _, port = address.rpartition(":")
            if not host or not port.isdecimal() or not 0 < int(port) < 65536:
                raise ValueError(f"{address!r} is no host:port")
        return told

    def bells(self, services: Iterable[str]) -> set[str]:
        """The host:port at which a worker of ``services`` listens for rings; none where no bell is set."""
        own = {self.bell[service] for service in services if self.bell.get(service)}
        return {self.bell_listen} if own and self.bell_listen else own

    def listen_address(self, service: str) -> str:
        """Where ``service``'s gRPC server listens."""
        return self.listen.get(service) or f"127.0.0.1:{50051 + SERVICES.index(service)}"

    def rpc_addresses(self, service: str) -> str:
        """Where a client finds ``service``: one address or several, comma separated."""
        return self.rpc.get(service) or self.listen_address(service)

    @property
    def keys(self) -> Path:
        """The folder of key files."""
        return self.keys_dir or self.data_dir / "keys"

    @property
    def memory_broker(self) -> bool:
        """Whether events travel inside one worker process only."""
        return self.amqp_uri.startswith("memory:")


@cache
def settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()
