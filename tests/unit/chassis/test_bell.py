"""The bell between processes: by host name, never waiting, deaf to rubbish."""

import socket
import threading

import pytest
from pydantic import ValidationError

from services.chassis import bell
from services.chassis.settings import Settings
from tests.backends.processes import free_port, wait_until


@pytest.fixture
def heard(monkeypatch):
    found: list[str] = []
    monkeypatch.setattr(bell, "_listeners", [found.append])
    return found


@pytest.fixture
def listening(heard):
    """A worker's ear on every address of this machine; its port."""
    port, ended = free_port(), threading.Event()
    thread = threading.Thread(target=bell.listen, args=(f"0.0.0.0:{port}", ended.is_set), daemon=True)
    thread.start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        wait_until(lambda: out.sendto(b"there?", ("127.0.0.1", port)) and heard, "the ear to listen")
    heard.clear()
    yield port
    ended.set()
    thread.join()


@pytest.fixture
def sender():
    made = []

    def make(address):
        made.append(bell.Sender(address))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_ring_reaches_a_worker_by_name_and_by_number(listening, heard, sender, host):
    one = sender(f"{host}:{listening}")
    wait_until(lambda: one.send("orders.orders") or "orders.orders" in heard, "the ring")


def test_a_host_that_moved_is_found_again_and_one_that_is_away_is_remembered(listening, heard, sender, monkeypatch):
    found, asked = ["", "127.0.0.9", "127.0.0.1"], []

    def look_up(*_):
        """Not there yet, then where nobody listens, then here; away again when the list is empty."""
        asked.append(1)
        if not found or not (answer := found.pop(0)):
            raise OSError("no such host")
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", (answer, 0))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(bell, "RESOLVED_FOR_S", 0.0)
    one = sender(f"orders-worker:{listening}")
    wait_until(lambda: one.send("orders.orders") or heard, "the host to be found")
    before = len(asked)
    wait_until(lambda: one.send("orders.orders") or len(asked) > before + 2, "the host to be away")
    heard.clear()
    wait_until(lambda: one.send("again") or "again" in heard, "the host to be remembered")


def test_sending_never_waits_for_the_name_of_the_host(sender, monkeypatch):
    asked, answer = threading.Event(), threading.Event()

    def slow(*_):
        asked.set()
        answer.wait(30)
        raise OSError

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    one = sender("orders-worker:50061")
    for _ in range(1000):
        one.send("orders.orders")
    assert asked.wait(10)
    assert [thread.name for thread in threading.enumerate()].count("bell") == 1
    answer.set()


def test_rubbish_is_passed_on_as_a_name_that_nobody_has(listening, heard, sender):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        for rubbish in (b"", b"\xff\xfe", b"x" * 60_000, b"orders.orders\x00"):
            out.sendto(rubbish, ("127.0.0.1", listening))
    one = sender(f"127.0.0.1:{listening}")
    wait_until(lambda: one.send("orders.orders") or "orders.orders" in heard, "a ring after the rubbish")
    assert all(len(name) <= bell.MAX_RING for name in heard)


def test_an_address_of_somebody_else_is_not_listened_on(heard):
    bell.listen("192.0.2.1:50061", lambda: False)
    assert heard == []


def test_where_a_worker_listens():
    bells = {"orders": "orders-worker:50061", "catalog": "catalog-worker:50061"}
    assert Settings(bell=bells).bells(["orders"]) == {"orders-worker:50061"}
    assert Settings(bell=bells, bell_listen="0.0.0.0:50061").bells(["orders", "catalog"]) == {"0.0.0.0:50061"}
    assert Settings(bell_listen="0.0.0.0:50061").bells(["orders"]) == set()


@pytest.mark.parametrize(
    "address", ["orders-worker", ":50061", "orders-worker:", "orders-worker:0", "host:70000", "host:x"]
)
def test_a_bell_without_a_port_is_refused_when_the_process_starts(address):
    with pytest.raises(ValidationError, match="is no host:port"):
        Settings(bell={"orders": address})
    with pytest.raises(ValidationError, match="is no host:port"):
        Settings(bell_listen=address)
