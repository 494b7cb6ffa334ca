"""One embedded stack of mortal processes, two copies of every server, for the faults that are shown on it one after the other."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from signal import SIGKILL

import pytest

from services.chassis import clock
from services.chassis.settings import Settings
from services.cli.api import Api
from services.cli.audit.run import audit
from services.cli.processes import Child
from services.cli.stack import Options, Stack
from tests.backends.processes import PATIENCE_S, wait_until
from tests.faults import mortal
from tests.faults.errands import EVERYTHING, changes_mind
from tests.faults.traffic import Errand, Town, Traffic

ROOT = Path(__file__).resolve().parents[2]
MORTAL = frozenset({"servers", "worker", "jobs"})


class MortalStack(Stack):
    """A stack whose servers, worker and jobs die at the points that a test arms."""

    def __init__(self, options: Options) -> None:
        self.points = options.data / "points"
        self.points.mkdir(parents=True)
        named = {"MORTAL_POINTS": str(self.points), "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}"}
        super().__init__(Options(**{**_fields(options), "environment": {**options.environment, **named}}))

    def _python(self, name: str, role: str, module: str, *arguments: str) -> Child:
        chosen = "tests.faults.mortal" if role in MORTAL else module
        return super()._python(name, role, chosen, *arguments)

    def arm(self, *points: str, passing: int = 1) -> None:
        """Let who comes by a point die there."""
        for point in points:
            mortal.arm(self.points, point, passing)

    def until_dead(self) -> None:
        """Somebody has died at every armed point."""
        wait_until(lambda: not mortal.armed(self.points), f"deaths at {mortal.armed(self.points)}")

    def strike(self, traffic: Traffic, point: str, errand: Errand, *, passing: int = 1) -> None:
        """Somebody dies at ``point`` while ``errand``, which leads there, is done to its end."""
        self.arm(point, passing=passing)
        errand(traffic, f"{traffic.name}-{point}")
        self.until_dead()
        self.forgive()

    def kill(self, role: str) -> int:
        """Kill -9 one that runs: another death may just have been the last one's."""
        wait_until(lambda: any(child.running for child in self._of(role)), f"one of {role} to run", every=0.01)
        return super().kill(role)

    def forgive(self) -> None:
        """Deaths so far were wanted: the next start comes at once."""
        for child in self.children.values():
            child.failures = 0

    def starts(self, role: str) -> int:
        """How often processes of ``role`` were started."""
        return sum(child.starts for child in self.children.values() if child.role == role)

    def settings(self) -> Settings:
        """What an audit needs to find the data."""
        prefix = self.options.environment.get("JISHI_DB_PREFIX", "")
        return Settings(mongo_uri=self.mongo_uri, db_prefix=prefix, embedded=self._is_embedded, sandbox=True)

    def audited(self) -> None:
        """``jishi audit`` finds nothing, and no delivery was given up on the way."""
        self.wait_healthy()
        report = audit(self.settings(), wait_s=60)
        told = "\n".join(f"{one.check} {one.subject}: {one.expected} → {one.found}" for one in report.violations)
        assert report.clean, f"{told}\n{self.loud()}"
        assert sum(pair.verdicts.total() for pair in report.pairs) > 0
        clock.reset()

    def loud(self) -> str:
        """Errors in the logs."""
        lines = []
        for child in self.children.values():
            text = child.log.read_text(encoding="utf-8", errors="replace").splitlines()
            lines += [f"{child.name}: {line[:4000]}" for line in text if '"error"' in line or "Traceback" in line][-8:]
        return "\n".join(lines)


class DoubledStack(MortalStack):
    """Two of every process but the gateway, the channel and the database: two workers need a broker that is no process's own."""

    def _plan(self) -> tuple[list[Child], list[Child]]:
        early, late = super()._plan()
        late += [self._python(f"{role}-2", role, "services.embedded", role) for role in ("worker", "jobs")]
        return early, late

    def die(self, name: str) -> None:
        """Kill -9 of one process, as soon as it runs; its next start comes at once."""
        child = self.children[name]
        wait_until(lambda: child.running, f"{name} to run", every=0.01)
        child.signal(SIGKILL)
        child.wait(PATIENCE_S)
        self.forgive()


def _fields(options: Options) -> dict:
    return {name: getattr(options, name) for name in Options.__dataclass_fields__}


@pytest.fixture(scope="session")
def memory_stack(tmp_path_factory) -> Iterator[MortalStack]:
    """On memory://, with an embedded database of its own: it is killed too."""
    running = MortalStack(Options(tmp_path_factory.mktemp("mortal"), copies=2))
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def rabbit_stack(broker, tmp_path_factory) -> Iterator[DoubledStack | None]:
    """On RabbitMQ, in a virtual host of its own; None where there is none, for then a mark skips or fails the tests."""
    if broker.uri.startswith("memory:"):
        yield None
        return
    host = f"f{secrets.token_hex(4)}"
    running = DoubledStack(Options(tmp_path_factory.mktemp("mortal"), copies=2, amqp_uri=broker.open_host(host)))
    running.start()
    yield running
    running.stop()
    broker.close_host(host)


@pytest.fixture(scope="module")
def stack(memory_stack) -> MortalStack:
    """The stack that the tests of a module play on."""
    return memory_stack


@pytest.fixture(scope="module")
def town(stack) -> Iterator[Town]:
    """An admin and two shops."""
    api = Api(stack.url)
    yield Town.found(api, stack.bootstrap_secret, "镇")
    api.close()


@pytest.fixture(scope="session")
def story(memory_stack):
    """Every write of the API, done once, and the data found right."""
    from tests.faults.every_write import EveryWrite  # it says what a MortalStack is by this file

    story = EveryWrite(memory_stack, "every")
    story.tell()
    memory_stack.audited()
    yield story
    story.api.close()


@pytest.fixture
def seed() -> int:
    """Another one in every run; the traffic prints it."""
    return secrets.randbelow(1_000_000)


@pytest.fixture
def round_of(town, stack, seed, request):
    """``round_of(trouble)``: everybody's errands with trouble, then everything is checked and audited."""
    started = []

    def go(trouble):
        traffic = Traffic(town, f"{request.node.originalname[5:12]}{seed}", seed)
        started.append(traffic)
        try:
            traffic.run(EVERYTHING, trouble, meanwhile=changes_mind)
        except Exception:
            print(stack.loud())
            raise
        stack.forgive()
        traffic.settle()
        traffic.check()
        stack.audited()
        return traffic

    yield go
    for traffic in started:
        traffic.close()
