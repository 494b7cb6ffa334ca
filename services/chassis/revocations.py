"""Revoked tokens, as every service keeps them: its worker writes them down (``HANDLER``), its server reads them every two seconds."""

from typing import Any, Final

from services.chassis import clock
from services.chassis.decisions import DONE, STALE, Decision, Verdict
from services.chassis.events import Event
from services.chassis.mongo import Database, Document
from services.chassis.reacting import Delivery, Handler
from services.chassis.tokens import Revoked

COLLECTION: Final = "revoked"


def read(database: Database) -> Revoked:
    """All revocations that still matter."""
    tokens, subjects = set(), {}
    for row in database[COLLECTION].find():
        if "issued_before" in row:
            subjects[row["subject"], row.get("shop_id", "")] = clock.ms(row["issued_before"]) // 1000
        else:
            tokens.add(row["_id"])
    return Revoked(frozenset(tokens), subjects)


def _row_id(event: Event) -> str:
    data = event.data
    shop = f"@{data['shop_id']}" if data.get("shop_id") else ""
    return data["token_id"] or f"subject:{data['subject']}{shop}"


def _load(database: Database, event: Event) -> Document | None:
    return database[COLLECTION].find_one({"_id": _row_id(event)})


def decide(row: Document | None, event: Event) -> Decision:
    """Write it down unless a row says so already, or the tokens it speaks of have ended anyway."""
    if "expire_time" in event.data and event.data["expire_time"] <= clock.wall():
        return STALE
    before = event.data.get("issued_before")
    if row is None:
        return Decision(Verdict.APPLY)
    older = not event.data["token_id"] and before is not None and clock.ms(row["issued_before"]) < clock.ms(before)
    return Decision(Verdict.APPLY) if older else DONE


def _apply(delivery: Delivery, _row: Any, _decision: Decision) -> None:
    """One upsert that only ever grows: twice or late changes nothing."""
    data = delivery.event.data
    latest = {
        name: value
        for name, value in (("issued_before", data.get("issued_before")), ("expire_at", data.get("expire_time")))
        if value
    }
    if data["token_id"]:
        latest.pop("issued_before", None)
    update: dict[str, Any] = {"$set": {"subject": data["subject"], "shop_id": data.get("shop_id", "")}}
    if latest:
        update["$max"] = latest
    delivery.database[COLLECTION].update_one({"_id": _row_id(delivery.event)}, update, upsert=True)


HANDLER: Final = Handler("jishi.accounts.token.revoked.v1", "token_revoked", _load, decide, _apply)
"""Part of every service's worker; the chassis adds it."""
