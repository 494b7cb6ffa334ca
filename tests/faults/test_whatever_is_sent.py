"""Whatever is sent to any door of the API, it is answered: refused with the field and the fix, or done; never by a 5xx, never by half.

Two ways: requests made from the schema by schemathesis, right and wrong ones; and every field of what somebody really sent, one at a
time, with something else in its place.
"""

import copy
import random
from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode

from services.chassis.rpc.contracts import methods_of
from services.chassis.settings import SERVICES
from services.gateway.openapi import document
from services.gateway.routes import routes_of
from tests.examples import examples
from tests.faults.doors import ids_in, route_of

pytestmark = pytest.mark.timeout(600)
ROUTES = {
    f"{route.verb} {route.template}": route
    for route in routes_of(method for service in SERVICES for method in methods_of(service).values())
}
LEFT_OUT = {
    "accounts.AdvanceClock": "a clock that was moved to the year 9999 is right, and ends every other test on this stack",
    "accounts.RevokeTokens": "whoever ends their own tokens asks no more",
    "payments.ReceiveNotification": "the channel's own request, answered in the channel's own form",
    "catalog.GetImage": "answers bytes; what is wrong with its parameters is told by the journeys of pictures",
}
JUNK = (
    None,
    "",
    " ",
    "x" * 5000,
    "\x00",
    "\ud800",
    "Robert'); DROP TABLE students;--",
    "$where",
    "../../etc/passwd",
    "١٢٣",
    0,
    -1,
    1.5,
    2**31,
    2**63,
    -(2**63) - 1,
    1e308,
    True,
    [],
    [[]],
    {},
    {"$gt": ""},
    {"a": {"b": {"c": [1, None]}}},
    ["x"] * 300,
)
EACH = 3
"""Other things that each field is given in one run."""
INTERNAL, BAD = 500, 400
SCHEMA = schemathesis.openapi.from_dict(document(tuple(ROUTES.values()), "http://127.0.0.1"))
OPERATIONS = {found.ok().label: found.ok() for found in SCHEMA.get_all_operations()}
ASKED = [label for label in OPERATIONS if ROUTES[label].method.name not in LEFT_OUT]


@pytest.fixture(scope="module")
def tokens(story) -> dict[str, str]:
    """A token of each kind."""
    people = ("merchant", "buyer", "admin", "arbitrator")
    found = {kind: getattr(story, kind).api.token for kind in people}
    return {**found, "supervisor": story.second.api.token, "anyone": ""}


@pytest.fixture(scope="module")
def known(story) -> dict[str, list[str]]:
    """Ids that are there, by the name of their field."""
    found: dict[str, list[str]] = {}
    for line in story.journal.lines:
        for name, value in ids_in(line.answer.body):
            found.setdefault(name, []).append(value)
    return found


def wrong_with(status: int, headers: Any, body: bytes, what: str) -> str:
    """What is wrong with an answer; empty for a success and for a refusal in the form that is promised."""
    if status >= INTERNAL:
        return f"{what} → {status} {body[:500]!r}"
    if status < BAD:
        return ""
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        return f"{what} → {status}, no JSON: {body[:200]!r}"
    if not (
        told.get("reason") and told.get("detail") and headers["content-type"].startswith("application/problem+json")
    ):
        return f"{what} → {status}, no problem: {told}"
    if told["reason"] == "INVALID_ARGUMENT" and not all(
        error["message"] and "field" in error for error in told["errors"] or [{}]
    ):
        return f"{what} → names no field: {told}"  # a field may be called "": then that is what it is called
    return ""


@pytest.mark.parametrize("label", ASKED)
def test_requests_made_from_the_schema_are_answered(label, stack, story, tokens, known):
    operation, route = OPERATIONS[label], ROUTES[label]
    kind = next((kind for kind in tokens if kind in route.method.kinds), "anyone")
    found: list[str] = []

    def send(case: Any, place: int) -> None:
        names = {name: known[name][place % len(known[name])] for name in route.parameters if name in known}
        case.path_parameters = {**(case.path_parameters or {}), **names}
        headers = {"Authorization": f"Bearer {tokens[kind]}"} if tokens[kind] else {}
        try:
            made = case.as_transport_kwargs(base_url=stack.url, headers=headers)
            request = httpx.Request(
                made["method"],
                made["url"],
                params=made.get("params"),
                headers=made.get("headers"),
                content=orjson.dumps(made["json"]) if "json" in made else made.get("data"),
            )
        except (ValueError, TypeError, orjson.JSONEncodeError, httpx.InvalidURL):  # no HTTP client could send it
            return
        answer = story.api.line.client.send(request)
        if problem := wrong_with(
            answer.status_code, answer.headers, answer.content, f"{kind} {label} {case.body!r:.500}"
        ):
            found.append(problem)

    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
        strategy = operation.as_strategy(generation_mode=mode)
        run = given(case=strategy, place=st.integers(0, 50))(send)
        quick = settings(
            max_examples=examples(6),
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        )
        try:
            quick(run)()
        except schemathesis.errors.InvalidSchema:
            raise
        except Exception as error:  # an operation that takes anything has no wrong request
            if "Unsatisfiable" not in type(error).__name__:
                raise
    assert not found, "\n".join(found)


def places(body: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where in a body something stands."""
    inside = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    for name, value in inside:
        yield (*path, name)
        yield from places(value, (*path, name))


def instead(body: Any, path: tuple[Any, ...], junk: Any) -> Any:
    """The body with something else in one place."""
    changed = copy.deepcopy(body)
    at = changed
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = junk
    return changed


def test_every_field_of_what_somebody_sent_with_something_else_in_it_is_answered(stack, story):
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chance, found, sent = random.Random(seed), [], 0
    lines = {route_of(line)[0].method.name: line for line in story.journal.lines if line.given.get("body")}
    for name, line in lines.items():
        if name in LEFT_OUT:
            continue
        for path in places(line.given["body"]):
            for junk in chance.sample(JUNK, EACH):
                body = instead(line.given["body"], path, junk)
                try:
                    content = orjson.dumps(body)
                except (orjson.JSONEncodeError, TypeError):
                    content = str(body).encode("utf-8", "surrogatepass")
                headers = {"Content-Type": "application/json"}
                if line.api.token:
                    headers["Authorization"] = f"Bearer {line.api.token}"
                answer = story.api.line.client.request(
                    line.method, stack.url + line.path, content=content, headers=headers
                )
                sent += 1
                what = f"{line.method} {line.path} {'.'.join(map(str, path))} = {junk!r:.80}"
                if problem := wrong_with(answer.status_code, answer.headers, answer.content, what):
                    found.append(problem)
    print(f"{sent} requests")
    assert not found, "\n".join(found)
    stack.audited()
