"""The broker inside a process: nothing is polled, and a full prefetch window is felt."""

import threading
import time

import pytest
from kombu import Connection, Consumer, Exchange, Producer, Queue

from services.chassis.amqp import memory


@pytest.fixture
def connection():
    with Connection("memory://localhost", transport="services.chassis.amqp.memory:Transport") as connection:
        yield connection


@pytest.fixture
def queue(connection, request) -> Queue:
    queue = Queue(request.node.name, Exchange(request.node.name, type="topic"), routing_key="a.b")
    queue(connection.default_channel).declare()
    return queue


def send(connection, queue, *bodies: str) -> None:
    producer = Producer(connection.channel(), auto_declare=False)
    for body in bodies:
        producer.publish(body, exchange=queue.exchange.name, routing_key="a.b")


def test_a_sleeping_consumer_wakes_at_once_and_an_idle_one_sleeps(connection, queue):
    heard: list[str] = []
    consumer = Consumer(connection, [queue], on_message=lambda message: (heard.append(message.payload), message.ack()))
    with consumer:
        began, worked = time.monotonic(), time.process_time()
        with pytest.raises(TimeoutError):
            connection.drain_events(timeout=0.3)
        assert time.monotonic() - began >= 0.3
        assert time.process_time() - worked < 0.15
        threading.Timer(0.05, send, (connection, queue, "x")).start()
        connection.drain_events(timeout=20)
    assert heard == ["x"]


def test_an_ack_makes_room_in_a_full_window(connection, queue):
    held = []
    consumer = Consumer(connection, [queue], on_message=held.append, prefetch_count=1)
    with consumer:
        send(connection, queue, "x", "y")
        connection.drain_events(timeout=20)
        with pytest.raises(TimeoutError):
            connection.drain_events(timeout=0.05)
        threading.Timer(0.05, held[0].ack).start()
        connection.drain_events(timeout=20)
    assert [message.payload for message in held] == ["x", "y"]


def test_what_is_given_back_comes_again(connection, queue):
    seen = []

    def reject_once(message) -> None:
        seen.append(message.payload)
        message.requeue() if len(seen) == 1 else message.ack()

    with Consumer(connection, [queue], on_message=reject_once):
        send(connection, queue, "x")
        connection.drain_events(timeout=20)
        connection.drain_events(timeout=20)
    assert seen == ["x", "x"]
    assert memory.Channel.queues[queue.name].qsize() == 0
