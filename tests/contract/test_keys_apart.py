"""Servers on machines of their own: no folder of keys is shared, public keys travel by JWKS. Real processes, through the gateway."""

import json
import os
import signal
import sys

import pytest

from services.chassis import clock
from services.cli.api import Api
from tests.backends.processes import ServerProcess, free_port, wait_until

pytestmark = pytest.mark.timeout(180)
SERVICES = ("accounts", "orders", "disputes")


class Machines:
    """A machine for each of three services and one for the gateway; they share the database and addresses, nothing else."""

    def __init__(self, world, folder):
        self.world, self.folder = world, folder
        clock.open_sandbox(world.database("jishi"))
        self.ports = {f"{kind}-{name}": free_port() for name in SERVICES for kind in ("rpc", "keys")}
        self.gateway = free_port()
        self.shared = {
            "JISHI_SANDBOX": "true",
            "JISHI_BOOTSTRAP_SECRET": "a-test",
            "JISHI_INSTALLATION_KEY": "ab" * 32,
            "JISHI_RPC": json.dumps({name: f"127.0.0.1:{self.ports[f'rpc-{name}']}" for name in SERVICES}),
            "JISHI_GATEWAY_LISTEN": f"127.0.0.1:{self.gateway}",
        }
        self.jwks = {name: f"http://127.0.0.1:{self.ports[f'keys-{name}']}/jwks.json" for name in SERVICES}
        self.running: dict[str, ServerProcess] = {}
        self.api = Api(f"http://127.0.0.1:{self.gateway}")

    def start(self, name, **more):
        listen = {"JISHI_DATA_DIR": str(self.folder / name), "JISHI_JWKS": json.dumps(self.jwks)}
        arguments = ["services.gateway"]
        if name in SERVICES:
            listen["JISHI_LISTEN"] = json.dumps({name: f"127.0.0.1:{self.ports[f'rpc-{name}']}"})
            listen["JISHI_JWKS_LISTEN"] = json.dumps({name: f"127.0.0.1:{self.ports[f'keys-{name}']}"})
            arguments = [f"services.{name}", "server"]
        environment = {**os.environ, **self.world.environment, **self.shared, **listen, **more}
        process = ServerProcess([sys.executable, "-m", *arguments], environment, self.folder / f"{name}.log")
        process.start()
        self.running[name] = process

    def stop(self, name):
        self.running.pop(name).signal_group(signal.SIGTERM, seconds=30)

    def key(self, name):
        return self.folder / name / "keys" / f"{name}.key.json"

    def status(self, token):
        """How disputes answers somebody from the platform."""
        return (
            self.api.as_caller(token).ask("GET", "/v1/disputes", params={"state": "wait_merchant"}, retry=False).status
        )

    def end(self):
        self.api.close()
        for process in self.running.values():
            process.signal_group(signal.SIGKILL)


@pytest.fixture
def machines(memory_world, tmp_path):
    made = Machines(memory_world, tmp_path)
    for name in ("gateway", *SERVICES):
        made.start(name)
    yield made
    made.end()


def test_tokens_are_good_on_every_machine_and_keys_may_change(machines):
    api = machines.api
    admin = api.post("/v1/bootstrap/admin", {"secret": "a-test", "name": "root"})["token"]
    wait_until(lambda: machines.status(admin) == 200, "disputes to take a token of accounts", seconds=60)
    folders = {name: sorted(path.name for path in machines.key(name).parent.iterdir()) for name in SERVICES}
    assert folders == {name: [f"{name}.key.json", f"{name}.pub.json"] for name in SERVICES}

    # disputes asks orders: its own token and the buyer's are checked there
    buyer = api.as_caller(api.post("/v1/sandbox/buyers", {"name": "小明"})["token"])
    claim = {"order_id": "1234567890123456789", "kind": "refund_only", "reason": "灯不亮"}
    answer = buyer.ask("POST", "/v1/disputes", claim)
    assert (answer.status, answer.reason) == (404, "NOT_FOUND")
    assert "order" in answer.body["detail"]

    machines.stop("accounts")
    machines.key("accounts").unlink()
    machines.start("accounts")
    auditor = api.as_caller(admin).post("/v1/staff", {"role": "auditor", "name": "later"})["token"]
    wait_until(lambda: machines.status(auditor) == 200, "the new key to be found")
    assert machines.status(admin) == 200, "a token of the key before lives until it ends"

    machines.stop("disputes")
    machines.start("disputes", JISHI_JWKS="{}")
    wait_until(lambda: machines.status(admin) == 401, "a machine that was told no keys to refuse", seconds=60)
