"""What a service stands on inside a server process: its database, its keys, its way to other services, and whether it is ready."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Final

from services.chassis import metrics, mongo, revocations
from services.chassis.logs import get
from services.chassis.mongo import Client, Collection
from services.chassis.rpc.client import Stub
from services.chassis.rpc.contracts import methods_of
from services.chassis.settings import Settings
from services.chassis.tokens import Signer, Verifier

WATCH_EVERY_S: Final = 2.0
LOOK_AGAIN_S: Final = 0.25
_log = get(__name__)


class Node:
    """Handed to the class that answers a service's rpcs."""

    def __init__(
        self, service: str, settings: Settings, client: Client, collections: tuple[Collection, ...] = ()
    ) -> None:
        """Connects to nothing yet: ``watch`` does."""
        self.service, self.settings, self.client = service, settings, client
        self.database = mongo.database(client, settings, service)
        self.collections = collections
        self.signer = Signer(settings, service)
        """Signs this service's own tokens; accounts mints everybody's with it."""
        self.verifier = Verifier(settings)
        self.ready = False
        """Whether the database answered when last asked; calls are refused while it does not."""
        self.started = False
        """Whether it was ever ready: until then a call that comes too early is asked again, afterwards its refusal is final."""
        self._declared = False
        self._stubs: dict[str, Stub] = {}
        self._ended = threading.Event()

    def stub(self, service: str) -> Stub:
        """The way to another service. Connects when first called."""
        if service not in self._stubs:
            addresses = self.settings.rpc_addresses(service)
            self._stubs[service] = Stub(
                addresses, self.signer.own, partial(methods_of, service), timeout_s=self.settings.rpc_timeout_s
            )
        return self._stubs[service]

    def watch(self, tell: Callable[[bool], None]) -> threading.Thread:
        """Make the indexes once the database answers, then read revocations every two seconds; ``tell`` hears of every change."""
        thread = threading.Thread(target=self._watch, args=(tell,), name=f"watch-{self.service}", daemon=True)
        thread.start()
        return thread

    def close(self) -> None:
        """Stop watching, hang up."""
        self._ended.set()
        for stub in self._stubs.values():
            stub.close()

    def _watch(self, tell: Callable[[bool], None]) -> None:
        while not self._ended.is_set():
            fine = False
            try:
                if not self._declared:
                    mongo.declare(self.database, self.collections)
                    self._declared = True
                self.verifier.revoked = revocations.read(self.database)
                fine = True
            except mongo.AWAY as error:
                _log.warning("database away", service=self.service, error=str(error)[:200])
            except Exception as error:  # noqa: BLE001 - this thread must not end
                fine = self._declared  # it answers; what it says is for a person to read
                _log.exception("database refuses", service=self.service, error=str(error)[:500])
            if self._ended.is_set():
                return
            if fine != self.ready:
                self.ready = fine
                self.started = self.started or fine
                metrics.READY.labels(self.service).set(fine)
                tell(fine)
            self._ended.wait(WATCH_EVERY_S if fine else LOOK_AGAIN_S)
