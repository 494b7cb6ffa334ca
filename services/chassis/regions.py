"""Provinces and cities as addresses, freight templates and quotes name them. Pure, but for ``load``, which reads the data once.

Data: ``regions.toml`` beside this module, the region list (地区列表) of the 微信商铺API手册 V1.15 §3.1.5: 31 provinces and 339 city
entries of 中国 with their names of 2014.
"""

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from services.chassis.errors import Violation

_ALIKE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Place:
    """A city of a province, or with an empty ``city`` anywhere in the province, or with both empty anywhere in the country."""

    province: str = ""
    city: str = ""


class Regions:
    """The region list: which provinces there are, and which cities in each."""

    def __init__(self, country: str, cities: Mapping[str, tuple[str, ...]]) -> None:
        """``cities``: province → its cities, both in the order of the data."""
        self.country, self._cities = country, dict(cities)
        self._homes: dict[str, list[str]] = {}
        for province, names in self._cities.items():
            for name in names:
                self._homes.setdefault(name, []).append(province)

    @property
    def provinces(self) -> tuple[str, ...]:
        """All provinces."""
        return tuple(self._cities)

    def cities(self, province: str) -> tuple[str, ...]:
        """The cities of ``province``; none for a name that is no province of the list."""
        return self._cities.get(province, ())

    def wrong_country(self, path: str, country: str) -> list[Violation]:
        """What is wrong with a country's name; an empty one means the country of the list."""
        if country in ("", self.country):
            return []
        return [Violation(f"{path}country", f'"{country}" is not in the list; it is always {self.country}')]

    def wrong(self, path: str, place: Place) -> list[Violation]:
        """What is wrong with ``place``, each naming ``{path}province`` or ``{path}city`` and the name that was meant, where it is found out.

        An empty city stands for anywhere in the province, an empty province for anywhere; a city needs its province.
        """
        province, city = place.province, place.city
        if not province:
            if not city:
                return []
            homes = self._homes.get(city)
            return [Violation(f"{path}province", f"name the province of the city{_meant(homes or ())}")]
        if province not in self._cities:
            return [Violation(f"{path}province", f'"{province}" is not in the list{_like(province, self._cities)}')]
        if not city or city in self._cities[province]:
            return []
        if homes := self._homes.get(city):
            return [Violation(f"{path}city", f'"{city}" belongs to {homes[0]}, not to {province}')]
        elsewhere = (f"{name} of {homes[0]}" for name, homes in self._homes.items())
        guess = _like(city, self._cities[province]) or _like(city, elsewhere)
        return [Violation(f"{path}city", f'"{city}" is not in the list{guess}')]


def _meant(names: Iterable[str]) -> str:
    found = next(iter(names), None)
    return f", did you mean {found}?" if found else ""


def _like(text: str, names: Iterable[str]) -> str:
    known = list(names)
    longer = [name for name in known if text and (name.startswith(text) or text.startswith(name))]
    return _meant(longer or difflib.get_close_matches(text, known, 1, _ALIKE))


def parse(data: Mapping[str, Any]) -> Regions:
    """The list from the data of ``regions.toml``. Raises ValueError for a province or a city of a province that stands there twice."""
    cities = {row["name"]: tuple(row["cities"]) for row in data["provinces"]}
    if len(cities) != len(data["provinces"]) or any(len(set(names)) != len(names) for names in cities.values()):
        raise ValueError("a province or a city stands in the list twice")
    return Regions(data["country"], cities)


@cache
def load() -> Regions:
    """The list of the house."""
    return parse(tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")))
