"""Pictures through HTTP: uploaded, listed, shown in every size, kept by caches for ever, fetched for an import."""

import io
import re
from urllib.parse import urlsplit

import pytest
from PIL import Image

from services.cli.demo.catalog import product
from tests.backends.pictures import bomb, csv, drawn
from tests.backends.processes import wait_until
from tests.journeys import guides
from tests.journeys.test_catalog import done

GUIDE = "docs/images.md"


def upload(api, content, name="a.png", **given):
    return api.ask("POST", "/v1/images", files={"file": (name, content, "application/octet-stream")}, **given)


def seen(api, image, **params):
    """(format, size) of what everybody sees, and the answer's headers."""
    with api.line.client.stream("GET", image["url"], params=params) as answer:
        assert answer.status_code == 200, answer.read()
        with Image.open(io.BytesIO(answer.read())) as found:
            return (found.format, found.size), answer.headers


def test_a_picture_is_uploaded_once_and_seen_in_every_size(shop, api):
    content = drawn("JPEG", (800, 400))
    first = upload(shop.api, content, "衣.jpg", key="one")
    assert first.status == 201
    image = first.body["image"]
    assert {name: image[name] for name in ("content_type", "width", "height", "file_name")} == {
        "content_type": "image/jpeg",
        "width": 800,
        "height": 400,
        "file_name": "衣.jpg",
    }
    sizes = {size: seen(api, image, **({"size": size} if size else {}))[0] for size in (0, 640, 300, 100)}
    assert sizes == {
        0: ("JPEG", (800, 400)),
        640: ("JPEG", (640, 320)),
        300: ("JPEG", (300, 150)),
        100: ("JPEG", (100, 50)),
    }
    again = upload(shop.api, content, "衣.jpg", key="one")
    assert (again.replayed, again.body) == (True, first.body)
    assert upload(shop.api, drawn(), "衣.jpg", key="one").reason == "IDEMPOTENCY_KEY_REUSED"
    assert upload(shop.api, content, "other.jpg").body["image"]["image_id"] == image["image_id"]


def test_caches_keep_it_for_ever_and_it_runs_nothing(shop, api):
    image = upload(shop.api, drawn(size=(50, 20))).body["image"]
    shown, headers = seen(api, image, size=640)
    assert shown == ("PNG", (50, 20)), "a small picture is not made larger"
    assert headers["cache-control"] == "public, max-age=31536000, immutable"
    assert (headers["content-type"], headers["x-content-type-options"]) == ("image/png", "nosniff")
    assert "sandbox" in headers["content-security-policy"]
    path = f"/v1/images/{image['image_id']}"
    tag = api.line.client.get(api.base_url + path).headers["etag"]
    for told in (tag, f'"other", W/{tag}'):
        kept = api.line.client.get(api.base_url + path, headers={"If-None-Match": told})
        assert (kept.status_code, kept.content, kept.headers["etag"]) == (304, b"", tag)
    for asked in (f"/v1/images/{'0' * 40}", f"{path}?size=77"):
        missing = api.line.client.get(api.base_url + asked, headers={"If-None-Match": "*"})
        assert missing.status_code in (400, 404), "what there is not, nobody has"
    other = api.line.client.get(api.base_url + path, params={"size": 100}, headers={"If-None-Match": tag})
    assert (other.status_code, other.headers["etag"] != tag) == (200, True)


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        (b"", 400, "empty"),
        (b"%PDF-1.7", 400, "not a whole PNG, JPEG or WebP"),
        (drawn("GIF"), 400, "not a whole PNG, JPEG or WebP"),
        (bomb(), 400, "too many pixels"),
        (b"\x00" * (2**21 + 1), 413, "2097152"),
    ],
    ids=["nothing", "PDF", "GIF", "bomb", "large"],
)
def test_what_is_no_picture_is_refused(shop, content, status, said):
    answer = upload(shop.api, content)
    assert (answer.status, said in answer.body["detail"]) == (status, True), answer.body
    if status == 400:
        assert [error["field"] for error in answer.body["errors"]] == ["file"]
    assert shop.api.get("/v1/images")["images"] == []


@pytest.mark.parametrize("path", ["/v1/images/0", f"/v1/images/{'a' * 40}", "/v1/images/..%2F..%2Fetc"])
def test_what_is_not_there_is_said_so(api, path):
    assert api.ask("GET", path).status == 404
    wrong = api.ask("GET", path, params={"size": 7})
    assert (wrong.status, [error["field"] for error in wrong.body["errors"]]) == (400, ["size"])


def test_a_shop_lists_and_deletes_its_own_and_nobody_elses(shop, open_shop, api):
    mine = [upload(shop.api, drawn(colour=(number, 0, 0))).body["image"] for number in range(3)]
    other = open_shop("别家")
    same = upload(other.api, drawn(colour=(0, 0, 0))).body["image"]
    assert same["image_id"] == mine[0]["image_id"]
    page = shop.api.get("/v1/images", page_size=2)
    rest = shop.api.get("/v1/images", page_size=2, page_token=page["next_page_token"])
    listed = [image["image_id"] for image in (*page["images"], *rest["images"])]
    assert listed == [image["image_id"] for image in reversed(mine)]
    path = f"/v1/images/{mine[1]['image_id']}"
    assert other.api.ask("DELETE", path).status == 404
    assert api.ask("GET", "/v1/images").status == 401
    assert shop.api.ask("DELETE", path).status == 200
    assert [image["image_id"] for image in shop.api.get("/v1/images")["images"]] == [listed[0], listed[2]]
    assert seen(api, mine[1])[0][0] == "PNG", "what shows it goes on showing it"
    upload(shop.api, drawn(colour=(1, 0, 0)))
    assert [image["image_id"] for image in shop.api.get("/v1/images")["images"]] == [listed[1], listed[0], listed[2]]


def test_a_product_shows_uploaded_pictures_wherever_it_has_some(shop, api):
    url = upload(shop.api, drawn()).body["image"]["url"]
    item = {**product("lamp", "灯", 1000, 3), "images": [url], "detail": [{"image": url}, {"text": "亮"}]}
    item["skus"] = [{**sku, "image": url} for sku in item["skus"]]
    made = shop.api.post("/v1/products:bulkUpsert", {"items": [item]})["results"][0]["product_id"]
    shown = api.get(f"/v1/products/{made}")["product"]
    assert (shown["images"], shown["detail"][0]["image"]) == ([url], url)
    assert {sku["image"] for sku in shown["skus"]} == {url}


def test_the_pictures_of_a_file_are_fetched_when_asked_for_and_fail_no_row(shop, api, pictures):
    file = csv([f"{pictures.url}/ok/1.png", f"{pictures.url}/gone", "http://127.0.0.1:9/inside.png"])
    job = done(shop.api, file, fetch_images="true")
    assert (job["state"], job["created"], job["failed"]) == ("completed", 3, 0)
    path = f"/v1/imports/{job['import_id']}/images"
    wait_until(lambda: shop.api.get(path)["state"] == "done", "the pictures to be fetched")
    told = shop.api.get(path)
    assert (told["total"], told["fetched"], told["failed"]) == (3, 1, 2)
    assert sorted(row["reason"] for row in told["sources"]) == ["", "ADDRESS_REFUSED", "REFUSED_THERE"]
    [here] = shop.api.get(path, state="fetched")["sources"]
    [given] = shop.api.get("/v1/products", external_id="p0")["products"]
    assert given["images"] == [f"{pictures.url}/ok/1.png"]
    shown = api.get(f"/v1/products/{given['product_id']}")["product"]["images"]
    assert shown == [here["url"]]
    assert seen(api, here)[0] == ("PNG", (800, 600))
    assert shop.api.ask("POST", f"/v1/imports/{job['import_id']}:fetchImages").status == 202


def test_jobs_killed_in_the_middle_of_fetching_go_on(stack, shop, pictures):
    """kill -9 while four servers keep us waiting: nothing is lost, nothing is there twice."""
    addresses = [f"{pictures.url}/{kind}/9{number}.png" for number in range(6) for kind in ("held", "ok")]
    pictures.goes_on.clear()
    job = done(shop.api, csv(addresses), fetch_images="true")
    path = f"/v1/imports/{job['import_id']}/images"
    held = {urlsplit(address).path for address in addresses if "/held/" in address}

    def asked():
        return sum(pictures.asked[place] for place in held)

    wait_until(asked, "a server that keeps us waiting")
    before = asked()
    stack.kill("jobs")
    wait_until(lambda: asked() > before, "the next process to ask again")
    assert shop.api.get(path)["state"] == "fetching"
    pictures.goes_on.set()
    wait_until(lambda: shop.api.get(path)["state"] == "done", "the pictures to be fetched")
    told = shop.api.get(path, page_size=200)
    assert (told["total"], told["fetched"], told["failed"]) == (12, 12, 0)
    listed = [image["image_id"] for image in shop.api.get("/v1/images", page_size=200)["images"]]
    assert sorted(listed) == sorted({source["image_id"] for source in told["sources"]})
    stack.wait_healthy()


def test_the_session_of_the_guide_goes_as_it_says(stack, shop, tmp_path):
    (tmp_path / "dress.png").write_bytes(drawn(size=(900, 900)))
    told = guides.run(guides.sessions(GUIDE)[0], stack, tmp_path, TOKEN=shop.merchant.token).strip().split("\n")
    assert re.fullmatch(r"http://.*/v1/images/[0-9a-f]{40}", told[0])
    assert told[1] == "image/png"
    assert told[2].endswith("304")
