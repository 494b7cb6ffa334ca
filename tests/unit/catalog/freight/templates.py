"""Freight templates on a database, made, changed and used, for the tests beside it."""

import pytest

from services.catalog.commands import freight as commands
from services.chassis.errors import Refusal
from tests.unit.catalog.making import SHOP, product

RULE = {"start_units": 1, "start_fee": 1000, "step_units": 1, "step_fee": 100}
NEAR = {**RULE, "start_fee": 500}


def carrier(name="express", rule=RULE, *destinations):
    return {"carrier_class": name, "default_rule": rule, "destinations": list(destinations)}


def to(province="", city="", rule=NEAR):
    return {"country": "", "province": province, "city": city, "rule": rule}


def said(*carriers, **more):
    return {"name": "标准", "payer": "", "valuation": "", "carriers": list(carriers or [carrier()]), **more}


def make(house, *carriers, shop=SHOP, key=None, **more):
    return commands.create_template(house.store, house.cause(key), shop, said(*carriers, **more)).document


def change(house, template, *carriers, shop=SHOP, etag=None, key=None, **more):
    etag = str(template["version"]) if etag is None else etag
    number = template["template_id"]
    return commands.update_template(house.store, house.cause(key), shop, number, etag, said(*carriers, **more))


def delete(house, template, *, shop=SHOP, etag="", key=None):
    return commands.delete_template(house.store, house.cause(key), shop, template["template_id"], etag)


def uses(template, external_id="p1", **more):
    freight = {"kind": "template", "template_id": template["template_id"]}
    return product(external_id, freight=freight, **more)


def problems(outcome):
    return [
        (found["field"], found["reason"]) for row in outcome.document["results"] for found in row.get("problems", ())
    ]


def refused(call, *arguments, **more):
    with pytest.raises(Refusal) as caught:
        call(*arguments, **more)
    return caught.value
