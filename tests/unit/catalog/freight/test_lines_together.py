"""Templates over several lines: what a quote comes to, checked against a clerk who does it by hand."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.catalog.model import freight, quotes
from services.catalog.model.freight import CARRIERS
from services.catalog.model.quotes import Load
from services.chassis.errors import Refusal
from services.chassis.regions import Place
from tests.unit.catalog.freight.loads import MOST, RULE, carrier, rules, slowly, template

HERE = Place("浙江省", "杭州市")


def load(number=0, quantity=1, weight_g=0, volume_cm3=0, shop="s1", **said):
    return Load(number, shop, {"kind": "free", "fee": 0, **said}, quantity, weight_g, volume_cm3)


def by_template(number=0, quantity=1, template_id=1, **more):
    return load(number, quantity, kind="template", template_id=template_id, **more)


def offered(loads, *templates):
    found = quotes.offers(loads, {each["template_id"]: each for each in templates}, HERE, MOST)
    return {offer.carrier: offer for offer in found}


def fees(loads, *templates):
    return {name: offer.fee for name, offer in offered(loads, *templates).items()}


def test_lines_of_one_template_are_summed_before_its_rule_is_applied():
    loads = [by_template(0, 2), load(1), by_template(2, 1)]
    offer = offered(loads, template())["express"]
    assert offer.fee == freight.cost(RULE, 3) == 1100
    assert [(part.basis, part.lines, part.fee, part.units) for part in offer.parts] == [
        ("template", (0, 2), 1100, 3),
        ("free", (1,), 0, 0),
    ]
    assert offer.shares == {0: 733, 1: 0, 2: 367}


def test_two_templates_are_two_parcels():
    loads = [by_template(0, 2), by_template(1, 1, template_id=2)]
    assert fees(loads, template(1), template(2)) == {"express": freight.cost(RULE, 2) + freight.cost(RULE, 1)}


def test_free_and_flat_lines_travel_with_any_class_and_each_line_pays_its_own_flat_fee():
    assert fees([load()]) == dict.fromkeys(CARRIERS, 0)
    assert fees([load(0, 9, kind="flat", fee=600), load(1, 1, kind="flat", fee=600)]) == dict.fromkeys(CARRIERS, 1200)


def test_a_class_that_one_line_does_not_offer_is_not_offered():
    by_class = [{"carrier_class": "post", "fee": 300}, {"carrier_class": "express", "fee": 900}]
    two = template(1, carriers=[carrier("express"), carrier("ems", {**RULE, "start_fee": 2000})])
    assert fees([load(0, kind="carriers", carrier_fees=by_class)]) == {"express": 900, "post": 300}
    assert fees([by_template(0)], two) == {"express": 800, "ems": 2000}
    assert fees([load(0, kind="carriers", carrier_fees=by_class), by_template(1)], two) == {"express": 1700}
    assert fees([load(0, kind="carriers", carrier_fees=by_class[:1]), by_template(1)], two) == {}


def test_the_seller_pays_and_still_says_which_classes_there_are():
    (offer,) = offered([by_template(0, 5), load(1)], template(payer="seller")).values()
    assert (offer.carrier, offer.fee, offer.parts[0].units) == ("express", 0, 5)


def test_weight_and_volume_are_counted_for_all_pieces():
    kilos = {"start_units": 1000, "start_fee": 1000, "step_units": 500, "step_fee": 200}
    loads = [by_template(0, 3, weight_g=400, volume_cm3=9), by_template(1, 1, weight_g=301, volume_cm3=1)]
    heavy = template(1, "weight", carriers=[carrier("express", kilos)])
    large = template(1, "volume", carriers=[carrier("express", kilos)])
    assert (fees(loads, heavy), fees(loads, large)) == ({"express": 1400}, {"express": 1000})
    assert offered(loads, heavy)["express"].parts[0].units == 1501


def test_what_no_measure_is_known_of_still_is_a_parcel():
    loads = [by_template(0, 3), by_template(1, 1)]
    offer = offered(loads, template(1, "weight"))["express"]
    assert (offer.fee, offer.shares) == (800, {0: 400, 1: 400})
    assert [freight.missing_measure(kind, 0, 5) for kind in ("piece", "weight", "volume")] == ["", "weight_g", ""]
    assert [freight.missing_measure(kind, 5, 0) for kind in ("piece", "weight", "volume")] == ["", "", "volume_cm3"]


lines = st.lists(
    st.builds(
        dict,
        quantity=st.integers(1, 30),
        weight_g=st.integers(0, 3000),
        volume_cm3=st.integers(0, 3000),
        kind=st.sampled_from(["free", "flat", "carriers", "template", "template"]),
        fee=st.integers(0, 900),
        template_id=st.integers(1, 2),
    ),
    min_size=1,
    max_size=6,
)
templates = st.tuples(
    *(
        st.builds(
            template,
            st.just(number),
            st.sampled_from(["piece", "weight", "volume"]),
            st.sampled_from(["buyer", "buyer", "seller"]),
            st.lists(st.sampled_from(CARRIERS), unique=True, min_size=1).flatmap(
                lambda names: st.tuples(*(st.builds(carrier, st.just(name), rules) for name in names))
            ),
        )
        for number in (1, 2)
    )
)


def as_loads(made):
    fee_of = [{"carrier_class": "express", "fee": 7}, {"carrier_class": "post", "fee": 3}]
    kept = {"free": (), "flat": ("fee",), "carriers": ("carrier_fees",), "template": ("template_id",)}
    return [
        load(
            number,
            line["quantity"],
            line["weight_g"],
            line["volume_cm3"],
            kind=line["kind"],
            **{name: {**line, "carrier_fees": fee_of}[name] for name in kept[line["kind"]]},
        )
        for number, line in enumerate(made)
    ]


def by_hand(loads, known, name):
    """What one class takes, told in the plainest way; None where it does not carry a line."""
    whole, units = 0, {}
    for each in loads:
        said = each.freight
        if said["kind"] == "template":
            used = known[said["template_id"]]
            each_counts = {"piece": 1, "weight": each.weight_g, "volume": each.volume_cm3}[used["valuation"]]
            units[said["template_id"]] = units.get(said["template_id"], 0) + each_counts * each.quantity
        elif said["kind"] == "carriers":
            of_class = [found["fee"] for found in said["carrier_fees"] if found["carrier_class"] == name]
            if not of_class:
                return None
            whole += of_class[0]
        else:
            whole += said["fee"]
    for number, counted in units.items():
        of_class = [found for found in known[number]["carriers"] if found["carrier_class"] == name]
        if not of_class:
            return None
        if known[number]["payer"] == "buyer":
            whole += slowly(of_class[0]["default_rule"], counted)
    return whole


@given(lines.filter(lambda made: sum(line["quantity"] for line in made) < 40), templates)
def test_a_quote_is_what_it_is_by_hand_and_its_parts_and_shares_add_up(made, known):
    loads = as_loads(made)
    numbered = {each["template_id"]: each for each in known}
    wanted = {name: fee for name in CARRIERS if (fee := by_hand(loads, numbered, name)) is not None}
    assert fees(loads, *known) == wanted
    for offer in offered(loads, *known).values():
        assert sum(offer.shares.values()) == offer.fee >= 0
        assert sorted(offer.shares) == list(range(len(loads)))
        assert min(offer.shares.values()) >= 0
        for part in offer.parts:
            assert sum(part.shares) == part.fee


@given(lines, templates, st.data())
def test_one_more_piece_never_makes_it_cheaper(made, known, data):
    number = data.draw(st.integers(0, len(made) - 1))
    more = [{**line, "quantity": line["quantity"] + (at == number)} for at, line in enumerate(made)]
    before, after = fees(as_loads(made), *known), fees(as_loads(more), *known)
    assert before.keys() == after.keys()
    assert all(before[name] <= after[name] for name in before)


@given(st.integers(2, 60), rules, st.data())
def test_a_line_split_in_two_costs_the_same(quantity, rule, data):
    part = data.draw(st.integers(1, quantity - 1))
    ours = template(1, carriers=[carrier("express", rule)])
    whole = fees([by_template(0, quantity)], ours)
    assert whole == fees([by_template(0, part), by_template(1, quantity - part)], ours)


@given(lines, templates, st.permutations(range(6)))
def test_the_order_of_lines_does_not_matter(made, known, order):
    loads = as_loads(made)
    shuffled = [loads[at] for at in order if at < len(loads)]
    renumbered = [replace(each, number=at) for at, each in enumerate(shuffled)]
    assert fees(loads, *known) == fees(renumbered, *known)


def test_what_would_pass_every_bound_is_refused_naming_its_lines():
    dear = template(1, carriers=[carrier("express", {**RULE, "step_units": 1, "step_fee": MOST.fee})])
    with pytest.raises(Refusal) as caught:
        offered([load(0), by_template(1, 2**31 - 1)], dear)
    assert [found.field for found in caught.value.violations] == ["lines[1].quantity"]
    heavy = template(1, "weight", carriers=[carrier("express", {**RULE, "step_fee": 0})])
    with pytest.raises(Refusal, match="order fewer"):
        offered([by_template(0, 2**31 - 1, weight_g=10**9)], heavy)


def test_a_class_is_taken_for_who_does_not_choose_and_another_is_refused():
    both = template(1, carriers=[carrier("post"), carrier("express")])
    loads = [by_template(0)]
    offer = list(offered(loads, both).values())
    assert quotes.chosen(offer, loads, "", "").carrier == "express"
    assert quotes.chosen(offer, loads, "post", "").carrier == "post"
    with pytest.raises(Refusal, match=r"carriers\[0\].carrier_class: ems does not .* express, post"):
        quotes.chosen(offer, loads, "ems", "carriers[0].carrier_class")
    with pytest.raises(Refusal, match="order them apart") as caught:
        quotes.chosen([], loads, "", "")
    assert [found.field for found in caught.value.violations] == ["lines[0].product_id"]


def test_shops_stay_apart():
    loads = [by_template(0), load(1, shop="s2"), by_template(2)]
    assert {shop: [each.number for each in found] for shop, found in quotes.by_shop(loads).items()} == {
        "s1": [0, 2],
        "s2": [1],
    }
    known = quotes.of_shop([template(1), template(1, shop="s2")], "s2")
    assert known[1]["shop_id"] == "s2"
