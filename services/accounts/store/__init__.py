"""What accounts keeps: accounts, shops, staff, apps and grants, buyers, tokens given out, revocations, moves of the sandbox clock."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from services.chassis import clock, commit, policy
from services.chassis.commit import Rows
from services.chassis.fresh import Fresh
from services.chassis.mongo import Client, Collection, Database, Document, Index
from services.chassis.together import SharedReads

COLLECTIONS: Final = (
    Collection("official_accounts", (Index(("appid",), unique=True),), keyed=True, emits=True),
    Collection("shops", (Index(("account_id",), unique=True), Index(("created_at",))), keyed=True, emits=True),
    Collection("staff", (Index(("bootstrap",), unique=True, sparse=True),), keyed=True, emits=True),
    Collection("apps", keyed=True),
    Collection("grants", (Index(("shop_id",)),), keyed=True, emits=True),
    Collection("buyers", keyed=True),
    Collection("tokens", (Index(("expire_at",), expire_s=0),), keyed=True),
    Collection("revocations", (Index(("expire_at",), expire_s=0),), keyed=True, emits=True),
    Collection("clock_moves", keyed=True),
)
"""``shops.account_id`` is unique: an official account has at most one shop. ``staff.bootstrap`` is: there is one first admin."""


class Store:
    """The collections, and the questions asked of them."""

    def __init__(self, database: Database, client: Client, shared: Database) -> None:
        """``database`` is accounts' own, ``shared`` the small one that holds the sandbox clock."""
        self.client = client
        self.database = database
        self.shared = shared
        self.accounts: Rows = database["official_accounts"]
        self.shops: Rows = database["shops"]
        self.staff: Rows = database["staff"]
        self.apps: Rows = database["apps"]
        self.grants: Rows = database["grants"]
        self.buyers: Rows = database["buyers"]
        self.tokens: Rows = database["tokens"]
        self.revocations: Rows = database["revocations"]
        self.clock_moves: Rows = database["clock_moves"]
        self.clock: Rows = shared["clock"]
        self._shops: SharedReads[str] = SharedReads(self._shops_by_id)
        self._described: Fresh[Document] = Fresh(policy.load("accounts").value("shop_age", clock.business()))

    def account(self, account_id: str) -> Document | None:
        """An official account."""
        return self.accounts.find_one({"_id": account_id})

    def account_by_appid(self, appid: str) -> Document | None:
        """The official account with this appid."""
        return self.accounts.find_one({"appid": appid})

    def shop(self, shop_id: str) -> Document | None:
        """A shop in any state."""
        return self.shops.find_one({"_id": shop_id})

    def shop_of(self, account_id: str) -> Document | None:
        """The one shop of an official account."""
        return self.shops.find_one({"account_id": account_id})

    def shops_by_id(self, shop_ids: Iterable[str]) -> list[Document]:
        """Those of the shops that exist, as they were up to a second ago, or as this process has changed them since (``shop_changed``)."""
        return list(self._described.get_many(shop_ids, self._shops.get).values())

    def shop_changed(self, shop_id: str) -> None:
        """This process has changed a shop."""
        self._described.forget(shop_id)

    def _shops_by_id(self, shop_ids: Sequence[str]) -> dict[str, Document]:
        return {row["_id"]: row for row in self.shops.find({"_id": {"$in": shop_ids}})}

    def shops_page(self, filters: Mapping[str, Any], after: list[Any] | None, limit: int) -> list[Document]:
        """At most ``limit`` shops, newest first, after the position ``[created_at, shop_id]``."""
        query: Document = dict(filters)
        if after is not None:
            when, identity = after
            query["$or"] = [{"created_at": {"$lt": when}}, {"created_at": when, "_id": {"$lt": identity}}]
        return list(self.shops.find(query).sort([("created_at", -1), ("_id", -1)]).limit(limit))

    def app(self, client_id: str) -> Document | None:
        """A third-party app."""
        return self.apps.find_one({"_id": client_id})

    def grant(self, client_id: str, shop_id: str) -> Document | None:
        """The grant of an app on a shop, active or not."""
        return self.grants.find_one({"_id": grant_id(client_id, shop_id)})

    def grants_of(self, shop_id: str) -> list[Document]:
        """All grants of a shop."""
        return list(self.grants.find({"shop_id": shop_id}).sort("_id", 1))

    def token(self, token_id: str) -> Document | None:
        """A token given out and not long dead: whose it is and when it ends."""
        return self.tokens.find_one({"_id": token_id})

    def move_clock(self, move: Document, seen_ms: int, target_ms: int) -> None:
        """Insert ``move`` and set the offset from ``seen_ms`` to ``target_ms``, both or neither.

        Raises Taken when the move was made before, Shortfall when another one came first.
        """
        transaction = commit.Transaction(self.client).insert(self.clock_moves, move)
        condition = {"_id": "sandbox", "offset_ms": seen_ms}
        transaction.update(self.clock, condition, {"$set": {"offset_ms": target_ms, "moved_by": move["_id"]}}).commit()

    def move_made(self, cause_id: str) -> Document | None:
        """The clock move that a command made."""
        return self.clock_moves.find_one({"created_by": cause_id})

    def services_with_jobs(self) -> list[str]:
        """Services whose jobs a jobs process has told about, alive or killed since."""
        return sorted(self.shared["quiet"].distinct("service", {"role": "jobs"}))


def grant_id(client_id: str, shop_id: str) -> str:
    """The id of an app's grant on a shop."""
    return f"{client_id}:{shop_id}"
