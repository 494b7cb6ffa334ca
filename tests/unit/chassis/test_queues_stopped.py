"""The consumers of a worker that is told to stop in the moment the broker goes away."""

import pytest
from eventlet.event import Event
from nameko.messaging import QueueConsumerStopped

from services.chassis.amqp.entrypoints import EventQueues


class Consumer:
    def __init__(self, *, connected: bool) -> None:
        self._connected, self.cancelled = connected, False

    def cancel(self) -> None:
        if not self._connected:
            raise ConnectionResetError("the broker is gone")
        self.cancelled = True


def asked_to_stop(consumers):
    queues = EventQueues()
    queues._consumers = dict(consumers)
    queues._pending_remove_providers = {name: Event() for name in consumers}
    return queues, dict(queues._pending_remove_providers)


def test_each_consumer_is_cancelled_and_who_waits_for_it_goes_on():
    consumers = {"paid": Consumer(connected=True), "closed": Consumer(connected=True)}
    queues, waiting = asked_to_stop(consumers)
    queues.on_iteration()
    assert all(consumer.cancelled for consumer in consumers.values())
    assert all(event.ready() for event in waiting.values())
    assert queues.should_stop


def test_a_connection_lost_while_cancelling_ends_the_search_for_the_broker():
    queues, waiting = asked_to_stop({"paid": Consumer(connected=True), "closed": Consumer(connected=False)})
    with pytest.raises(ConnectionResetError):
        queues.on_iteration()
    assert waiting["paid"].ready()
    assert not waiting["closed"].ready()
    with pytest.raises(QueueConsumerStopped):
        queues.on_connection_error(ConnectionRefusedError(), 0.5)


def test_a_broker_that_is_back_in_time_sees_the_rest_cancelled():
    queues, waiting = asked_to_stop({"closed": Consumer(connected=False)})
    with pytest.raises(ConnectionResetError):
        queues.on_iteration()
    queues._consumers = {"closed": Consumer(connected=True)}  # as get_consumers makes them anew
    queues.on_iteration()
    assert waiting["closed"].ready()
    assert queues.should_stop
