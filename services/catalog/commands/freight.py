"""Freight templates."""

from collections.abc import Mapping
from typing import Any, Final

from services.catalog.commands.products import shop_of
from services.catalog.model import freight
from services.catalog.model.freight import template_key
from services.catalog.store import FIRST, LAST, Store, freight_limits
from services.chassis import clock, commit, ids, regions
from services.chassis.commit import Cause, Outcome, Taken
from services.chassis.decisions import Change
from services.chassis.errors import Refusal, check_etag, invalid, not_found
from services.chassis.mongo import Document

ATTEMPTS: Final = 5


def create_template(store: Store, cause: Cause, shop_id: str, said: Mapping[str, Any]) -> Outcome:
    """A new freight template of the shop; ``said``: name, payer, valuation, carriers. The outcome's document is as it was made.

    Raises Refusal INVALID_ARGUMENT naming every wrong field, CONDITION_UNMET for too many templates, IDEMPOTENCY_KEY_REUSED.
    """
    shop = shop_of(store, shop_id)
    before = commit.created(store.freight_templates, cause)
    if before is not None:
        return _as_made(before, said)
    most = freight_limits(shop.now)
    freight.check(said, most, regions.load())
    row = {
        **freight.template(said, regions.load()),
        "shop_id": shop_id,
        "state": freight.ACTIVE,
        "attached": 0,
    }
    there = {"shop_id": shop_id, "position": {"$gt": FIRST, "$lt": LAST}}
    if store.freight_templates.count_documents(there, limit=most.templates) >= most.templates:
        raise Refusal("CONDITION_UNMET", f"a shop has at most {most.templates} freight templates; delete one first")
    for _ in range(ATTEMPTS):
        number = ids.small_id()
        key = {"_id": template_key(shop_id, number), "template_id": number, "position": ids.new_id("ft")}
        try:
            return _as_made(commit.create(store.freight_templates, {**row, **key}, cause), said)
        except Taken:  # the number is another template's: draw again
            continue
    raise Refusal("UNAVAILABLE", "no free number was found; try again", retry_after_s=1)


def _as_made(outcome: Outcome, said: Mapping[str, Any]) -> Outcome:
    """The template as this very request made it, also when it was changed or deleted since."""
    row = outcome.document
    made = {**row, **freight.template(said, regions.load()), "version": 1, "changed_at": row["created_at"]}
    return Outcome(made, replayed=outcome.replayed, changed=outcome.changed)


def update_template(
    store: Store, cause: Cause, shop_id: str, template_id: int, etag: str, said: Mapping[str, Any]
) -> Outcome:
    """Replace what a template says. The outcome's document is as this update left it.

    Raises Refusal NOT_FOUND, ETAG_MISMATCH, INVALID_ARGUMENT naming every wrong field, CONDITION_UNMET naming the products that use it
    when it would begin to count something else.
    """
    now = clock.business()
    if not etag:
        raise invalid("etag", "send the etag of the template as you read it, so that nobody's change is lost")
    key = template_key(shop_id, template_id)
    row = _found(store, key, template_id)
    wanted = freight.template(said, regions.load())
    recounts = wanted["valuation"] != row["valuation"]
    users = store.template_users(key, freight.USERS_NAMED + 1) if recounts else []

    def decide(template: Document) -> Change:
        for read in (row, template):  # both: users were looked for as the first one counts
            _same(read, etag, template_id)
        freight.check(said, freight_limits(now), regions.load())
        guard: Document = {}
        if recounts:
            fix = "make a new template that counts otherwise, and let them use that"
            _free(users, "valuation", fix)
            guard = {"attached": row["attached"]}
        answer = {"version": template["version"] + 1, "changed_at": now}
        return Change(set={**wanted, "changed_at": now}, guard=guard, answer=answer)

    outcome = commit.change(store.freight_templates, key, cause, decide, kind="freight template")
    left = {**outcome.document, **wanted, **outcome.answer}
    return Outcome(left, outcome.answer, replayed=outcome.replayed, changed=outcome.changed)


def delete_template(store: Store, cause: Cause, shop_id: str, template_id: int, etag: str) -> Outcome:
    """Delete a template that no product uses; its number is not given again.

    Raises Refusal NOT_FOUND, ETAG_MISMATCH, CONDITION_UNMET naming the products that use it.
    """
    key = template_key(shop_id, template_id)
    row = _found(store, key, template_id)
    users = store.template_users(key, freight.USERS_NAMED + 1)

    def decide(template: Document) -> Change:
        _same(template, etag, template_id)
        _free(users, "template_id", "give them another freight first")
        guard = {"attached": row["attached"]}
        return Change(set={"state": freight.DELETED}, unset=("position",), guard=guard)

    return commit.change(store.freight_templates, key, cause, decide, kind="freight template")


def _found(store: Store, key: str, template_id: int) -> Document:
    """The template, read before its users are: a product that begins to use it after that moves ``attached``, and a change is guarded by it."""
    row = store.freight_templates.find_one({"_id": key})
    if row is None:
        raise not_found("freight template", str(template_id))
    return row


def _same(template: Document, etag: str, template_id: int) -> None:
    if template["state"] == freight.DELETED:
        raise not_found("freight template", str(template_id))
    check_etag("template", template["version"], etag)


def _free(users: list[Document], path: str, fix: str) -> None:
    refusal = freight.in_use(users, path, fix)
    if refusal is not None:
        raise refusal
