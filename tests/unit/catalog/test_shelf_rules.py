"""The rules of groups and shelves as pure functions."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.catalog.model import groups, shelves
from services.catalog.model.shelves import Known
from services.chassis.errors import Refusal

MOST = {"name": 60, "modules": 20, "count": 100, "html": 200, "url": 100}
KNOWN = Known(frozenset({1, 2, 3, 4}), frozenset({"a", "b"}))
U = "https://img.example.com/1.jpg"
NOW = datetime(2026, 1, 5, 2, 0, tzinfo=UTC)


def module(kind, *named, count=0, **more):
    shown = [
        {"group_id": group, "image": ""} if isinstance(group, int) else {"group_id": group[0], "image": group[1]}
        for group in named
    ]
    return {"kind": kind, "groups": shown, "count": count, **more}


FREE = [
    module("grid", 1, count=4, columns=2),
    module("grid", columns=4, product_ids=["a", "b"]),
    module("rich_text", html="<p>新茶</p>"),
    module("countdown", title="开抢", end_time=NOW, ended_text="已结束"),
    module("banner", image=U, link="/v1/products/p1", title="春"),
    module("banner", image=U, link="https://example.com/"),
]
FOUR = [
    module("products", 1, count=8),
    module("group_names", 1, 2, 3, 4),
    module("group_picture", (1, U)),
    module("group_pictures", (1, U), (2, U), (3, U)),
]
ALONE = module("background", 1, 2, background=U)


def check(modules, name="春", slug="", banner=""):
    shelves.check(name, slug, banner, modules, KNOWN, MOST)


@given(st.lists(st.sampled_from([*FOUR, *FREE[:1], *FREE[2:]]), min_size=1, max_size=20))
def test_the_first_four_controls_and_free_modules_stand_together_in_any_order_and_number(modules):
    if sum(len(each.get("html", "")) for each in modules) <= MOST["html"]:
        check(modules, slug="spring-1", banner=U)


@given(st.lists(st.sampled_from([*FOUR, *FREE]), min_size=1, max_size=5), st.integers(0, 5))
def test_the_fifth_control_stands_alone(others, place):
    check([ALONE])
    with pytest.raises(Refusal, match="stands alone"):
        check([*others[:place], ALONE, *others[place:]])


@pytest.mark.parametrize(
    ("modules", "field"),
    [
        ([], "modules"),
        ([FOUR[0]] * 21, "modules"),
        ([module("products", 1)], "modules[0].count"),
        ([module("products", 1, 2, count=3)], "modules[0].groups"),
        ([module("products", count=3)], "modules[0].groups"),
        ([module("products", 1, count=101)], "modules[0].count"),
        ([module("products", 1, count=-1)], "modules[0].count"),
        ([module("products", 9, count=3)], "modules[0].groups[0].group_id"),
        ([module("group_names", 1, 2, 3, 4, 1)], "modules[0].groups"),
        ([module("group_names", 1, count=4)], "modules[0].count"),
        ([module("group_names", (1, U))], "modules[0].groups[0].image"),
        ([module("group_picture", 1)], "modules[0].groups[0].image"),
        ([module("group_picture", (1, "javascript:1"))], "modules[0].groups[0].image"),
        ([module("group_pictures", (1, U), (2, U), (3, U), (4, U))], "modules[0].groups"),
        ([module("background", 1)], "modules[0].background"),
        ([module("background", 1, background="x")], "modules[0].background"),
        ([module("group_names", 1, background=U)], "modules[0].background"),
        ([module("carousel", 1)], "modules[0].kind"),
        ([module("grid", columns=2)], "modules[0].groups"),
        ([module("grid", 1, count=4, columns=2, product_ids=["a"])], "modules[0].groups"),
        ([module("grid", 1, columns=2)], "modules[0].count"),
        ([module("grid", 1, count=4)], "modules[0].columns"),
        ([module("grid", 1, count=4, columns=5)], "modules[0].columns"),
        ([module("grid", columns=2, product_ids=["a", "z"])], "modules[0].product_ids[1]"),
        ([module("grid", columns=2, product_ids=["a"] * 101)], "modules[0].product_ids"),
        ([module("rich_text")], "modules[0].html"),
        ([module("rich_text", 1, html="x")], "modules[0].groups"),
        ([module("rich_text", html="x" * 201)], "modules"),
        ([module("rich_text", html="x", title="x")], "modules[0].title"),
        ([module("countdown", title="x")], "modules[0].end_time"),
        ([module("countdown", end_time=NOW)], "modules[0].title"),
        ([module("countdown", title="x", end_time=NOW, ended_text="y" * 61)], "modules[0].ended_text"),
        ([module("banner")], "modules[0].image"),
        ([module("banner", image=U + "x" * 100)], "modules[0].image"),
        ([module("banner", image=U, link="javascript:alert(1)")], "modules[0].link"),
        ([module("banner", image=U, link="//evil.example")], "modules[0].link"),
        ([module("banner", image=U, link="/\\evil.example")], "modules[0].link"),
        ([module("products", 1, count=1, link="/x")], "modules[0].link"),
    ],
)
def test_what_a_module_does_not_allow_is_named(modules, field):
    with pytest.raises(Refusal) as caught:
        check(modules)
    assert field in [violation.field for violation in caught.value.violations]


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 61}, "name"),
        ({"name": "a\x00"}, "name"),
        ({"slug": "Not/OK"}, "slug"),
        ({"slug": "-a"}, "slug"),
        ({"banner": "ftp://x"}, "banner"),
    ],
)
def test_name_slug_and_banner_are_checked(said, field):
    with pytest.raises(Refusal) as caught:
        check([FOUR[1]], **said)
    assert caught.value.violations[0].field == field


# --------------------------------------------------------------------------------------------------------------------- pages


@given(st.lists(st.sampled_from([*FOUR, *FREE]), min_size=1, max_size=20), st.integers(1, 60))
def test_pages_hold_each_module_once_and_no_more_products_than_allowed_but_for_a_single_module(modules, most):
    start, seen = 0, []
    while start < len(modules):
        end = shelves.page_end(modules, start, 20, most)
        page = modules[start:end]
        sizes = [(each["count"] or 20) * len(each["groups"]) + len(each.get("product_ids", ())) for each in page]
        assert len(page) == 1 or sum(sizes) <= most
        seen += page
        start = end
    assert seen == modules


# ---------------------------------------------------------------------------------------------------------------- publishing


def test_what_waited_is_published_and_waits_no_more():
    schedule = {"publish_time": NOW - timedelta(seconds=1), "version": 3}
    change = shelves.decide_publish({"schedule": schedule, "published_version": 2}, NOW)
    assert (change.set["published_version"], change.unset, change.due) == (3, ("schedule",), None)


def test_a_timer_without_a_publish_is_put_away():
    change = shelves.decide_publish({"published_version": 2}, NOW)
    assert ("published_version" in change.set, change.due) == (False, None)


# --------------------------------------------------------------------------------------------------------------------- groups

IDS = st.lists(st.sampled_from("abcdef"))


@given(IDS, IDS)
def test_a_group_holds_each_product_once_in_order(first, more):
    present = groups.added([], first, 10)
    together = groups.added(present, more, 10)
    assert together[: len(present)] == present
    assert sorted(together) == sorted(set(first) | set(more))


@given(IDS, IDS, IDS)
def test_a_change_takes_out_and_adds_and_leaves_the_others_in_their_order(first, add, remove):
    present = groups.added([], first, 10)
    after = groups.changed(present, add, remove, 10)
    stay = [each for each in present if each not in remove]
    assert after[: len(stay)] == stay
    assert set(after) == set(stay) | set(add)
    assert len(set(after)) == len(after)


@given(st.permutations("abcdef"), st.lists(st.sampled_from("abcdef"), min_size=1, unique=True), st.integers(0, 9))
def test_moving_keeps_everybody_and_puts_the_named_where_asked(present, named, position):
    after = groups.moved(present, named, position)
    others = [each for each in present if each not in named]
    assert sorted(after) == sorted(present)
    at = min(position, len(others))
    assert after[at : at + len(named)] == named
    assert [each for each in after if each not in named] == others


def test_a_group_has_an_end_and_what_leaves_makes_room():
    with pytest.raises(Refusal, match="at most 2"):
        groups.added(["a"], ["b", "c"], 2)
    assert groups.changed(["a", "b"], ["c"], ["a"], 2) == ["b", "c"]


@pytest.mark.parametrize(
    ("wrong", "reason"), [((["z"], 0), "NOT_FOUND"), (([], 0), "INVALID_ARGUMENT"), ((["a"], -1), "INVALID_ARGUMENT")]
)
def test_only_what_is_in_a_group_moves_and_to_a_place_that_is_one(wrong, reason):
    with pytest.raises(Refusal) as caught:
        groups.moved(["a", "b"], *wrong)
    assert caught.value.reason == reason


def test_a_product_does_not_come_and_go_at_once():
    groups.check_apart(["a"], ["b"])
    with pytest.raises(Refusal) as caught:
        groups.check_apart(["x", "a"], ["a"])
    assert caught.value.violations[0].field == "add[1]"
