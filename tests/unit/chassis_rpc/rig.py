"""Fixtures of everything that talks to the desk: a running server, tokens, stubs."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from services.chassis import rpc
from services.chassis.settings import Settings
from services.chassis.tokens import Signer
from tests.unit.chassis_rpc import desk

PATIENCE_S = 30.0


def until(condition: Callable[[], object], what: str = "") -> None:
    """Wait until `condition()` is true."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"still not so: {what or condition}"
        time.sleep(0.01)


@dataclass
class Rig:
    """One desk server and everybody who may call it."""

    settings: Settings
    servers: rpc.Servers

    @property
    def server(self):
        return self.servers.servers["desk"]

    @property
    def address(self) -> str:
        return self.server.address

    def token(self, kind: str = "merchant", subject: str = "acc_1", **more) -> str:
        """A token signed by accounts; a merchant's is one of shop_1 with the scope to write cards."""
        if kind == "merchant":
            more = {"scopes": ["cards:write"], "shop_id": "shop_1", "account_id": "acc_1", **more}
        return Signer(self.settings, "accounts").mint(kind, subject, **{"lifetime_s": 3600, **more}).text

    def stub(self, token: str = "", *, address: str = "", timeout_s: float = 10.0) -> rpc.Stub:
        """A stub of the desk that shows `token`."""
        return rpc.Stub(address or self.address, lambda: token, desk.methods_by_name, timeout_s=timeout_s)

    def ask(self, name: str, token: str = "", key: str = "", timeout_s: float = 10.0, **values):
        """One call, hung up after."""
        stub = self.stub(token, timeout_s=timeout_s)
        try:
            return stub.call(name, desk.message(f"{name}Request")(**values), desk.message(f"{name}Response"), key=key)
        finally:
            stub.close()


def started(settings: Settings) -> rpc.Servers:
    """Servers of the desk, ready."""
    servers = rpc.start([desk.service()], settings)
    until(lambda: servers.ready, "the desk is ready")
    return servers


@pytest.fixture
def settings(memory_world) -> Settings:
    """The settings of this test's world, with a desk on a free port."""
    return memory_world.settings.model_copy(update={"listen": {"desk": "127.0.0.1:0"}})


@pytest.fixture
def rig(settings) -> Iterator[Rig]:
    """A desk that answers."""
    servers = started(settings)
    yield Rig(settings, servers)
    servers.stop(1)
