"""A gateway on a real port before a desk on a real port and database."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
import uvicorn

from services.gateway.app import Gateway
from tests.unit.chassis_rpc import desk
from tests.unit.chassis_rpc.rig import rig, settings, until

__all__ = ["rig", "settings"]


@contextmanager
def gateway_before(settings, services=("desk",)) -> Iterator[httpx.Client]:
    """A gateway of `settings` in a thread; a client of it."""
    listener = socket.create_server(("127.0.0.1", 0))
    app = Gateway(settings, desk.methods_by_name().values(), services)
    config = uvicorn.Config(app, loop="uvloop", http="httptools", ws="none", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    until(lambda: server.started, "the gateway listens")
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=30) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@pytest.fixture
def web(rig) -> Iterator[httpx.Client]:
    """A client of the gateway before the desk of `rig`."""
    with gateway_before(rig.settings.model_copy(update={"rpc": {"desk": rig.address}})) as client:
        yield client


@pytest.fixture
def merchant(rig) -> dict[str, str]:
    """The headers of a merchant of shop_1."""
    return {"Authorization": f"Bearer {rig.token()}"}
