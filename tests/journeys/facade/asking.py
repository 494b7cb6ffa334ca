"""What most tests of the old API ask for."""

from tests.journeys.old_shop import body

RETRIED = {-1, 40001, 40014, 42001, 45009}
"""Codes that make SDKs do something by themselves; no refusal of the trade has one."""


def info(old, identity):
    return old.post("/merchant/get", {"product_id": identity})["product_info"]


def create(old, sent=None):
    return old.post("/merchant/create", sent or body())["product_id"]
