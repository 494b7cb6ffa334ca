"""What a template and the freight of a product may say, and how a wrong one is named."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.catalog.model import freight
from services.catalog.model.freight import CARRIERS, Freight
from services.catalog.model.products import ProductDraft, SkuDraft, listing
from services.chassis.errors import Refusal
from tests.unit.catalog.freight.loads import MOST, REGIONS, RULE, carrier, destination, said


def wrong(**more):
    with pytest.raises(Refusal) as caught:
        freight.check(said(**more), MOST, REGIONS)
    assert caught.value.reason == "INVALID_ARGUMENT"
    return {found.field: found.message for found in caught.value.violations}


def test_a_template_without_payer_and_valuation_is_the_manuals_default():
    made = freight.template(said(name=" 标准 "), REGIONS)
    assert (made["name"], made["payer"], made["valuation"]) == ("标准", "buyer", "piece")


def test_a_destination_is_kept_with_its_country():
    there = {**destination("浙江省", "", RULE), "country": ""}
    made = freight.template(said(carriers=[carrier("ems", RULE, there)]), REGIONS)
    assert made["carriers"][0]["destinations"] == [destination("浙江省", "", RULE)]


def test_a_wrong_city_is_named_with_its_path_and_the_one_that_was_meant():
    ours = [carrier("post"), carrier("express", RULE, destination("浙江省", "杭州", RULE))]
    assert wrong(carriers=ours) == {
        "carriers[1].destinations[0].city": '"杭州" is not in the list, did you mean 杭州市?'
    }


def test_everything_wrong_is_told_at_once():
    bad = {"start_units": 0, "start_fee": -1, "step_units": MOST.units + 1, "step_fee": MOST.fee + 1}
    ours = [
        carrier("", bad),
        carrier("ems", None, destination("浙江省", "", RULE), destination("浙江省", "", None)),
        carrier("ems", RULE, {**destination("", "杭州市", RULE), "country": "日本"}),
    ]
    found = wrong(name="\x00", carriers=[{k: v for k, v in each.items() if v is not None} for each in ours])
    assert list(found) == [
        "name",
        "carriers[0].carrier_class",
        "carriers[0].default_rule.start_units",
        "carriers[0].default_rule.start_fee",
        "carriers[0].default_rule.step_units",
        "carriers[0].default_rule.step_fee",
        "carriers[1].default_rule",
        "carriers[1].destinations[1]",
        "carriers[1].destinations[1].rule",
        "carriers[2].carrier_class",
        "carriers[2].destinations[0].country",
        "carriers[2].destinations[0].province",
    ]
    assert found["carriers[1].destinations[1]"] == "浙江省 has its rule already in destinations[0]"


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "长" * 61}, "name"),
        ({"carriers": []}, "carriers"),
        ({"payer": "9"}, "payer"),
        ({"valuation": "9"}, "valuation"),
        ({"carriers": [carrier(name) for name in (*CARRIERS, "express")]}, "carriers"),
    ],
)
def test_names_and_numbers_have_bounds(more, field):
    assert field in wrong(**more)


def test_too_many_destinations_are_refused_before_they_are_read():
    many = [destination("浙江省", "", RULE)] * (MOST.destinations + 1)
    assert list(wrong(carriers=[carrier("ems", RULE, *many)])) == ["carriers[0].destinations"]


def test_a_template_may_name_every_place_of_the_list():
    every = [destination("", "", RULE), *(destination(p, "", RULE) for p in REGIONS.provinces)]
    every += [destination(p, c, RULE) for p in REGIONS.provinces for c in REGIONS.cities(p)]
    assert len(every) == 371
    freight.check(said(carriers=[carrier("express", RULE, *every)]), MOST, REGIONS)


BY_CLASS = Freight("carriers", carrier_fees=(("post", 3), ("express", 9)))


@pytest.mark.parametrize(
    ("given_", "fields"),
    [
        (Freight(), []),
        (Freight("flat"), []),
        (Freight("flat", 10**6), []),
        (BY_CLASS, []),
        (Freight("template", template_id=7), []),
        (Freight("air"), ["freight.kind"]),
        (Freight("free", 5), ["freight.fee"]),
        (Freight("flat", -1), ["freight.fee"]),
        (Freight("carriers"), ["freight.carrier_fees"]),
        (Freight("template"), ["freight.template_id"]),
        (Freight("template", template_id=-7), ["freight.template_id"]),
        (Freight("flat", 1, BY_CLASS.carrier_fees, 7), ["freight.carrier_fees", "freight.template_id"]),
        (
            Freight("carriers", carrier_fees=(("post", 3), ("post", 4), ("", -1))),
            [
                "freight.carrier_fees[1].carrier_class",
                "freight.carrier_fees[2].carrier_class",
                "freight.carrier_fees[2].fee",
            ],
        ),
    ],
)
def test_each_kind_of_freight_says_what_it_needs_and_nothing_else(given_, fields):
    assert [path for path, _ in given_.wrong(10**6)] == fields


def draft(**more):
    return ProductDraft("a", "A", 1, (SkuDraft((), 100, 100, 5),), **more)


def test_what_was_said_before_there_were_templates_is_still_the_same():
    """Fingerprints and listings of the release before: a product that says nothing new must not look changed."""
    flat = draft(freight=Freight("flat", 800), listed=True)
    assert flat.digest == "b2feefabdc61e102dc2d96b9d232541d443493c1085347c2c20ffc7b93976911"
    assert draft().digest == "032e6b834e2b5a1652a4bc129b1536195753efc67f4d50099f4e9d5f71d247c5"
    assert listing(flat, "p")["freight"] == {"kind": "flat", "fee": 800}
    assert listing(draft(), "p")["freight"] == {"kind": "free", "fee": 0}


freights = st.one_of(
    st.builds(Freight, st.just("flat"), st.integers(0, 9)),
    st.just(Freight()),
    st.builds(
        Freight,
        st.just("carriers"),
        carrier_fees=st.lists(
            st.tuples(st.sampled_from(CARRIERS), st.integers(0, 9)), unique_by=lambda fee: fee[0], min_size=1
        ).map(tuple),
    ),
    st.builds(Freight, st.just("template"), template_id=st.integers(1, 9)),
)


@given(freights, freights)
def test_equal_fingerprints_mean_equal_freight_whatever_the_order_of_classes(one, other):
    same = one.stored == other.stored
    assert (draft(freight=one).digest == draft(freight=other).digest) == same
    turned = replace(one, carrier_fees=one.carrier_fees[::-1])
    assert draft(freight=turned).digest == draft(freight=one).digest
