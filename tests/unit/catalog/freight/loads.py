"""Templates, loads and what a clerk would charge for them, for the tests beside it."""

import tomllib
from pathlib import Path

from hypothesis import strategies as st

from services.catalog.model.freight import Limits
from services.chassis import regions

POLICY = tomllib.loads(Path("services/catalog/policy.toml").read_text(encoding="utf-8"))
MOST = Limits(**POLICY["freight_limits"][0]["value"])
REGIONS = regions.load()
RULE = {"start_units": 1, "start_fee": 800, "step_units": 2, "step_fee": 300}
rules = st.fixed_dictionaries(
    {
        "start_units": st.integers(1, 50),
        "start_fee": st.integers(0, 5000),
        "step_units": st.integers(1, 50),
        "step_fee": st.integers(0, 5000),
    }
)
places = st.sampled_from([(p, c) for p in ("浙江省", "广东省", "西藏自治区") for c in ("", *REGIONS.cities(p)[:3])])
destinations = st.lists(st.one_of(st.just(("", "")), places), unique=True, max_size=6).flatmap(
    lambda named: st.tuples(*(rules.map(lambda rule, at=at: destination(*at, rule)) for at in named))
)


def destination(province, city, rule):
    return {"country": "中国", "province": province, "city": city, "rule": rule}


def carrier(name="express", default=RULE, *more):
    return {"carrier_class": name, "default_rule": default, "destinations": list(more)}


def template(number=1, valuation="piece", payer="buyer", carriers=None, shop="s1"):
    found = {"template_id": number, "name": f"模板{number}", "payer": payer, "valuation": valuation, "shop_id": shop}
    return {**found, "carriers": carriers or [carrier()]}


def slowly(rule, units):
    """The rule as a clerk applies it: lay units on the scales one by one, and charge whenever a paid step is full."""
    fee, paid = rule["start_fee"], rule["start_units"]
    for laid in range(1, units + 1):
        if laid > paid:
            fee, paid = fee + rule["step_fee"], paid + rule["step_units"]
    return fee


def said(**more):
    return {"name": "标准", "payer": "", "valuation": "", "carriers": [carrier()], **more}
