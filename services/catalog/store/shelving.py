"""What is asked of groups, shelves and their versions."""

from collections.abc import Iterable, Sequence

from services.chassis.mongo import Database, Document

Place = tuple[str, int]
"""By what groups and shelves are listed: name, number."""


def shelf_key(shop_id: str, number: int) -> str:
    """The id of a group's or shelf's document: its number is unique in the shop only."""
    return f"{shop_id}:{number}"


def version_key(shop_id: str, shelf_id: int, version: int) -> str:
    """The id of a shelf's version; versions count from 1 without a gap."""
    return f"{shop_id}:{shelf_id}:{version}"


class Shelving:
    """Part of Store."""

    def __init__(self, database: Database) -> None:
        """The collections by name."""
        self.database = database
        self.groups, self.shelves = database["groups"], database["shelves"]
        self.shelf_versions = database["shelf_versions"]

    def named_places(self, collection: str, shop_id: str, name: str, number: str) -> list[Place]:
        """(name, number) of all groups or shelves of the shop, sorted: policy bounds how many there are, an index holds all of it."""
        found = self.database[collection].find({"shop_id": shop_id}, {"_id": 0, name: 1, number: 1}, batch_size=1000)
        first, _, second = name.partition(".")
        return sorted((row[first][second] if second else row[first], row[number]) for row in found)

    def group_rows(self, shop_id: str, numbers: Sequence[int], members: int) -> dict[int, Document]:
        """These groups by number, each with its first ``members`` products and their ``product_count``; nothing is asked for none."""
        if not numbers:
            return {}
        shown: Document = {
            "group_id": 1,
            "shop_id": 1,
            "name": 1,
            "version": 1,
            "created_at": 1,
            "changed_at": 1,
            "product_count": {"$size": "$product_ids"},
        }
        if members:
            shown["product_ids"] = {"$slice": ["$product_ids", members]}
        wanted = {"_id": {"$in": [shelf_key(shop_id, number) for number in numbers]}, "shop_id": shop_id}
        found = self.groups.aggregate([{"$match": wanted}, {"$project": shown}])
        return {row["group_id"]: row for row in found}

    def group_members(self, shop_id: str, number: int, start: int, size: int) -> list[str]:
        """Up to ``size`` products of a group in order, from number ``start``."""
        shown: Document = {"product_ids": {"$slice": ["$product_ids", start, size]}}
        wanted = {"_id": shelf_key(shop_id, number), "shop_id": shop_id}
        row = next(iter(self.groups.aggregate([{"$match": wanted}, {"$project": shown}])), None)
        return list(row["product_ids"]) if row else []

    def listed_among(self, shop_id: str, product_ids: Sequence[str]) -> frozenset[str]:
        """Which of these the shop has on sale."""
        query = {"_id": {"$in": list(product_ids)}}
        found = self.database["products"].find(query, {"shop_id": 1, "state": 1}, batch_size=1000)
        return frozenset(row["_id"] for row in found if row["shop_id"] == shop_id and row["state"] == "listed")

    def known_groups(self, shop_id: str, numbers: Sequence[int]) -> frozenset[int]:
        """Which of these numbers are groups of the shop."""
        if not numbers:
            return frozenset()
        wanted = {"_id": {"$in": [shelf_key(shop_id, number) for number in numbers]}, "shop_id": shop_id}
        return frozenset(row["group_id"] for row in self.groups.find(wanted, {"group_id": 1}))

    def own_products(self, shop_id: str, product_ids: Iterable[str]) -> frozenset[str]:
        """Which of these are products of the shop that are not deleted; nothing is asked for none."""
        wanted = list(product_ids)
        if not wanted:
            return frozenset()
        found = self.database["products"].find({"_id": {"$in": wanted}}, {"shop_id": 1, "state": 1}, batch_size=1000)
        return frozenset(row["_id"] for row in found if row["shop_id"] == shop_id and row["state"] != "deleted")

    def shelves_of_group(self, shop_id: str, group_id: int) -> list[int]:
        """The shop's shelves whose draft, published version or version to come names the group, sorted."""
        shown = {"shelf_id": 1, "published_version": 1, "schedule.version": 1}
        rows = list(self.shelves.find({"shop_id": shop_id}, shown, batch_size=1000))
        naming = {"draft.modules.groups.group_id": group_id, "shop_id": shop_id}
        found = {row["shelf_id"] for row in self.shelves.find(naming, {"shelf_id": 1}, batch_size=1000)}
        keys = [
            version_key(shop_id, row["shelf_id"], version)
            for row in rows
            for version in (row["published_version"], row.get("schedule", {}).get("version"))
            if version
        ]
        if keys:
            wanted = {"_id": {"$in": keys}, "content.modules.groups.group_id": group_id}
            found |= {row["shelf_id"] for row in self.shelf_versions.find(wanted, {"shelf_id": 1}, batch_size=1000)}
        return sorted(found)
