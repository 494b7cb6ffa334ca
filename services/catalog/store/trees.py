"""The category tree as a process holds it: shipped data with the admins' edits over it, looked after now and then, never per request."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Final

from services.catalog.model.categories import Tree, parse
from services.chassis import clock, policy
from services.chassis.fresh import Fresh
from services.chassis.mongo import Database

REVISION: Final = "tree"
"""The one row of ``category_revision``: {revision}, one more for every edit of the tree."""
_SHIPPED: Final = Path(__file__).parent.parent / "categories.toml"


@cache
def shipped() -> Tree:
    """The tree without any edit."""
    return parse(tomllib.loads(_SHIPPED.read_text(encoding="utf-8")))


class Trees:
    """Answers with the current tree; asks the database for its revision at most every ``category_tree_age`` seconds.

    The categories themselves are read again only when the revision has moved.
    """

    def __init__(self, database: Database) -> None:
        """Reads nothing yet."""
        self._database = database
        self._latest = shipped()
        self._fresh = self._forgotten()

    def current(self) -> Tree:
        """The tree, at most ``category_tree_age`` old."""
        return self._fresh.get(REVISION, self.read) or self._latest

    def read(self) -> Tree:
        """The tree as the database holds it now."""
        row = self._database["category_revision"].find_one({"_id": REVISION})
        revision = row["revision"] if row else 0
        if revision != self._latest.revision:
            self._latest = shipped().over(self._database["categories"].find(), revision)
        return self._latest

    def forget(self) -> None:
        """Read anew when next asked: this process has just edited it."""
        self._fresh = self._forgotten()

    @staticmethod
    def _forgotten() -> Fresh[Tree]:
        return Fresh(policy.load("catalog").value("category_tree_age", clock.business()), most=1)
