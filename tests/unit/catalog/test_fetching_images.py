"""The pictures that an import names are fetched, tried again, given up; and shown from here, while the product stays as it was."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from services.catalog.commands import images as commands
from services.catalog.jobs import JOBS
from services.catalog.jobs import images as jobs_images
from services.catalog.model import fetches
from services.catalog.queries import images as queries
from services.catalog.queries import products as product_queries
from services.chassis import clock, jobs, policy
from services.chassis.errors import Refusal
from services.chassis.fresh import Fresh
from services.chassis.settings import Settings
from tests.backends.pictures import PictureServer, csv
from tests.backends.processes import wait_until
from tests.unit.catalog.making import OTHER, SHOP

BASE = "http://shop.example"
FETCH = next(job for job in JOBS if job.collection == "image_fetches")


@pytest.fixture
def server(monkeypatch):
    found = PictureServer()
    own = Settings(fetch_from=[found.authority], base_url=BASE)
    monkeypatch.setattr("services.catalog.jobs.images.settings", lambda: own)
    yield found
    found.close()


@pytest.fixture
def hurry(monkeypatch):
    """A failed address is tried again at once, three times in all."""
    value = policy.Policy.value
    short = {"image_fetch": {"attempts": 3, "first_s": 0}}
    monkeypatch.setattr(policy.Policy, "value", lambda own, name, when: short.get(name) or value(own, name, when))


def imported(house, addresses, **how):
    return house.do_import(csv(addresses), **how)["import_id"]


def ask(house, import_id, key=None, shop=SHOP):
    return commands.fetch_images(house.store, house.cause(key), shop, import_id)


def work(house, import_id, give_up=lambda: False):
    """Runs of the jobs process, until nothing is due."""
    while True:
        row = house.store.image_fetches.find_one({"_id": import_id, "next_at": {"$lte": clock.wall_ms()}})
        lease = row and house.jobs.claim(FETCH, row, give_up)
        if not lease or house.jobs.run(FETCH, lease) == "given_up":
            return


def fetched(house, import_id, key=None):
    ask(house, import_id, key)
    work(house, import_id)
    return told(house, import_id)


def told(house, import_id):
    row = queries.fetching(house.store, SHOP, import_id)
    return {name: row[name] for name in ("state", "total", "fetched", "failed")}


def reasons(house, import_id):
    found, _ = queries.sources(house.store, import_id, "", None, 100)
    return {row["url"].rpartition("/")[2]: (row["state"], row["reason"], row["attempts"]) for row in found}


@pytest.mark.usefixtures("hurry")
def test_each_address_is_fetched_once_tried_again_or_given_up(house, server):
    paths = ["ok/1.png", "ok/1.png", "busy/2.png", "gone", "text", "bomb", "huge", "to/ok/3.png"]
    import_id = imported(house, [f"{server.url}/{path}" for path in paths])
    assert fetched(house, import_id) == {"state": "done", "total": 7, "fetched": 3, "failed": 4}
    assert reasons(house, import_id) == {
        "1.png": ("fetched", "", 1),
        "2.png": ("fetched", "", 2),
        "3.png": ("fetched", "", 1),
        "gone": ("failed", "REFUSED_THERE", 1),
        "text": ("failed", "NO_PICTURE", 1),
        "bomb": ("failed", "NO_PICTURE", 1),
        "huge": ("failed", "TOO_LARGE", 1),
    }
    assert server.asked["/ok/1.png"] == 1
    assert house.store.images.count_documents({"shop_id": SHOP}) == 3


def test_buyers_see_it_from_here_its_merchant_as_given_and_the_file_is_unchanged(house, server):
    address = f"{server.url}/ok/1.png"
    import_id = imported(house, [address])
    product_id = house.store.products.find_one({"shop_id": SHOP})["_id"]
    before = house.store.products.find_one({"_id": product_id})
    fetched(house, import_id)
    pictures = queries.Pictures(BASE, Fresh(0.0))
    for shop_id, shown in (("", f"{BASE}/v1/images/"), (SHOP, address), (OTHER, f"{BASE}/v1/images/")):
        found = product_queries.product(house.store, product_id, shop_id, pictures)["images"]
        assert [picture.startswith(shown) for picture in found] == [True]
    assert house.store.products.find_one({"_id": product_id}) == before
    again = imported(house, [address])
    assert house.store.imports.find_one({"_id": again})["unchanged"] == 1


@pytest.mark.usefixtures("hurry")
def test_what_failed_is_tried_again_when_asked_for_again(house, server):
    import_id = imported(house, [f"{server.url}/ok/1.png", f"{server.url}/gone"])
    assert fetched(house, import_id, key="k")["failed"] == 1
    with pytest.raises(Refusal, match="WRONG_STATE"):
        ask(house, house.queue(csv([])).document["_id"])
    assert fetched(house, import_id) == {"state": "done", "total": 2, "fetched": 1, "failed": 1}
    assert (server.asked["/ok/1.png"], server.asked["/gone"]) == (1, 2)
    ask(house, import_id, "k")
    assert told(house, import_id)["state"] == "done", "the first request again begins nothing"


def test_a_server_that_is_away_is_waited_for(house, server):
    import_id = imported(house, [f"{server.url}/busy/1.png"])
    assert fetched(house, import_id) == {"state": "fetching", "total": 1, "fetched": 0, "failed": 0}
    row = house.store.image_fetches.find_one({"_id": import_id})
    assert 25_000 < row["next_at"] - clock.wall_ms() <= 30_000


def test_a_second_import_fetches_only_what_is_not_here(house, server):
    first = imported(house, [f"{server.url}/ok/1.png"])
    fetched(house, first)
    second = imported(house, [f"{server.url}/ok/1.png", f"{server.url}/ok/2.png"])
    assert fetched(house, second) == {"state": "done", "total": 2, "fetched": 2, "failed": 0}
    assert (server.asked["/ok/1.png"], server.asked["/ok/2.png"]) == (1, 1)


def test_an_import_that_asks_for_it_begins_by_itself_once(house, server):
    wanted = imported(house, [f"{server.url}/ok/1.png"], fetch_images=True)
    plain = imported(house, [f"{server.url}/ok/9.png"])
    for import_id in (wanted, plain, wanted):
        [event] = house.store.imports.find_one({"_id": import_id})["outbox"]
        house.deliver(event, "fetch_images")
        work(house, import_id)
    assert told(house, wanted) == {"state": "done", "total": 1, "fetched": 1, "failed": 0}
    assert told(house, plain)["state"] == ""


def test_another_shops_import_is_not_there(house, server):
    import_id = imported(house, [f"{server.url}/ok/1.png"])
    with pytest.raises(Refusal, match="NOT_FOUND"):
        ask(house, import_id, shop=OTHER)
    with pytest.raises(Refusal, match="NOT_FOUND"):
        queries.fetching(house.store, OTHER, import_id)


def test_a_run_that_must_stop_in_the_middle_is_gone_on_with(house, server):
    import_id = imported(house, [f"{server.url}/ok/{number}.png" for number in range(20)])
    ask(house, import_id)
    while told(house, import_id)["state"] == "fetching":
        work(house, import_id, partial(next, iter([False, False]), True))  # two steps a run
    assert told(house, import_id) == {"state": "done", "total": 20, "fetched": 20, "failed": 0}
    assert house.store.image_sources.count_documents({"state": fetches.FETCHED}) == 20


def test_an_address_that_breaks_something_in_us_does_not_stand_in_the_way(house, server, monkeypatch):
    real = jobs_images.download

    async def download(address, *rest):
        if address.endswith("/breaks"):
            raise RuntimeError("a bug")
        return await real(address, *rest)

    monkeypatch.setattr(jobs_images, "download", download)
    import_id = imported(house, [f"{server.url}/breaks", f"{server.url}/ok/1.png"])
    assert fetched(house, import_id) == {"state": "fetching", "total": 2, "fetched": 1, "failed": 0}
    assert reasons(house, import_id)["breaks"] == ("waiting", "NO_ANSWER", 1)


def test_a_slow_server_does_not_cost_the_run_its_lease(house, server, monkeypatch):
    """Two copies would else take the work from each other for ever."""
    monkeypatch.setattr(jobs, "_lease_ms", lambda: 500)
    monkeypatch.setattr(jobs_images, "KEEP_EVERY_S", 0.05)
    import_id = imported(house, [f"{server.url}/held/1.png"])
    ask(house, import_id)
    row = house.store.image_fetches.find_one({"_id": import_id})
    lease = house.jobs.claim(FETCH, row, lambda: False)
    first = lease.row["claimed_until"]
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(house.jobs.run, FETCH, lease)
        wait_until(
            lambda: server.asked["/held/1.png"] and clock.wall_ms() > first + 500, "the lease's first end, twice"
        )
        held = house.store.image_fetches.find_one({"_id": import_id})
        assert (held["claim"], held["claimed_until"] > clock.wall_ms()) == (lease.row["claim"], True)
        server.goes_on.set()
        assert running.result() == "done"
    assert told(house, import_id) == {"state": "done", "total": 1, "fetched": 1, "failed": 0}
    assert server.asked["/held/1.png"] == 1


def test_an_address_that_two_imports_name_is_counted_by_the_one_that_has_it(house, server):
    """The second takes it over while the first is fetching it."""
    address = f"{server.url}/held/2.png"
    first, second = imported(house, [address]), imported(house, [address])
    ask(house, first)
    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(work, house, first)
        wait_until(lambda: server.asked["/held/2.png"] == 1, "the first to be fetching")
        ask(house, second)
        row = house.store.image_fetches.find_one({"_id": second})
        taking_over = pool.submit(house.jobs.run, FETCH, house.jobs.claim(FETCH, row, lambda: False))
        wait_until(lambda: server.asked["/held/2.png"] == 2, "the second to be fetching")
        server.goes_on.set()
        running.result()
        taking_over.result()
    work(house, first)
    work(house, second)
    assert told(house, first) == {"state": "done", "total": 1, "fetched": 0, "failed": 0}
    assert told(house, second) == {"state": "done", "total": 1, "fetched": 1, "failed": 0}
