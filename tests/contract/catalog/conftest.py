"""The catalog's house of the unit tests, with its small chunks."""

from tests.unit.catalog.conftest import house

__all__ = ["house"]
