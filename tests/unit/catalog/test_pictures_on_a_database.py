"""A shop's list of pictures on a real database: counted exactly, whoever comes at once; kept in GridFS or S3."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from services.catalog.commands import bulk, shelves
from services.catalog.commands import images as commands
from services.catalog.jobs import letting_go
from services.catalog.model import fetches, images
from services.catalog.model.bulk import ProductRef
from services.catalog.queries import images as queries
from services.catalog.store import pictures
from services.chassis import blobs, clock, ids, policy
from services.chassis.errors import Refusal
from services.chassis.jobs import LeaseLost
from services.chassis.settings import Settings
from tests.backends.pictures import drawn
from tests.backends.s3 import S3Server
from tests.unit.catalog.making import OTHER, SHOP, product

MOST = 3


@pytest.fixture(params=["gridfs", "s3"])
def kept_in(request, house):
    """Where the pictures are kept."""
    if request.param == "gridfs":
        yield blobs.blobs(Settings(), house.database)
        return
    with S3Server() as server:
        yield blobs.blobs(server.settings, house.database)


@pytest.fixture
def few(monkeypatch):
    """A list holds three."""
    value = policy.Policy.value
    monkeypatch.setattr(
        policy.Policy, "value", lambda own, name, when: MOST if name == "image_count" else value(own, name, when)
    )


def upload(house, kept_in, number, shop=SHOP, key=None):
    content = drawn(colour=(number, 0, 0), size=(200, 100))
    found = commands.Upload(shop, f"{number}.png", iter([content[:50], content[50:]]))
    return commands.upload_image(house.store, kept_in, house.cause(key), found)


def listed(house, shop=SHOP):
    """How many are on the list, as it is shown and as it is counted."""
    shown = queries.page(house.store, shop, None, 50)[0]
    return len(shown), (house.store.shop(shop) or {}).get("image_count", 0)


def test_what_is_uploaded_is_there_in_each_size_and_once(house, kept_in):
    first = upload(house, kept_in, 1, key="k")
    assert upload(house, kept_in, 1, key="k").replayed
    assert upload(house, kept_in, 1).document["image_id"] == first.document["image_id"]
    assert listed(house) == (1, 1)
    for size, pixels in ((0, 200), (640, 200), (300, 200), (100, 100)):
        data, kind = queries.picture(kept_in, first.document["image_id"], size)
        assert (kind, int.from_bytes(data[16:20])) == ("image/png", pixels)


@pytest.mark.usefixtures("few")
def test_a_full_list_takes_no_more_until_something_is_deleted(house):
    kept_in = blobs.blobs(Settings(), house.database)
    made = [upload(house, kept_in, number).document["image_id"] for number in range(MOST)]
    for _ in range(2):
        with pytest.raises(Refusal, match="CONDITION_UNMET"):
            upload(house, kept_in, 9)
    assert upload(house, kept_in, 0).document["image_id"] == made[0], "what is there needs no room"
    assert upload(house, kept_in, 9, shop=OTHER).changed
    for _ in range(2):
        commands.delete_image(house.store, house.cause("gone"), SHOP, made[0])
    commands.delete_image(house.store, house.cause(), SHOP, made[0])
    assert listed(house) == (2, 2)
    assert upload(house, kept_in, 9).changed
    assert listed(house) == (3, 3)


@pytest.mark.usefixtures("few")
def test_many_at_once_fill_the_list_exactly(house):
    kept_in = blobs.blobs(Settings(), house.database)

    def one(number):
        try:
            return upload(house, kept_in, number % 6).changed
        except Refusal as refusal:
            return refusal.reason

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(one, range(12)))
    assert set(found) <= {True, "CONDITION_UNMET"}
    assert listed(house) == (MOST, MOST)


def test_one_shop_cannot_delete_anothers(house):
    kept_in = blobs.blobs(Settings(), house.database)
    image_id = upload(house, kept_in, 1).document["image_id"]
    with pytest.raises(Refusal, match="NOT_FOUND"):
        commands.delete_image(house.store, house.cause(), OTHER, image_id)
    assert listed(house) == (1, 1)


# --------------------------------------------------------------------------------------------------------- what nothing shows


def shows(image_id):
    return images.url("https://market.example", image_id)


def grace_passes(house):
    """Every picture off the list has been so for long enough."""
    house.store.images.update_many({"next_at": {"$gt": 0}}, {"$set": {"next_at": 1}})


def work(house, until=100):
    """The jobs process does what there is to do with pictures."""
    for _ in range(until):
        found = [pair for pair in house.jobs.claimable() if pair[0].collection in ("images", "image_files")]
        if not found:
            return
        job, row = found[0]
        lease = house.jobs.claim(job, row, lambda: False)
        assert lease is None or house.jobs.run(job, lease) == "done"


def is_there(kept_in, image_id):
    try:
        return bool(queries.picture(kept_in, image_id, 0))
    except Refusal:
        return False


@pytest.fixture
def own_store(monkeypatch, kept_in):
    """The job keeps pictures where the test does."""
    monkeypatch.setattr(letting_go, "blobs", lambda _settings, _database: kept_in)


@pytest.mark.usefixtures("own_store")
def test_the_bytes_of_a_deleted_picture_go_once_nothing_shows_it(house, kept_in):
    names = ("listed", "free", "product", "old version", "deleted product", "fetched", "shelf", "old shelf")
    made = {name: upload(house, kept_in, n).document["image_id"] for n, name in enumerate(names)}
    given = "https://img.example.com/9.jpg"
    house.upsert(
        product("a", images=[shows(made["product"]), given]),
        product("b", images=[shows(made["old version"])]),
        product("c", listed=False, detail=[{"text": "", "image": shows(made["deleted product"])}]),
    )
    house.upsert(product("b", images=[given]))
    bulk.delete(house.bulk(), [ProductRef(external_id="c")])
    source = fetches.waiting(SHOP, "imp", given) | {"state": fetches.FETCHED, "image_id": made["fetched"]}
    house.store.image_sources.insert_one(source)
    banner = {"kind": "banner", "groups": [], "count": 0, "product_ids": [], "image": shows(made["old shelf"])}
    said = {"name": "春", "banner": "", "modules": [banner]}
    shelf = shelves.create_shelf(house.store, house.cause(), SHOP, "s", said, publish=True).document
    place, other = (SHOP, shelf["shelf_id"]), {**said, "modules": [{**banner, "image": shows(made["shelf"])}]}
    shelves.update_shelf(house.store, house.cause(), place, "", other)
    for name, image_id in made.items():
        if name != "listed":
            commands.delete_image(house.store, house.cause(), SHOP, image_id)
    work(house)
    assert all(is_there(kept_in, image_id) for image_id in made.values()), "their time is not over"
    grace_passes(house)
    work(house)
    assert [name for name in names if not is_there(kept_in, made[name])] == ["free"]
    row = house.store.images.find_one({"image_id": made["product"]})
    assert row["next_at"] > clock.wall_ms(), "it is looked at again"


@pytest.mark.usefixtures("own_store")
def test_what_was_let_go_is_taken_in_again_and_what_is_going_is_waited_for(house, kept_in):
    image_id = upload(house, kept_in, 1).document["image_id"]
    commands.delete_image(house.store, house.cause(), SHOP, image_id)
    grace_passes(house)
    work(house, until=1)
    assert house.store.image_files.find_one({"_id": image_id})["state"] == images.GOING
    with pytest.raises(Refusal, match="UNAVAILABLE"):
        upload(house, kept_in, 1)
    work(house)
    assert not is_there(kept_in, image_id)
    for _ in range(2):
        upload(house, kept_in, 1)
    assert is_there(kept_in, image_id)
    assert listed(house) == (1, 1)
    work(house)
    assert is_there(kept_in, image_id)


@pytest.mark.usefixtures("own_store")
def test_another_shops_picture_of_the_same_bytes_stays_until_it_lets_go_too(house, kept_in):
    image_id = upload(house, kept_in, 1).document["image_id"]
    upload(house, kept_in, 1, shop=OTHER)
    commands.delete_image(house.store, house.cause(), SHOP, image_id)
    grace_passes(house)
    work(house)
    assert is_there(kept_in, image_id)
    commands.delete_image(house.store, house.cause(), OTHER, image_id)
    grace_passes(house)
    work(house)
    assert not is_there(kept_in, image_id)


@pytest.mark.usefixtures("own_store")
@pytest.mark.parametrize("what", ["upload", "another shop's upload"])
def test_an_upload_that_meets_the_letting_go_wins(house, kept_in, monkeypatch, what):
    image_id = upload(house, kept_in, 1).document["image_id"]
    commands.delete_image(house.store, house.cause(), SHOP, image_id)
    grace_passes(house)
    keeps = images.keeps_bytes

    def meanwhile(rows):
        answer = keeps(rows)
        monkeypatch.setattr(images, "keeps_bytes", keeps)
        upload(house, kept_in, 1, shop=SHOP if what == "upload" else OTHER)
        return answer

    monkeypatch.setattr(images, "keeps_bytes", meanwhile)
    work(house)
    assert is_there(kept_in, image_id)
    assert house.store.image_files.find_one({"_id": image_id})["state"] == images.KEPT


@pytest.mark.usefixtures("own_store")
def test_a_kill_between_the_steps_loses_nothing_and_leaves_nothing(house, kept_in, monkeypatch):
    image_id = upload(house, kept_in, 1).document["image_id"]
    commands.delete_image(house.store, house.cause(), SHOP, image_id)
    grace_passes(house)
    work(house, until=1)
    drop, dropped = type(kept_in).drop, []

    def killed(own, key):
        drop(own, key)
        dropped.append(key)
        raise LeaseLost("killed")

    monkeypatch.setattr(type(kept_in), "drop", killed)
    (job, row), *_ = [pair for pair in house.jobs.claimable() if pair[0].collection == "image_files"]
    assert house.jobs.run(job, house.jobs.claim(job, row, lambda: False)) == "given_up"
    monkeypatch.setattr(type(kept_in), "drop", drop)
    work(house)
    assert len(dropped) == 1
    assert house.store.image_files.find_one({"_id": image_id})["state"] == images.GONE
    assert all(kept_in.get(images.blob_key(image_id, size)) is None for size in (0, *images.SIZES))


def test_bytes_that_the_shop_has_had_are_not_decoded_again(house, monkeypatch):
    kept_in = blobs.blobs(Settings(), house.database)
    image_id = upload(house, kept_in, 1).document["image_id"]
    monkeypatch.setattr(pictures, "read", lambda _content: pytest.fail("it is decoded again"))
    assert upload(house, kept_in, 1).document["image_id"] == image_id
    commands.delete_image(house.store, house.cause(), SHOP, image_id)
    assert upload(house, kept_in, 1).document["image_id"] == image_id
    assert listed(house) == (1, 1)


def test_a_page_of_pictures_is_found_by_spans_and_every_picture_is_on_one(house):
    row = {"shop_id": SHOP, "image_id": "x", "version": 1}
    now, chance = clock.wall_ms(), random.Random(3)
    made = sorted((now - int(10 ** chance.uniform(0, 11.5)) for _ in range(60)), reverse=True)
    positions = [ids.new_id_floor("img", moment) + f"{number:015}" for number, moment in enumerate(made)]
    assert [ids.new_id_ms(position) for position in positions] == made
    keyed = [{**row, "_id": f"i{n}", "position": p, "created_by": f"c{n}"} for n, p in enumerate(positions)]
    house.database["images"].insert_many(keyed)
    found, before = [], None
    while True:
        page, before = queries.page(house.store, SHOP, before, 7)
        found += [each["position"] for each in page]
        if before is None:
            break
    assert found == sorted(positions, reverse=True)
