"""The rules as pure functions: products, stock, chunks, categories, jobs."""

import random
import tomllib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.catalog.model import categories, imports, stock
from services.catalog.model.chunks import Item, Known, Shop, decide_counted
from services.catalog.model.freight import Freight
from services.catalog.model.imports import decide_import_noted
from services.catalog.model.planning import plan
from services.catalog.model.products import (
    Limits,
    ProductDraft,
    SkuDraft,
    State,
    listing,
    move,
    sku_id,
    sku_key,
    state_after,
    validate,
)
from services.chassis.decisions import Verdict
from services.chassis.errors import Refusal

HOME = Path("services/catalog")
DATA = tomllib.loads((HOME / "categories.toml").read_text(encoding="utf-8"))
TREE = categories.parse(DATA)
LIMITS = Limits(**tomllib.loads((HOME / "policy.toml").read_text(encoding="utf-8"))["product_limits"][0]["value"])
NOW = datetime(2026, 1, 5, 2, tzinfo=UTC)
SHOP = Shop("s1", "CNY", NOW)

texts = st.text(alphabet="红蓝:;%$/SML ", min_size=1, max_size=6)
skus = st.builds(
    SkuDraft,
    values=st.tuples(texts, texts),
    price=st.integers(1, 10**6),
    original_price=st.just(10**6),
    quantity=st.one_of(st.none(), st.integers(0, 1000)),
)


def draft(**more):
    values = {"external_id": "a", "name": "A", "category_id": TREE.uncategorised, "skus": (SkuDraft((), 100, 100, 5),)}
    return ProductDraft(**{**values, **more})


def reasons(made):
    return {(problem.field, problem.reason) for problem in validate(made, TREE, LIMITS)}


# ----------------------------------------------------------------------------------------------------------------- products


def test_a_good_product_has_no_problems():
    assert reasons(draft()) == set()
    assert reasons(draft(detail=(("text", "one\r\n\ttwo"),), properties=(("a", "one\ntwo"),))) == set()


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (draft(external_id=""), ("external_id", "REQUIRED")),
        (draft(name=""), ("name", "REQUIRED")),
        (draft(name="x" * 256), ("name", "TOO_LONG")),
        (draft(category_id=7), ("category_id", "CATEGORY_UNKNOWN")),
        (draft(category_id=538010000), ("category_id", "CATEGORY_UNKNOWN")),
        (draft(skus=()), ("skus", "REQUIRED")),
        (draft(axes=("a", "b", "c", "d")), ("axes", "TOO_MANY")),
        (draft(axes=("a", "a")), ("axes[1]", "AXIS_INVALID")),
        (draft(axes=("a",)), ("skus[0].values", "OPTION_VALUE_MISSING")),
        (draft(skus=(SkuDraft((), 0, 0),)), ("skus[0].price", "OUT_OF_RANGE")),
        (draft(skus=(SkuDraft((), 5, 4),)), ("skus[0].original_price", "PRICE_ABOVE_ORIGINAL")),
        (draft(skus=(SkuDraft((), 5, 5, -1),)), ("skus[0].quantity", "OUT_OF_RANGE")),
        (draft(skus=(SkuDraft((), 5, 5, weight_g=-1),)), ("skus[0].weight_g", "OUT_OF_RANGE")),
        (draft(skus=(SkuDraft((), 5, 5, barcode="1" * 256),)), ("skus[0].values", "TOO_LONG")),
        (draft(skus=(SkuDraft((), 5, 5, image="x"),)), ("skus[0].image", "URL_INVALID")),
        (draft(skus=tuple(SkuDraft((str(n),), 5, 5) for n in range(2001)), axes=("a",)), ("skus", "TOO_MANY")),
        (draft(images=("http://x/" + "y" * 2048,)), ("images[0]", "TOO_LONG")),
        (draft(detail=(("text", ""),)), ("detail[0]", "REQUIRED")),
        (draft(properties=(("a", ""),)), ("properties[0].value", "PROPERTY_INVALID")),
        (
            draft(
                axes=("a",),
                skus=tuple(SkuDraft((f"{n}",), 5, 5, image="https://x/" + "图" * 2000) for n in range(1400)),
            ),
            ("skus", "TOO_LONG"),
        ),
        (draft(detail=(("image", "data:x"),)), ("detail[0].image", "URL_INVALID")),
        (draft(detail=(("text", "x" * 200_001),)), ("detail", "TOO_LONG")),
        (draft(detail=(("text", "x" * 150_000),) * 2), ("detail", "TOO_LONG")),
        (draft(freight=Freight("free", 5)), ("freight.fee", "FREIGHT_INVALID")),
        (draft(properties=(("a", "x" * 65_001),)), ("properties[0].value", "TOO_LONG")),
        (draft(freight=Freight("flat", 10**12)), ("freight.fee", "FREIGHT_INVALID")),
        (draft(name="a\x00b"), ("name", "CONTROL_CHARACTER")),
        (draft(name="a\nb"), ("name", "CONTROL_CHARACTER")),
        (draft(external_id="a\x7f"), ("external_id", "CONTROL_CHARACTER")),
        (draft(axes=("a\t",)), ("axes", "CONTROL_CHARACTER")),
        (draft(axes=("a",), skus=(SkuDraft(("\x1b",), 5, 5),)), ("skus[0].values", "CONTROL_CHARACTER")),
        (draft(skus=(SkuDraft((), 5, 5, merchant_sku="\x00"),)), ("skus[0].merchant_sku", "CONTROL_CHARACTER")),
        (draft(properties=(("a\n", "b"),)), ("properties", "CONTROL_CHARACTER")),
        (draft(detail=(("text", "a\x00"),)), ("detail[0]", "CONTROL_CHARACTER")),
        (draft(images=("https://x/\x00",)), ("images[0]", "URL_INVALID")),
        (draft(buy_limit=-1), ("buy_limit", "OUT_OF_RANGE")),
        (draft(buy_limit=2**31), ("buy_limit", "OUT_OF_RANGE")),
    ],
)
def test_what_is_wrong_names_its_field(made, expected):
    assert expected in reasons(made)


@given(st.lists(st.tuples(texts, texts), unique=True, max_size=8))
def test_different_option_values_never_share_a_key(values):
    keys = [sku_key(("颜色", "尺码"), pair) for pair in values]
    assert len(set(keys)) == len(values)
    assert len({sku_id("p1", key) for key in keys}) == len(values)


def test_a_key_has_the_custom_form_of_the_old_manual():
    assert sku_key(("颜色", "尺码"), ("红", "M")) == "$颜色:$红;$尺码:$M"
    assert sku_key((), ()) == ""


@given(st.lists(skus, min_size=1, max_size=4), st.integers(1, 10**6))
def test_a_digest_changes_with_every_value(found, price):
    made = draft(skus=tuple(found), axes=("x", "y"))
    assert made.digest == replace(made).digest
    others = [
        replace(made, name="B"),
        replace(made, listed=True),
        replace(made, freight=Freight("flat", 1)),
        replace(made, properties=(("a", "b"),)),
        replace(made, skus=(replace(found[0], quantity=(found[0].quantity or 0) + 1), *found[1:])),
        replace(made, skus=(replace(found[0], price=found[0].price + price), *found[1:])),
    ]
    assert len({made.digest, *(other.digest for other in others)}) == 7


def test_states_move_as_declared():
    assert move("p", "draft", State.LISTED) is State.LISTED
    assert move("p", "listed", State.LISTED) is None
    for state, target in (("draft", State.DELISTED), ("deleted", State.LISTED), ("listed", State.DELETED)):
        with pytest.raises(Refusal, match="WRONG_STATE"):
            move("p", state, target)
    assert [
        state_after(state, listed)
        for state, listed in ((None, None), (None, True), ("listed", False), ("draft", False), ("delisted", None))
    ] == [
        "draft",
        "listed",
        "delisted",
        "draft",
        "delisted",
    ]


# ------------------------------------------------------------------------------------------------------------------- chunks


class Shelf:
    """What plans write, kept in dictionaries."""

    def __init__(self):
        self.products, self.stock, self.movements, self.drawn = {}, {}, {}, 0

    def apply(self, *items):
        made = plan(list(items), self.known(), SHOP, self.new_id)
        for row in made.products:
            self.products[row["external_id"]] = row
        for row in made.stock:
            assert row["_id"] not in self.stock
            self.stock[row["_id"]] = row
        for row, change in made.changes:
            self.products[row["external_id"]] = {**row, **change.set}
        for condition, update in made.stock_updates:
            row = self.stock[condition["_id"]]
            row.update(update.get("$set", {}))
            for name, delta in update.get("$inc", {}).items():
                row[name] += delta
        for movement in made.movements:
            self.movements[movement["sku_id"]] = self.movements.get(movement["sku_id"], 0) + movement["delta"]
        return made

    def known(self):
        return Known(self.products, self.stock, {})

    def new_id(self):
        self.drawn += 1
        return f"p{self.drawn}"

    def sell(self, rng):
        """Some of what is there is sold or held behind the plan's back."""
        for row in self.stock.values():
            sold = rng.randint(0, row["available"])
            held = rng.randint(0, row["available"] - sold)
            row["on_hand"] -= sold
            row["reserved"] += held
            row["available"] -= sold + held
            self.movements[row["_id"]] = self.movements.get(row["_id"], 0) - sold


@given(
    st.lists(st.lists(skus, min_size=1, max_size=3, unique_by=lambda sku: sku.values), min_size=1, max_size=6),
    st.integers(0, 2**32),
)
def test_stock_adds_up_whatever_files_and_buyers_do(files, seed):
    rng, shelf, said = random.Random(seed), Shelf(), {}
    for found in files:
        made = draft(skus=tuple(found), axes=("x", "y"))
        moved = {movement["sku_id"] for movement in shelf.apply(Item("a", 1, made)).movements}
        for sku, shown in zip(found, listing(made, "p1")["skus"], strict=True):
            if sku.quantity is None or sku.quantity == said.get(shown["sku_id"]):
                assert shown["sku_id"] not in moved, "nothing new was said, however long ago the SKU was in a file"
            said.update({} if sku.quantity is None else {shown["sku_id"]: sku.quantity})
        shelf.sell(rng)
        before = {identity: dict(row) for identity, row in shelf.stock.items()}
        assert shelf.apply(Item("a", 1, made)).results[0].outcome == "unchanged"
        assert shelf.stock == before, "the same file never touches stock"
        for identity, row in shelf.stock.items():
            assert row["initial"] + shelf.movements.get(identity, 0) == row["on_hand"]
            assert row["available"] == row["on_hand"] - row["reserved"] >= 0
    assert len(listing(made, "p1")["skus"]) == len(files[-1])


def test_a_plan_skips_what_comes_after_too_many_failures():
    good, bad = Item("a", 1, draft()), Item("b", 2, None)
    made = plan(
        [good, bad, replace(bad, external_id="c"), Item("d", 4, draft(external_id="d"))],
        Known(),
        SHOP,
        Shelf().new_id,
        most_failed=2,
    )
    assert [result.outcome for result in made.results] == ["created", "failed", "failed", "skipped"]
    assert made.counts() == {"created": 1, "updated": 0, "unchanged": 0, "failed": 2}


def test_a_chunk_is_counted_once_and_the_last_import_is_remembered():
    shop, later = {"last_import": {"import_id": "i2", "at": NOW}}, datetime(2026, 1, 6, tzinfo=UTC)
    assert decide_counted(None, {}).verdict is Verdict.EARLY
    assert decide_counted({"counted": False}, None).verdict is Verdict.EARLY
    assert decide_counted({"counted": False}, {}).verdict is Verdict.APPLY
    assert decide_counted({"counted": True}, {}).verdict is Verdict.DONE
    assert decide_import_noted(None, {}).verdict is Verdict.EARLY
    assert decide_import_noted({}, {"import_id": "i", "end_time": NOW}).verdict is Verdict.APPLY
    assert decide_import_noted(shop, {"import_id": "i3", "end_time": later}).verdict is Verdict.APPLY
    assert decide_import_noted(shop, {"import_id": "i2", "end_time": NOW}).verdict is Verdict.DONE
    assert decide_import_noted(shop, {"import_id": "i1", "end_time": NOW}).verdict is Verdict.STALE


# ------------------------------------------------------------------------------------------------------------ reservations


@pytest.mark.parametrize(
    ("part", "paid", "closed_unpaid", "closed_paid"),
    [
        (None, "apply", "apply", "early"),
        (stock.HELD, "apply", "apply", "early"),
        (stock.SOLD, "done", "stale", "apply"),
        (stock.RELEASED, "apply", "done", "early"),
        (stock.RETURNED, "done", "done", "done"),
        (stock.FAILED, "done", "done", "done"),
    ],
)
def test_what_an_event_means_to_each_state_of_a_part(part, paid, closed_unpaid, closed_paid):
    reservation = {"parts": {"s": part} if part else {}}
    assert stock.decide_paid(reservation, "s").verdict == paid
    assert stock.decide_closed(reservation, "s", was_paid=False).verdict == closed_unpaid
    assert stock.decide_closed(reservation, "s", was_paid=True).verdict == closed_paid


def test_a_whole_checkout_is_released_where_something_is_held():
    assert stock.decide_closed(None, "", was_paid=False).verdict is Verdict.APPLY
    assert stock.decide_closed({"parts": {"a": "sold", "b": "held"}}, "", was_paid=False).verdict is Verdict.APPLY
    assert stock.decide_closed({"parts": {"a": "sold"}}, "", was_paid=False).verdict is Verdict.DONE


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 5)), min_size=1, max_size=8),
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 12)),
)
def test_a_refusal_names_exactly_the_lines_that_are_short(wanted, available):
    lines = [{"sku_id": sku, "quantity": quantity} for sku, quantity in wanted]
    total = stock.summed(lines)
    assert sum(total.values()) == sum(quantity for _, quantity in wanted)
    refusal = stock.out_of_stock(lines, available)
    short = [n for n, (sku, _) in enumerate(wanted) if total[sku] > available.get(sku, 0)]
    assert (
        [violation.field for violation in refusal.violations] == [f"lines[{n}].quantity" for n in short]
        if short
        else refusal is None
    )


# --------------------------------------------------------------------------------------------------------------------- jobs


def test_options_name_what_is_wrong():
    assert imports.check_options("jishi-csv", "", 0) == "reject_failed"
    with pytest.raises(Refusal) as caught:
        imports.check_options("xml", "stop_after_n", 0)
    assert [violation.field for violation in caught.value.violations] == ["format", "max_errors"]
    with pytest.raises(Refusal, match="policy"):
        imports.check_options("jishi-csv", "never", 0)


@pytest.mark.parametrize("state", ["ready", "completed", "failed"])
def test_what_is_over_cannot_be_cancelled(state):
    with pytest.raises(Refusal, match="WRONG_STATE"):
        imports.cancel({"_id": "i", "state": state})
