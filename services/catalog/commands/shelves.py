"""Shelves (货架): drafts, versions, publishing now and at a time ahead.

A deleted shelf keeps its number, which is not given again, and the causes it knows; it belongs to no list any more.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import nh3

from services.catalog.commands.products import shop_of
from services.catalog.model import shelves
from services.catalog.model.shelves import Known
from services.catalog.store import SERVICE, Store
from services.catalog.store.shelving import shelf_key, version_key
from services.chassis import clock, commit, ids, policy
from services.chassis.commit import Cause, Outcome, Taken, Transaction
from services.chassis.decisions import Change
from services.chassis.errors import Refusal, Violation, check_etag, invalid, not_found
from services.chassis.mongo import Document

ATTEMPTS: Final = 5
TAGS: Final = 1000
"""Tags of one text: a browser's tree costs the square of its depth."""
LEFT: Final = ("published_version", "versions", "schedule")
"""What a command says of the shelf beside its draft; remembered, so that a repetition is told the same."""


def create_shelf(
    store: Store, cause: Cause, shop_id: str, slug: str, said: Document, *, publish: bool = False
) -> Outcome:
    """A new shelf; ``said`` is {name, banner, modules}. The outcome's document is as it was made; with ``publish`` everybody sees it.

    Raises Refusal INVALID_ARGUMENT, ALREADY_EXISTS for a slug in use, CONDITION_UNMET for too many shelves, IDEMPOTENCY_KEY_REUSED.
    """
    shop = shop_of(store, shop_id)
    draft = _clean(said)
    before = commit.created(store.shelves, cause)
    said_of_it = (shop_id, slug, draft, int(publish))
    if before is not None:
        return _as_made(before, *said_of_it)
    _check(store, shop_id, slug, draft)
    most = policy.load(SERVICE).value("shelf_count", shop.now)
    if store.shelves.count_documents({"shop_id": shop_id}, limit=most) >= most:
        raise Refusal("CONDITION_UNMET", f"a shop has at most {most} shelves; delete one first")
    for _ in range(ATTEMPTS):
        number = ids.small_id()
        name = slug or str(number)
        key = {"_id": shelf_key(shop_id, number), "shelf_id": number, "slug": name, "slug_key": f"{shop_id}/{name}"}
        row = {
            **key,
            "shop_id": shop_id,
            "draft": draft,
            **dict.fromkeys(("published_version", "versions"), int(publish)),
        }
        try:
            return _as_made(_made(store, cause, row), *said_of_it)
        except Taken:
            before = commit.created(store.shelves, cause)
            if before is not None:  # this very request, sent twice at once
                return _as_made(before, *said_of_it)
            if store.shelves.find_one({"slug_key": key["slug_key"]}) is not None:
                message = f"the shop has a shelf called {name} already; choose another slug"
                raise Refusal("ALREADY_EXISTS", f"slug: {message}", (Violation("slug", message),)) from None
    raise Refusal("UNAVAILABLE", "no free number was found; try again", retry_after_s=1)


def _made(store: Store, cause: Cause, row: Document) -> Outcome:
    """The shelf, with its first version where everybody is to see it: no kill leaves it made and unseen. Raises Taken."""
    if not row["versions"]:
        return commit.create(store.shelves, row, cause)
    prepared = commit.prepare(store.shelves, row, cause)
    transaction = Transaction(store.client).insert(store.shelf_versions, _version(row, row["versions"]))
    transaction.insert(store.shelves, prepared).commit()
    return Outcome(prepared)


def _as_made(outcome: Outcome, shop_id: str, slug: str, draft: Document, published: int) -> Outcome:
    """The shelf as this very request made it, also when it was changed or deleted since."""
    row = {name: value for name, value in outcome.document.items() if name != "schedule"}
    made = {"shop_id": shop_id, "slug": slug or str(row["shelf_id"]), "draft": draft, "version": 1}
    fresh = {"published_version": published, "versions": published, "changed_at": row["created_at"]}
    return Outcome({**row, **made, **fresh}, replayed=outcome.replayed, changed=outcome.changed)


def update_shelf(
    store: Store, cause: Cause, place: tuple[str, int], etag: str, said: Document, *, publish: bool = False
) -> Outcome:
    """Replace the draft of a shelf (``place``: shop, number); what is published stays, unless ``publish`` makes the draft a version.

    Raises Refusal NOT_FOUND, ETAG_MISMATCH, INVALID_ARGUMENT.
    """
    draft, (shop_id, shelf_id) = _clean(said), place

    def replaced(shelf: Document, **more: int) -> Change:
        check_etag("shelf", shelf["version"], etag)
        _check(store, shop_id, "", draft)
        return _changed(shelf, {"draft": draft, **more})

    if publish:
        return _with_version(
            store, cause, place, 0, lambda shelf, number: replaced(shelf, published_version=number), draft
        )

    def decide(shelf: Document) -> Change:
        return replaced(shelf)

    return _change(store, cause, shop_id, shelf_id, decide, draft=draft)


def delete_shelf(store: Store, cause: Cause, shop_id: str, shelf_id: int) -> Outcome:
    """Delete a shelf with its page, its preview links and a publish that waits. Raises Refusal NOT_FOUND."""

    def decide(shelf: Document) -> Change:
        gone = ("shop_id", "draft", "schedule")
        # No slug has a colon, so that the slug is free, and the key still one of a kind.
        freed = {"deleted_at": clock.business(), "slug_key": f"{shop_id}/:{shelf_id}", "published_version": 0}
        return Change(set=freed, unset=gone, due=None, answer={name: shelf.get(name) for name in LEFT})

    return _change(store, cause, shop_id, shelf_id, decide)


def publish_shelf(store: Store, cause: Cause, shop_id: str, shelf_id: int, version: int) -> Outcome:
    """Publish the draft as a new version, or an earlier ``version`` again (roll back). Raises Refusal NOT_FOUND."""
    return _with_version(
        store, cause, (shop_id, shelf_id), version, lambda shelf, number: _changed(shelf, {"published_version": number})
    )


def unpublish_shelf(store: Store, cause: Cause, shop_id: str, shelf_id: int) -> Outcome:
    """Off its public page. Raises Refusal NOT_FOUND."""
    return _change(store, cause, shop_id, shelf_id, lambda shelf: _changed(shelf, {"published_version": 0}))


def schedule_publish(
    store: Store, cause: Cause, shop_id: str, shelf_id: int, version: int, publish_time: datetime | None
) -> Outcome:
    """Publish at ``publish_time`` (business time) what the draft is now, or ``version``; replaces what waited before.

    The version is made now, so that what is published then is what was looked at, and the timer is one conditional write.
    Raises Refusal NOT_FOUND, INVALID_ARGUMENT for a time that is not ahead.
    """
    ahead = policy.load(SERVICE).span("shelf_schedule_ahead", clock.business())
    if publish_time is None:
        raise invalid("publish_time", "say when to publish; publish at once with :publish")
    moment = clock.moment(clock.ms(publish_time))

    def wanted(shelf: Document, number: int) -> Change:
        now = clock.business()
        if not now < moment <= now + ahead:
            raise invalid("publish_time", f"must lie ahead of {now.isoformat()}, by at most {ahead.days} days")
        schedule = {"publish_time": moment, "version": number}
        return _changed(shelf, {"schedule": schedule}, due=moment)

    return _with_version(store, cause, (shop_id, shelf_id), version, wanted)


def cancel_schedule(store: Store, cause: Cause, shop_id: str, shelf_id: int) -> Outcome:
    """Nothing waits any more; the version that was made for it stays. Raises Refusal NOT_FOUND."""

    def decide(shelf: Document) -> Change:
        left = {name: value for name, value in shelf.items() if name != "schedule"}
        answer = _changed(left, {}).answer
        return Change(set={"changed_at": answer["changed_at"]}, unset=("schedule",), due=None, answer=answer)

    return _change(store, cause, shop_id, shelf_id, decide)


def _with_version(
    store: Store,
    cause: Cause,
    place: tuple[str, int],
    version: int,
    wanted: Callable[[Document, int], Change],
    draft: Document | None = None,
) -> Outcome:
    """Change a shelf by what names a version: ``version``, or with 0 a new one made of its draft (or of ``draft``) in the same transaction."""
    (shop_id, shelf_id), said = place, {"draft": draft} if draft else {}

    def attempt() -> Outcome:
        shelf = store.shelves.find_one({"_id": shelf_key(shop_id, shelf_id)})
        if shelf is None:
            raise not_found("shelf", str(shelf_id))
        before = commit.applied(store.shelves, shelf, cause)
        if before is not None:
            return _left(before, shop_id, said)
        if "deleted_at" in shelf:
            raise not_found("shelf", str(shelf_id))
        check_version(shelf, version)
        number = version or shelf["versions"] + 1
        transaction = Transaction(store.client)
        if not version:
            transaction.insert(store.shelf_versions, _version({**shelf, **said}, number))
        change = wanted({**shelf, "versions": max(number, shelf["versions"])}, number)
        transaction.change(store.shelves, shelf, change, cause).commit()
        return _left(Outcome(shelf, change.answer), shop_id, said)

    return commit.settled(f"shelf {shelf_id}", attempt)


def check_version(shelf: Document, version: int) -> None:
    """Raises Refusal NOT_FOUND for a version that the shelf never had; 0 is the draft."""
    if not 0 <= version <= shelf["versions"]:
        raise not_found("version of the shelf", str(version))


def _version(shelf: Document, number: int) -> Document:
    shop_id, shelf_id = shelf["shop_id"], shelf["shelf_id"]
    where = {"_id": version_key(shop_id, shelf_id, number), "shop_id": shop_id, "shelf_id": shelf_id}
    return {**where, "version": number, "content": shelf["draft"], "at": clock.business()}


def _change(
    store: Store, cause: Cause, shop_id: str, shelf_id: int, decide: commit.Decide, **said: Document
) -> Outcome:
    """Change a living shelf. The outcome's document is as this change left it, with what was ``said``."""

    def living(shelf: Document) -> Change | None:
        if "deleted_at" in shelf:
            raise not_found("shelf", str(shelf_id))
        return decide(shelf)

    return _left(commit.change(store.shelves, shelf_key(shop_id, shelf_id), cause, living, kind="shelf"), shop_id, said)


def _left(outcome: Outcome, shop_id: str, said: Document | None = None) -> Outcome:
    left = {**outcome.document, "shop_id": shop_id, **(said or {}), **(outcome.answer or {})}
    return Outcome(left, outcome.answer, replayed=outcome.replayed, changed=outcome.changed)


def _changed(shelf: Document, values: Document, due: datetime | None = None) -> Change:
    """Set ``values`` (and the timer to ``due``). A repetition is told of everything but the draft, which would not fit in the document."""
    now = clock.business()
    after = {**shelf, **values}
    answer = {name: after.get(name) for name in LEFT} | {"version": shelf["version"] + 1, "changed_at": now}
    fields = {**values, "versions": after["versions"], "changed_at": now}
    return Change(set=fields, answer=answer, due=due) if due else Change(set=fields, answer=answer)


def _clean(said: Document) -> Document:
    """The draft as it is kept: texts without what could run, times in the database's milliseconds."""
    modules = []
    for number, module in enumerate(said["modules"]):
        html, end_time = module.get("html", ""), module.get("end_time")
        if html.count("<") > TAGS:
            raise invalid(f"modules[{number}].html", f"at most {TAGS} tags; make the text simpler")
        kept = {**module, "html": nh3.clean(html) if html else ""}
        if end_time is not None:
            kept["end_time"] = clock.moment(clock.ms(end_time))
        modules.append(kept)
    return {"name": said["name"], "banner": said["banner"], "modules": modules}


def _check(store: Store, shop_id: str, slug: str, draft: Document) -> None:
    modules = draft["modules"]
    most = policy.load(SERVICE).value("shelf_limits", clock.business())
    if len(modules) > most["modules"]:
        raise invalid("modules", f"a shelf has between 1 and {most['modules']} modules")
    named = [product_id for module in modules for product_id in module["product_ids"][: most["count"]]]
    groups = shelves.group_ids(modules)[: most["modules"] * shelves.MOST_GROUPS]
    known = Known(store.known_groups(shop_id, groups), store.own_products(shop_id, named))
    shelves.check(draft["name"], slug, draft["banner"], modules, known, most)


def preview_lifetime(asked_s: int) -> timedelta:
    """For how long a preview link works. Raises Refusal INVALID_ARGUMENT."""
    limits = policy.load(SERVICE).value("shelf_preview", clock.business())
    if not 0 <= asked_s <= limits["most_s"]:
        raise invalid("lifetime_s", f"between 1 and {limits['most_s']} seconds; 0 means {limits['usual_s']}")
    return timedelta(seconds=asked_s or limits["usual_s"])
