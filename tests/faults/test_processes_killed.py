"""kill -9 of every process of the embedded stack in the middle of its work: the story finishes, and the audit is clean.

One stack is killed in one way after the other, so every test goes on with what the ones before have left.
"""

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from services.chassis import clock
from services.cli import imports
from services.cli.api import Api
from tests.backends.processes import wait_until
from tests.faults.traffic import PATIENCE_S, Client, Journal, broadcasts, changes_mind, completes

pytestmark = pytest.mark.timeout(400)
DEADLINE_S = 10.0
"""Within which every command answers (``JISHI_RPC_TIMEOUT_S``)."""
SAMPLE = Path(imports.__file__).parents[1] / "catalog" / "samples" / "products.zh.csv"


def test_worker_in_the_middle_of_a_handler(round_of, stack, seed):
    """Decided and not written; written and not acked; all written and the commit not sent."""
    before = stack.starts("worker")

    def trouble(traffic):
        stack.strike(traffic, "orders.take_payment.before", changes_mind)
        stack.strike(traffic, "broadcast.deliver_chunk.after", broadcasts)
        stack.strike(traffic, "catalog.sell_stock.after", completes)
        stack.strike(traffic, "worker.commit", completes, passing=random.Random(seed).randint(1, 3))

    round_of(trouble)
    assert stack.starts("worker") == before + 4


def test_server_between_commit_and_answer(round_of, stack):
    """The effect is there, nobody was told: the client asks again and is answered as if nothing had happened."""
    names = (
        "orders.PlaceOrder",
        "catalog.ReserveStock",
        "payments.CreatePayment",
        "payments.ReceiveNotification",
        "disputes.OpenCase",
        "broadcast.SendBroadcast",
    )
    before = stack.starts("servers")
    stack.arm(*(f"{name}.answer" for name in names))
    round_of(lambda _: stack.until_dead())
    assert stack.starts("servers") >= before + len(names)


def test_servers_at_any_moment(round_of, stack, seed):
    """Either copy, three times, while writes are in flight; once with a transaction open."""
    rng = random.Random(seed)

    def trouble(traffic):
        stack.arm("servers.commit", passing=rng.randint(2, 10))
        for moment in sorted(rng.sample(range(4, 25), 3)):
            traffic.busy(moment)
            print(f"killed after {moment} answers: {stack.kill('servers')}")
            stack.forgive()
        stack.until_dead()

    round_of(trouble)


def test_jobs_in_an_import_channel_and_gateway(round_of, stack, town, seed):
    """The import counts every product once however often it is killed; who pays and who is refunded does not notice."""
    rng = random.Random(seed)

    def killed_again_and_again(traffic):
        shop = traffic.line.as_caller(town.shops[0].token)
        points = [("imports.step", rng.randint(1, 2)), ("jobs.commit", 1), ("jobs.commit", rng.randint(1, 2))]
        rng.shuffle(points)
        print(f"jobs killed at {points}")
        import_id = ""
        for point, passing in points:
            stack.arm(point, passing=passing)
            import_id = import_id or imports.upload(shop, SAMPLE)
            stack.until_dead()
            stack.forgive()
        job = imports.watch(shop, import_id, within_s=PATIENCE_S)
        assert (job["state"], job["failed"], job["created"]) == ("completed", 0, job["total"]), job
        again = imports.watch(shop, imports.upload(shop, SAMPLE), within_s=PATIENCE_S)
        assert (again["state"], again["unchanged"]) == ("completed", job["total"]), again

    def trouble(traffic):
        with ThreadPoolExecutor(1) as pool:
            importing = pool.submit(killed_again_and_again, traffic)
            for moment, role in zip(sorted(rng.sample(range(4, 25), 4)), ("channel", "gateway") * 2, strict=True):
                traffic.busy(moment)
                print(f"{role} killed after {moment} answers: {stack.kill(role)}")
                stack.forgive()
            importing.result()

    round_of(trouble)


def test_database_away(round_of, stack, town, seed):
    """Commands answer 503 within their deadline; no event is given up; all goes on by itself when it is back."""
    rng = random.Random(seed)

    def trouble(traffic):
        traffic.busy(rng.randint(4, 15))
        stack.hold("database")
        try:
            refused = [asked(traffic, town, number) for number in range(3)]
        finally:
            stack.release("database")
        assert refused == [503] * 3
        traffic.busy(len(traffic.journal.lines) + 5)
        stack.kill("database")
        stack.forgive()

    round_of(trouble)
    with stack.connect() as client:
        for service in ("accounts", "catalog", "orders", "payments", "disputes", "broadcast"):
            assert client[service]["handled"].count_documents({"state": {"$ne": "done"}}) == 0
            assert client[service]["handled"].count_documents({"attempts": {"$gt": 0}}) == 0, service


def asked(traffic, town, number):
    """The status of a command while the database is away."""
    began = clock.monotonic()
    shop = town.shops[0]
    answer = traffic.line.as_caller(shop.token).ask(
        "POST", f"/v1/shops/{shop.shop_id}/deposits", {"amount": 1}, key=f"away-{traffic.name}-{number}", retry=False
    )
    assert clock.monotonic() - began < DEADLINE_S + 1, answer
    assert answer.reason == "UNAVAILABLE", answer
    return answer.status


def test_everything_at_once(round_of, stack, seed):
    """A power cut, twice: the stack is started again on the same folder, at the same address."""
    rng = random.Random(seed)

    def trouble(traffic):
        for moment in (rng.randint(4, 12), rng.randint(15, 24)):
            traffic.busy(moment)
            url = stack.url
            stack.kill_all()
            with pytest.raises(httpx.TransportError):
                Client(Api(url), "dark", Journal()).api.ask("GET", "/healthz", retry=False)
            stack.start()
            assert stack.url == url

    round_of(trouble)
    wait_until(lambda: all(child.running for child in stack.children.values()), "all children")
