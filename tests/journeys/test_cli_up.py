"""``jishi up`` as a person runs it: a process in the foreground, on a folder of its own, embedded."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys

import httpx
import pytest

from services.cli import world
from services.cli.api import Api
from services.cli.processes import Identity, identify
from tests.backends.processes import wait_until

pytestmark = pytest.mark.timeout(600)


class Up:
    """One `jishi up` on a folder."""

    def __init__(self, folder, *arguments):
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("JISHI_", "MONGO_", "AMQP_"))}
        command = [sys.executable, "-m", "services.cli.main", "up", "--port", "0", "--data", str(folder), *arguments]
        self.folder = folder
        self.process = subprocess.Popen(command, env=kept, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def wait(self):
        """Until it has said that it is up; answers where."""
        for line in self.process.stdout:
            if line.startswith("Jishi is up"):
                return line.split()[3]
        raise AssertionError("jishi up ended before it was up")

    @property
    def children(self):
        record = json.loads((self.folder / "stack.json").read_text(encoding="utf-8"))
        return {name: Identity(*one) for name, one in record["children"].items()}

    def end(self, number):
        self.process.send_signal(number)
        code = self.process.wait(60)
        self.process.stdout.close()
        return code


@pytest.fixture
def up(tmp_path):
    started = []

    def start(*arguments):
        one = Up(tmp_path / "data", *arguments)
        started.append(one)
        return one

    yield start
    for one in started:
        if one.process.poll() is None:
            one.end(signal.SIGTERM)
        one.process.stdout.close()


def alive(children):
    return [name for name, one in children.items() if identify(one.pid) == one]


def test_up_survives_kill_9_of_a_child_and_of_everything(up):
    first = up("--sandbox")
    url = first.wait()
    assert (first.folder / "bootstrap-secret").stat().st_mode & 0o777 == 0o600
    assert (first.folder / "stack.json").stat().st_mode & 0o777 == 0o600
    secret = (first.folder / "bootstrap-secret").read_text(encoding="utf-8").strip()
    api = Api(url)
    admin = api.as_caller(world.first_admin(api, secret))
    shop = world.open_shop(admin, "不倒翁")

    before, killed = first.children, ("database", "servers", "gateway")
    assert set(before) == {"database", "servers", "worker", "jobs", "channel", "gateway"}
    for name in killed:
        os.kill(before[name].pid, signal.SIGKILL)

    def restarted():  # one that is down at the moment stands nowhere
        now = first.children
        return all(now.get(name, before[name]) != before[name] for name in killed)

    wait_until(restarted, "restarts")
    wait_until(lambda: healthy(url), "health after three children were killed")
    assert api.get(f"/v1/shops/{shop.shop_id}")["shop"]["state"] == "open"

    a_stranger_on_the_gateways_port(first, url)
    children = first.children
    first.end(signal.SIGKILL)
    wait_until(lambda: not alive(children), "the children to die with their supervisor")

    second = up("--sandbox")
    assert second.wait() == url, "the stack comes back where it was"
    assert api.get(f"/v1/shops/{shop.shop_id}")["shop"]["state"] == "open"
    assert world.first_admin(api, secret) == admin.token
    children = second.children
    assert second.end(signal.SIGTERM) == 0
    assert alive(children) == []
    api.close()


def a_stranger_on_the_gateways_port(up, url):
    """The gateway dies and somebody else takes its port: it is said who, and the gateway comes back when the port is free."""
    port = int(url.rpartition(":")[2])
    os.kill(up.process.pid, signal.SIGSTOP)
    os.kill(up.children["gateway"].pid, signal.SIGKILL)
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        wait_until(lambda: bound(stranger, port), "the stranger to have the port")
        stranger.listen()
        os.kill(up.process.pid, signal.SIGCONT)
        said = next(line for line in up.process.stdout if "cannot be started again" in line)
        assert said.startswith(f"jishi up: gateway: cannot be started again: port {port} is taken by ")
        assert f"(process {os.getpid()})" in said
        assert not healthy(url)
    wait_until(lambda: healthy(url), "health after the port was free again", seconds=60)


def bound(stranger, port):
    with contextlib.suppress(OSError):
        stranger.bind(("127.0.0.1", port))
        return True
    return False


def test_a_second_up_on_the_same_folder_is_refused_and_sandbox_doors_are_shut_without_a_sandbox(up):
    url = up().wait()
    other = up()
    assert "another `jishi up`" in other.process.stdout.read()
    assert other.process.wait(30) == 1
    api = Api(url)
    assert api.ask("GET", "/v1/sandbox/clock").status == 404
    assert api.ask("POST", "/v1/sandbox/buyers", {"name": "x"}).status == 404
    api.close()


def healthy(url):
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"{url}/healthz", timeout=5).status_code == 200
    return False
