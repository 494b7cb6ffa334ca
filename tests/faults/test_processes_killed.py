"""kill -9 of every process of the embedded stack in the middle of its work: the story finishes, and the audit is clean.

One stack is killed in one way after the other, so every test goes on with what the ones before have left.
"""

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest

from services.chassis import clock
from services.cli import imports
from services.cli.api import Api
from tests.backends.processes import wait_until
from tests.faults.clients import PATIENCE_S, Client, Journal
from tests.faults.errands import broadcasts, changes_mind, completes

pytestmark = pytest.mark.timeout(600)
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


def test_jobs_in_an_undo_and_an_export(stack, town, seed):
    """Killed between steps and before a commit: the shop is as it was before the import, and the file holds it whole, once."""
    print(f"seed {seed}")
    rng = random.Random(seed)
    shop = Api(stack.url).as_caller(town.shops[1].token)

    def exported(*points):
        """The file of the catalog, its jobs killed at the points."""
        export_id = started("/v1/exports", points, {"format": "jsonl"})["export_id"]
        path = f"/v1/exports/{export_id}"
        wait_until(lambda: shop.get(path)["export"]["state"] == "completed", "the export", seconds=PATIENCE_S)
        return b"".join(shop.download(f"{path}:download"))

    def started(path, points, body=None):
        """Ask for a job and kill who works on it, at one point after the other."""
        answer = None
        for point, passing in points or [("", 0)]:
            if point:
                stack.arm(point, passing=passing)
            answer = answer or shop.post(path, body or {})
            if point:
                stack.until_dead()
                stack.forgive()
        return answer

    before = exported()
    job = imports.watch(shop, imports.upload(shop, SAMPLE), within_s=PATIENCE_S)
    assert job["created"] == job["total"], job
    whole = exported()
    points = [("exports.step", rng.randint(1, 2)), ("exports.step", 1)]
    assert exported(*points) == whole
    points = [("imports.step", 1), ("jobs.commit", 1), ("jobs.commit", rng.randint(1, 2))]
    rng.shuffle(points)
    print(f"jobs killed in the undo at {points}")
    undo = started(f"/v1/imports/{job['import_id']}:undo", points)
    done = imports.watch(shop, undo["import_id"], within_s=PATIENCE_S)
    assert (done["state"], done["updated"], done["failed"]) == ("completed", job["total"], 0), done
    assert exported() == before
    stack.audited()


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
    assert clock.monotonic() - began < 2 * DEADLINE_S, answer  # twice: a busy machine is late with everything
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


@pytest.mark.parametrize("moment", ["before", "after"])
def test_worker_when_the_time_of_a_publish_has_come(town, stack, moment):
    """Killed before it published, or after and before it knew: the shelf is published, once."""
    merchant = town.api.as_caller(town.shops[0].token)
    modules = [{"kind": "rich_text", "html": "<p>双十一</p>"}]
    shelf = merchant.post("/v1/shelves", {"name": moment, "modules": modules})["shelf"]
    path = f"/v1/shelves/{shelf['shelf_id']}"
    now = datetime.fromisoformat(town.admin.post("/v1/sandbox/clock:advance", {"seconds": 1})["now"])
    merchant.post(f"{path}:schedule", {"publish_time": (now + timedelta(hours=1)).isoformat()})
    stack.arm(f"catalog.shelves.due.{moment}")
    before = stack.starts("worker")
    town.admin.ask("POST", "/v1/sandbox/clock:advance", {"seconds": 3600})
    stack.until_dead()
    wait_until(lambda: "schedule" not in merchant.get(path)["shelf"], "the publish to be over")
    stack.forgive()
    after = merchant.get(path)["shelf"]
    assert (after["published_version"], after["versions"], after["etag"]) == (1, 1, "3"), "made, planned, published"
    assert len(merchant.get(f"{path}/versions")["versions"]) == 1
    assert stack.starts("worker") == before + 1
    stack.audited()
