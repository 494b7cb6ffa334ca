"""Signed links: for one use and one thing, for a while, through a change of the key; never a token, and no token is one."""

import pytest

from services.chassis import clock
from services.chassis.errors import Refusal
from services.chassis.links import LONGEST, Links
from services.chassis.settings import Settings
from services.chassis.tokens import Signer, Verifier

ABOUT = {"shop": "s", "shelf": 7, "version": 0}


@pytest.fixture
def settings(tmp_path):
    return Settings(data_dir=tmp_path)


def refused(links, text, use="preview"):
    with pytest.raises(Refusal) as caught:
        links.read(use, text, "preview link")
    assert caught.value.reason == "NOT_FOUND"
    return caught.value.message


def test_a_link_says_what_it_was_made_for_until_it_ends(settings, monkeypatch):
    links = Links(settings, "catalog")
    made = links.sign("preview", ABOUT, lifetime_s=60)
    assert dict(links.read("preview", made.text, "preview link").about) == ABOUT
    now = clock.wall_ms()
    monkeypatch.setattr(clock, "wall_ms", lambda: now + 61_000)
    assert "expired" in refused(links, made.text)


def test_a_link_of_another_use_or_service_or_a_changed_one_is_none(settings):
    links, others = Links(settings, "catalog"), Links(settings, "orders")
    made = links.sign("preview", ABOUT, lifetime_s=60)
    head, body, signature = made.text.split(".")
    wrong = [
        others.sign("preview", ABOUT, lifetime_s=60).text,
        links.sign("download", ABOUT, lifetime_s=60).text,
        f"{head}.{body[:-4]}AAAA.{signature}",
        f"{head}.{body}.",
        "",
        "x" * (LONGEST + 1),
        "中文",
    ]
    for text in wrong:
        assert "no preview link" in refused(links, text)


def test_no_link_is_a_token_and_no_token_is_a_link(settings):
    links = Links(settings, "catalog")
    made = links.sign("preview", ABOUT, lifetime_s=60)
    with pytest.raises(Refusal) as caught:
        Verifier(settings).verify(made.text)
    assert caught.value.reason == "UNAUTHENTICATED"
    refused(links, Signer(settings, "catalog").own())


def test_a_link_lives_through_a_change_of_the_key_and_dies_with_the_old_one(settings):
    made = Links(settings, "catalog").sign("preview", ABOUT, lifetime_s=60)
    (settings.keys / "catalog.key.json").unlink()
    after = Links(settings, "catalog")
    assert dict(after.read("preview", made.text, "preview link").about) == ABOUT
    kept = [path for path in settings.keys.glob("catalog.*.pub.json") if path.name != "catalog.pub.json"]
    for path in kept:
        path.unlink()
    assert len(kept) == 1
    refused(Links(settings, "catalog"), made.text)
