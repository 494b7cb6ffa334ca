"""Nobody gets in: every door of the API, tried without a token, as the wrong kind of caller, and as a stranger of the right kind.

What is tried is what somebody did (``every_write``): the same path and body, with another's token, under another key.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, product
from typing import Any

import pytest

from services.chassis.rpc.contracts import methods_of
from services.chassis.settings import SERVICES
from services.cli import world
from services.cli.api import Api
from services.gateway.routes import Route, routes_of
from tests.faults.clients import Acknowledged
from tests.faults.doors import ROUTES as WRITES
from tests.faults.doors import everything, ids_in, route_of
from tests.faults.every_write import EveryWrite

pytestmark = pytest.mark.timeout(600)
READS = routes_of(method for service in SERVICES for method in methods_of(service).values() if method.reads)
OPEN_TO_ALL = {
    "orders.PlaceOrder": "anybody may buy what is on sale",
    "payments.ClaimRedPacket": "a red packet is for whoever is told of it",
}
SHOWN_TO_ALL = {
    "orders.Quote": "anybody may ask what something on sale costs",
    "payments.GetRedPacket": "who is told of a red packet may look at it",
    "payments.ListWalletMovements": "a wallet names the packet that its owner took a part of",
    "catalog.GetProductVersion": "a version that was on sale is what a buyer saw",
    "accounts.ResolveOpenid": "everybody has an openid of their own at an account",
}
BEGAN = {"from_time": "2026-01-01T00:00:00Z"}
NEEDED = {
    "broadcast.ListDeliveries": {"outcome": "sent"},
    "payments.ListStatement": BEGAN,
    "payments.DownloadStatement": BEGAN,
}
THE_DAY = "2026-01-05"
"""On which the story happens."""
NOT_ANYBODYS = frozenset({"external_id", "request_id", "client_id", "category_id", "tag_id", "image_id"})
"""Ids that each caller gives, that all may use (an app, a category, a picture by its bytes), or that are counted in each account."""
NOBODYS = frozenset({("catalog", "image_files")})
"""Rows that are of no shop: the bytes of a picture are one file for all who upload it, and its version tells that somebody did."""
TRIED_MOST, PATHS_MOST = 4, 20
"""With how many of the owner's things each place of a path is filled."""
UNAUTHORIZED, FORBIDDEN, NOT_FOUND, INTERNAL = 401, 403, 404, 500
MADE_UP = "not-a-token"


@dataclass(frozen=True)
class Person:
    """Somebody with a token, and what their own documents name."""

    kind: str
    api: Api
    ids: frozenset[str] = frozenset()


@pytest.fixture(scope="module")
def strangers(story) -> Mapping[str, Person]:
    """Another shop's merchant and another buyer, by kind."""
    shop, someone = world.open_shop(story.admin.api, "隔壁"), world.buyer(story.admin.api, "小刚")
    own = frozenset({shop.shop_id, shop.account_id, shop.appid})
    return {
        "merchant": Person("merchant", story.api.as_caller(shop.token), own),
        "buyer": Person("buyer", story.api.as_caller(someone.token), frozenset({someone.user_id})),
    }


@pytest.fixture(scope="module")
def owned(story) -> Mapping[str, list[str]]:
    """The owners' ids by the name of their field, the latest last: from what they were answered and the paths they called."""
    found = defaultdict(dict)
    for line in story.journal.lines:
        route, values = route_of(line)
        for name, value in [*ids_in(line.answer.body), *zip(route.parameters, values, strict=True)]:
            found[name].pop(value, None)
            found[name][value] = None
    return {name: list(values) for name, values in found.items()}


def filled(route: Route, owned: Mapping[str, list[str]], story: EveryWrite) -> Iterator[str]:
    """The route's path with the owners' things in it: those of which the story did something there, then the latest of each kind."""
    beside = [(known, values) for known, values in map(route_of, story.journal.lines) if goes_on(known, route)]
    there = [values[: len(route.parameters)] for _, values in beside[: -TRIED_MOST - 1 : -1]]
    known_days = {"date": [*owned.get("date", ()), THE_DAY]}
    choices = [{**owned, **known_days}.get(name, ["1"])[: -TRIED_MOST - 1 : -1] for name in route.parameters]
    for chosen in (*there, *product(*choices)):
        path = route.template
        for name, value in zip(route.parameters, chosen, strict=True):
            path = path.replace(f"{{{name}}}", value)
        yield path


def goes_on(known: Route, route: Route) -> bool:
    """Whether a door lies behind that of ``route``."""
    return known.template.startswith((f"{route.template}:", f"{route.template}/"))


def queries(route: Route, owned: Mapping[str, list[str]], story: EveryWrite) -> list[dict[str, str]]:
    """Queries that name the owner's things, one at a time, beside the owner's shop and account."""
    owned = {**owned, "ref": owned["order_id"]}
    free = [name for name in route.method.request.DESCRIPTOR.fields_by_name if name not in route.parameters]
    whose = {"shop_id": story.shop.shop_id, "account_id": story.shop.account_id}
    always = {name: whose[name] for name in free if name in whose} | NEEDED.get(route.method.name, {})
    others = [name for name in free if name in owned and name not in whose]
    return [always, *({**always, name: value} for name in others for value in owned[name][-TRIED_MOST:])]


def belongs_to(row: Mapping[str, Any], people: Mapping[str, Person]) -> bool:
    """Whether a document names one of these people."""
    text = str(row)
    return any(name in text for person in people.values() for name in person.ids)


def recorded(story) -> dict[str, Acknowledged]:
    """One request of each write that needs a token, by rpc."""
    lines = {route_of(line)[0].method.name: line for line in story.journal.lines}
    return {name: line for name, line in lines.items() if not route_of(line)[0].method.public}


def test_a_stranger_of_the_right_kind_changes_nothing_of_anothers(story, stack, strangers):
    before = {
        key: row for key, row in everything(stack).items() if key[:2] not in NOBODYS and not belongs_to(row, strangers)
    }
    let_in = []
    for line in list(story.journal.lines):
        method = route_of(line)[0].method
        if method.public or method.name in OPEN_TO_ALL:
            continue
        for person in (strangers[kind] for kind in method.kinds & strangers.keys()):
            answer = person.api.ask(line.method, line.path, **line.given)
            theirs = private_ids(line.answer.body) & private_ids(answer.body)
            if answer.status >= INTERNAL or (answer.fine and theirs and not refused_each(answer.body)):
                let_in.append(f"{person.kind} {line.method} {line.path} → {answer.status} {answer.body}")
    assert not let_in, "\n".join(let_in)
    after = everything(stack)
    touched = [f"{key}: {row}\n  became {after.get(key)}" for key, row in before.items() if after.get(key) != row]
    assert not touched, "\n".join(touched)
    stack.audited()


def private_ids(body: Mapping[str, Any]) -> set[str]:
    """The ids in an answer that only their owner should see."""
    return {value for name, value in ids_in(body) if name not in NOT_ANYBODYS}


def refused_each(body: Mapping[str, Any]) -> bool:
    """Whether a bulk answer refuses each of its items."""
    rows = body.get("results", [])
    return bool(rows) and all(row.get("reason") == "NOT_FOUND" or row.get("outcome") == "failed" for row in rows)


def test_a_stranger_of_the_right_kind_reads_nothing_of_anothers(story, strangers, owned):
    people = {"merchant": story.merchant.api, "buyer": story.buyer.api, "admin": story.admin.api}
    private = {
        value for name, values in owned.items() if name not in NOT_ANYBODYS for value in values if len(value) > 8
    }
    unread, told = [], []
    for route in (route for route in READS if not route.method.public):
        doors = list(product(islice(filled(route, owned, story), PATHS_MOST), queries(route, owned, story)))
        owners = [people[kind] for kind in route.method.kinds & people.keys()]
        body = {"lines": [story.line]} if route.method.name == "orders.Quote" else None  # it does not fit into a query
        if not any(api.ask(route.verb, path, body, params=query).fine for api in owners for path, query in doors):
            unread.append(route.template)
        kinds = set() if route.method.name in SHOWN_TO_ALL else route.method.kinds & strangers.keys()
        for person in (strangers[kind] for kind in kinds):
            for path, query in doors:
                answer = person.api.ask(route.verb, path, body, params=query)
                text = json.dumps(answer.body, ensure_ascii=False)
                leaks = [value for value in private if value in text] if answer.fine else []
                if leaks or answer.status >= INTERNAL:
                    told.append(f"{person.kind} {route.verb} {path} → {answer.status} {leaks} {text[:300]}")
    assert not told, "\n".join(told)
    assert not unread, f"not even its owner could read {unread}: the story gives no example"


def test_without_a_token_or_as_the_wrong_kind_of_caller_nothing_opens(story, strangers, owned):
    lines, opened = recorded(story), []
    judge, auditor = (
        Person(role, story.api.as_caller(world.staff(story.admin.api, role, role)))
        for role in ("arbitrator", "auditor")
    )
    for route in (route for route in (*READS, *WRITES) if not route.method.public):
        line = lines.get(route.method.name)
        path = line.path if line else next(filled(route, owned, story))
        given = line.given if line else {}
        for token in ("", MADE_UP):
            answer = story.api.as_caller(token).ask(route.verb, path, **given)
            if answer.status != UNAUTHORIZED:
                opened.append(f"{token or 'nobody'} {route.verb} {path} → {answer.status} {answer.body}")
        for person in (*strangers.values(), judge, auditor):
            if person.kind not in route.method.kinds:
                answer = person.api.ask(route.verb, path, **given)
                if answer.status not in (FORBIDDEN, NOT_FOUND):
                    opened.append(f"{person.kind} {route.verb} {path} → {answer.status} {answer.body}")
    assert not opened, "\n".join(opened)
