"""Which path and verb is which rpc: a tree of path segments, built once from the protos."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from services.chassis.rpc import Method

VERBS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """One HTTP door of one rpc: ``POST /v1/orders/{order_id}:ship``."""

    verb: str
    template: str
    method: Method
    parameters: tuple[str, ...]
    """Field names in the path, in order."""


@dataclass(slots=True)
class _Node:
    literal: dict[str, "_Node"] = field(default_factory=dict)
    parameter: "_Node | None" = None
    actions: dict[str, dict[str, Route]] = field(default_factory=dict)
    """Custom verb after the colon ("" without) → HTTP verb → route."""


def routes_of(methods: Iterable[Method]) -> tuple[Route, ...]:
    """The routes of all rpcs that have an ``http`` option. Raises ValueError for one that cannot be read."""
    found = []
    for method in methods:
        if not method.rule.http:
            continue
        verb, _, template = method.rule.http.partition(" ")
        if verb not in VERBS or not template.startswith("/"):
            raise ValueError(f"{method.name}: http must be like 'POST /v1/things/{{thing_id}}:verb'")
        names = tuple(part[1:].partition("}")[0] for part in template.split("/") if part.startswith("{"))
        unknown = [name for name in names if name not in method.request.DESCRIPTOR.fields_by_name]
        if unknown:
            raise ValueError(f"{method.name}: {template} names fields that the request does not have: {unknown}")
        found.append(Route(verb, template, method, names))
    return tuple(found)


class Table:
    """Finds the route of a request in one walk along its path."""

    def __init__(self, routes: Iterable[Route]) -> None:
        """Raises ValueError where two rpcs want the same door."""
        self._root = _Node()
        for route in routes:
            self._add(route)

    def find(self, path: str) -> tuple[dict[str, Route], list[str]] | None:
        """Routes by HTTP verb and the values of the path's parameters (decoded); None for a path that is not ours.

        ``path`` as it came, percent-encoded, without the query.
        """
        *parts, last = path.split("/")[1:]
        stem, colon, action = last.rpartition(":")
        found = _walk(self._root, [*parts, stem], action) if colon else None
        return found or _walk(self._root, [*parts, last], "")

    def _add(self, route: Route) -> None:
        *parts, last = route.template.split("/")[1:]
        stem, colon, action = last.rpartition(":")
        node = self._root
        for part in (*parts, stem if colon else last):
            if part.startswith("{"):
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.literal.setdefault(part, _Node())
        verbs = node.actions.setdefault(action if colon else "", {})
        if route.verb in verbs:
            raise ValueError(
                f"{route.method.name} and {verbs[route.verb].method.name} both want {route.verb} {route.template}"
            )
        verbs[route.verb] = route


def _walk(node: _Node, parts: list[str], action: str) -> tuple[dict[str, Route], list[str]] | None:
    """A literal segment goes before a parameter; a parameter is not empty."""
    if not parts:
        routes = node.actions.get(action)
        return (routes, []) if routes else None
    part, rest = parts[0], parts[1:]
    literal = node.literal.get(part)
    found = _walk(literal, rest, action) if literal else None
    if found is None and node.parameter is not None and part:
        found = _walk(node.parameter, rest, action)
        if found:
            found[1].insert(0, unquote(part) if "%" in part else part)
    return found
