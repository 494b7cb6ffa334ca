"""Which process of a stack listens where, and how the others are told."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from services.chassis.settings import SERVICES
from services.cli.processes import LOOPBACK, free_port, holder_of, is_free
from services.cli.stack.folder import DATABASE, StackError

SERVERS: Final = "servers"


def server_name(copy: int) -> str:
    """The process that is the ``copy``-th (from 1) of all servers: ``servers``, ``servers-2``."""
    return SERVERS if copy == 1 else f"{SERVERS}-{copy}"


@dataclass(frozen=True, slots=True)
class Addresses:
    """The ports of one stack. ``ports``: database, channel, bell (UDP), gateway, and ``<service>-<copy>``."""

    ports: Mapping[str, int]
    copies: int

    @property
    def gateway(self) -> str:
        """Where the gateway answers."""
        return f"http://{LOOPBACK}:{self.ports['gateway']}"

    @property
    def channel(self) -> str:
        """Where the mock payment channel answers (its cashier included)."""
        return f"http://{LOOPBACK}:{self.ports['channel']}"

    @property
    def database(self) -> str:
        """Where the embedded database answers."""
        return f"mongodb://{LOOPBACK}:{self.ports[DATABASE]}"

    def listen(self, copy: int) -> dict[str, str]:
        """Service → where its server listens in the ``copy``-th process of servers."""
        return {service: f"{LOOPBACK}:{self.ports[f'{service}-{copy}']}" for service in SERVICES}

    def rpc(self) -> dict[str, str]:
        """Service → all addresses of its servers."""
        every = [self.listen(copy) for copy in range(1, self.copies + 1)]
        return {service: ",".join(listen[service] for listen in every) for service in SERVICES}

    def of(self, name: str) -> tuple[int, ...]:
        """The TCP ports that the process ``name`` cannot do without."""
        for copy in range(1, self.copies + 1):
            if name == server_name(copy):
                return tuple(self.ports[f"{service}-{copy}"] for service in SERVICES)
        return (self.ports[name],) if name in (DATABASE, "channel", "gateway") else ()

    def environment(self) -> dict[str, str]:
        """The variables that tell a process of the stack where the others are (and the first copy of the servers where to listen)."""
        return {
            "JISHI_GATEWAY_LISTEN": f"{LOOPBACK}:{self.ports['gateway']}",
            "JISHI_BASE_URL": self.gateway,
            "JISHI_CHANNEL_LISTEN": f"{LOOPBACK}:{self.ports['channel']}",
            "JISHI_CHANNEL_URL": self.channel,
            "JISHI_BELL": json.dumps(dict.fromkeys(SERVICES, f"{LOOPBACK}:{self.ports['bell']}")),
            "JISHI_LISTEN": json.dumps(self.listen(1)),
            "JISHI_RPC": json.dumps(self.rpc()),
        }


def choose(copies: int, wanted: int, last: Mapping[str, Any]) -> Addresses:
    """Ports for a start: those of the ``last`` run where they are still free, so that who kept an address finds the stack again.

    ``wanted``: the gateway's port, 0 for any. Raises StackError where it is taken.
    """
    if wanted and not is_free(wanted):
        raise StackError(f"port {wanted} is taken by {holder_of(wanted)}; choose another --port")
    services = (f"{service}-{copy}" for copy in range(1, copies + 1) for service in SERVICES)
    ports: dict[str, int] = {"gateway": wanted} if wanted else {}
    for name in ("gateway", DATABASE, "channel", "bell", *services):
        if name not in ports:
            known = last.get(name, 0)
            taken = set(ports.values())
            ports[name] = known if known and known not in taken and is_free(known) else _another(taken)
    return Addresses(ports, copies)


def _another(taken: set[int]) -> int:
    while True:
        port = free_port()
        if port not in taken:
            return port
