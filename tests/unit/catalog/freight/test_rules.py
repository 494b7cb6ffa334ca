"""What a rule costs and which rule holds, as pure functions."""

from hypothesis import given
from hypothesis import strategies as st

from services.catalog.model import freight
from services.chassis.regions import Place
from tests.unit.catalog.freight.loads import RULE, carrier, destination, destinations, places, rules, slowly


@given(rules, st.integers(0, 400))
def test_a_rule_costs_what_a_clerk_would_charge(rule, units):
    assert freight.cost(rule, units) == slowly(rule, units)
    assert type(freight.cost(rule, units)) is int


@given(rules, st.integers(0, 10**12), st.integers(0, 10**6))
def test_more_units_never_cost_less_and_nothing_costs_less_than_nothing(rule, units, more):
    assert 0 <= rule["start_fee"] <= freight.cost(rule, units) <= freight.cost(rule, units + more)


@given(rules, st.integers(0, 10**9))
def test_a_step_is_charged_when_it_begins(rule, steps):
    full = rule["start_units"] + steps * rule["step_units"]
    assert freight.cost(rule, full) == rule["start_fee"] + steps * rule["step_fee"]
    assert freight.cost(rule, full + 1) == freight.cost(rule, full) + rule["step_fee"]
    assert freight.cost(rule, full + rule["step_units"]) == freight.cost(rule, full + 1)


def test_the_first_step_is_charged_for_anything_up_to_it():
    rule = {**RULE, "start_units": 500}
    assert [freight.cost(rule, units) for units in (0, 1, 499, 500, 501, 502, 503)] == [
        800,
        800,
        800,
        800,
        1100,
        1100,
        1400,
    ]


@given(rules, st.integers(0, 10**6), st.integers(0, 10**6))
def test_one_parcel_costs_at_most_what_two_cost_where_the_start_is_no_cheaper_than_steps(rule, one, other):
    """A merchant may set steps dearer than the start; then splitting can be cheaper, and that is what the merchant said."""
    fair = {**rule, "step_units": rule["start_units"], "step_fee": min(rule["step_fee"], rule["start_fee"])}
    assert freight.cost(fair, one + other) <= freight.cost(fair, one) + freight.cost(fair, other)


@given(rules, destinations, places)
def test_the_most_specific_destination_wins(default, named, at):
    found, reach = freight.rule_for(carrier("ems", default, *named), Place(*at))
    rules_by_place = {(each["province"], each["city"]): each["rule"] for each in named}
    wanted = [("city", at)] if at[1] else []
    wanted += [("province", (at[0], "")), ("country", ("", ""))]
    held = next(((name, rules_by_place[key]) for name, key in wanted if key in rules_by_place), ("default", default))
    assert (reach, found) == held


def test_the_same_name_elsewhere_is_another_place():
    """省直辖县级行政区划 is an entry of three provinces; 吉林市 lies in 吉林省."""
    shared = "省直辖县级行政区划"
    ours = carrier("express", RULE, destination("湖北省", shared, {**RULE, "start_fee": 1}))
    assert freight.rule_for(ours, Place("湖北省", shared))[1] == "city"
    assert freight.rule_for(ours, Place("海南省", shared))[1] == "default"


def test_nobody_knows_where_to_the_rule_of_the_country_holds_or_else_the_default():
    city = destination("浙江省", "杭州市", {**RULE, "start_fee": 1})
    country = destination("", "", {**RULE, "start_fee": 2})
    assert freight.rule_for(carrier("express", RULE, city, country), Place()) == (country["rule"], "country")
    assert freight.rule_for(carrier("express", RULE, city), Place()) == (RULE, "default")
