"""Whatever stands in whatever field of whatever call of the facade: an envelope comes back, and what is wrong is named."""

import copy
import json
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.gateway.facade.doors import CALLS
from tests.examples import examples
from tests.journeys.old_shop import COLOUR, LEAF, RED, OldShop, body, template

HOUSE_FAULTS = {9400500, 9400503, 9400504, -1}
RETRIED = {40001, 40014, 42001, 45009}
NAMES_A_FIELD = re.compile(r"[A-Za-z_]+(?:\[\d+\]|\.\w+)*(?:, [\w.\[\]]+)*: .")
NASTY = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.sampled_from([0, -1, 2**31, 2**63, 2**64, 1e300, 0.5, float(2**53)]),
    st.text(max_size=20),
    st.sampled_from(
        [
            "",
            " ",
            "0",
            "-9",
            "30.0",
            "٣",
            "²",
            "$",
            "$:$",
            "a\u0000b",
            "\u202e红",
            "x" * 3000,
            "<script>",
            "%3A;:",
            "9" * 30,
        ]
    ),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.sampled_from(["id", "vid", "text", "img", "x"]), st.text(max_size=5), max_size=2),
)
ANYTHING = st.recursive(
    NASTY,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def things(stack, admin):
    """A shop with one of everything: the client, and a good body for each path."""
    from services.cli import world

    old = OldShop(stack.url, world.open_shop(admin, "杂货店"))
    sent = {**body(property=[{"id": "$产地", "vid": "$杭州"}]), "status": 1}
    product = old.post("/merchant/create", sent)["product_id"]
    freight = old.post("/merchant/express/add", {"delivery_template": template()})["template_id"]
    group = old.post("/merchant/group/add", {"group_detail": {"group_name": "组", "product_list": [product]}})[
        "group_id"
    ]
    infos = [
        {"eid": 1, "group_info": {"group_id": group, "filter": {"count": 2}}},
        {"eid": 4, "group_infos": {"groups": [{"group_id": group, "img": "http://a.example/b.png"}]}},
    ]
    shelf_body = {"shelf_data": {"module_infos": infos}, "shelf_banner": "http://a.example/b.png", "shelf_name": "架"}
    shelf = old.post("/merchant/shelf/add", shelf_body)["shelf_id"]
    by_folder = {
        "category": {"cate_id": LEAF},
        "stock": {"product_id": product, "sku_info": f"{COLOUR}:{RED}", "quantity": 1},
        "express": {"template_id": freight, "delivery_template": template()},
        "group": {
            "group_id": group,
            "group_name": "组",
            "group_detail": {"group_name": "组", "product_list": [product]},
            "product": [{"product_id": product, "mod_action": 1}],
        },
        "order": {
            "order_id": "1000000000000000000",
            "status": 2,
            "begintime": 1388966400,
            "endtime": 1389312000,
            "delivery_company": "059Yunda",
            "delivery_track_no": "1900659372473",
            "need_delivery": 1,
            "is_others": 0,
        },
        "shelf": {"shelf_id": shelf, "status": 1, **shelf_body},
    }
    asked = {path: by_folder.get(path.split("/")[2], {**sent, "product_id": product}) for path in CALLS}
    for path in ("/merchant/create", "/merchant/express/add", "/merchant/shelf/add"):
        asked[path] = {name: value for name, value in asked[path].items() if name not in ("product_id", "shelf_id")}
    yield old, asked
    old.client.close()


def spots(value, way=()):
    """Every place in a body."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, child in children:
        yield (*way, name)
        yield from spots(child, (*way, name))


def put(value, way, wrong):
    *above, last = way
    for part in above:
        value = value[part]
    value[last] = wrong


def check(old, path, content):
    """The envelope, and nothing else; 200 and the type are seen by the client."""
    told = old.ask(path, content)
    code = told["errcode"]
    assert (type(code), type(told["errmsg"])) == (int, str)
    assert code not in HOUSE_FAULTS | RETRIED, (path, content, told)
    if code == 40035:
        assert NAMES_A_FIELD.match(told["errmsg"]), (path, content, told)
    return code


@settings(max_examples=examples(300), deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_field_of_every_call_may_hold_anything(things, data):
    old, asked = things
    path = data.draw(st.sampled_from(sorted(asked)))
    sent = copy.deepcopy(asked[path])
    for _ in range(data.draw(st.integers(1, 2))):
        put(sent, data.draw(st.sampled_from(sorted(spots(sent), key=str))), data.draw(NASTY))
    check(old, path, json.dumps(sent).encode("utf-8", "surrogatepass"))


@settings(max_examples=examples(90), deadline=None, suppress_health_check=list(HealthCheck))
@given(path=st.sampled_from(sorted(CALLS)), sent=ANYTHING)
def test_every_call_may_be_sent_anything(things, path, sent):
    check(things[0], path, json.dumps(sent).encode("utf-8", "surrogatepass"))


@settings(max_examples=examples(30), deadline=None, suppress_health_check=list(HealthCheck))
@given(path=st.sampled_from(sorted(CALLS)), sent=st.binary(max_size=200))
def test_every_call_may_be_sent_rubbish(things, path, sent):
    check(things[0], path, sent)


@settings(max_examples=examples(30), deadline=None, suppress_health_check=list(HealthCheck))
@given(
    query=st.dictionaries(
        st.sampled_from(["grant_type", "appid", "secret", "x"]), st.text(st.characters(codec="utf-8"), max_size=20)
    )
)
def test_whoever_asks_for_a_token_is_answered(things, query):
    told = things[0].client.get("/cgi-bin/token", params=query)
    assert told.status_code == 200
    assert told.json()["errcode"] in {40002, 41002, 41004, 40013}
