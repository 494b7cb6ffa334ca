"""Followers come and go, and carry tags. Every call is one transaction over followers and the bitmaps of their shards.

A call repeated under the same cause answers as the first time (``Transaction.answer``). Two calls that touch the same shard meet on
its version, two that touch the same follower on its revision: the later one reads again.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Final

from pyroaring import BitMap

from services.broadcast import model
from services.broadcast.store import Store, bitmaps, follower_id, shard_id, tag_key
from services.broadcast.store.bitmaps import pack, unpack
from services.broadcast.store.rules import rules_at
from services.chassis import clock, commit, ids
from services.chassis.commit import Cause, Outcome, Shortfall, Taken, Transaction
from services.chassis.errors import Refusal, invalid, not_found
from services.chassis.mongo import Document

OPENIDS_A_CALL: Final = 1_000
OPENID: Final = re.compile(r"o[A-Za-z0-9_-]{27}")
"""The shape of every openid (``ids.openid``)."""
SOURCE_CHARACTERS: Final = 64
TRIES: Final = 20
Answer = dict[str, int]
Rewrite = Callable[[Document, BitMap], dict[str, BitMap]]
"""(shard, ordinals in it) → the shard's bitmaps that change, by name."""


# --------------------------------------------------------------------------------------------------------- coming and leaving


def bulk_follow(
    store: Store, cause: Cause, account_id: str, openids: Sequence[str], source: str
) -> tuple[Answer, bool]:
    """Followers arrive: new ones get an ordinal, those that had left come back. Answers ({followed, known, total}, replayed)."""
    wanted = _checked(openids)
    if len(source) > SOURCE_CHARACTERS:
        raise invalid("source", f"must have at most {SOURCE_CHARACTERS} characters")
    return _once(store, cause, lambda: _follow(store, cause, account_id, wanted, source))


def _follow(store: Store, cause: Cause, account_id: str, openids: list[str], source: str) -> Answer:
    known = store.followers_of(account_id, openids)
    new = [openid for openid in openids if openid not in known]
    back = [row for row in known.values() if row["state"] == "left"]
    heads = store.shard_heads(account_id)
    ordinals = _next_ordinals(heads, len(new))
    now = clock.business()
    transaction = Transaction(store.database.client)
    pairs = zip(new, ordinals, strict=True)
    transaction.insert_many(store.followers, [_follower(account_id, openid, n, source, now) for openid, n in pairs])
    _move(store, transaction, account_id, back, {"state": "following", "followed_at": now}, tagged=+1)
    joined = BitMap([*ordinals, *(row["ordinal"] for row in back)])
    _touch_shards(
        store, transaction, account_id, joined, lambda shard, part: {"followers": unpack(shard.get("followers")) | part}
    )
    total = sum(head["count"] for head in heads) + len(new) + len(back)
    answer = {"followed": len(new) + len(back), "known": len(known) - len(back), "total": total}
    transaction.answer(store.database, cause, answer).commit()
    return answer


def bulk_unfollow(
    store: Store, cause: Cause, account_id: str, openids: Sequence[str], *, mute: bool
) -> tuple[Answer, bool]:
    """Followers leave, or (``mute``) stay without broadcasts. Answers ({changed}, replayed)."""
    wanted = _checked(openids)
    return _once(store, cause, lambda: _unfollow(store, cause, account_id, wanted, mute=mute))


def _unfollow(store: Store, cause: Cause, account_id: str, openids: list[str], *, mute: bool) -> Answer:
    known = store.followers_of(account_id, openids).values()
    leaving = [row for row in known if row["state"] == "following" and not (mute and row["muted"])]
    change = {"muted": True} if mute else {"state": "left", "left_at": clock.business()}
    transaction = Transaction(store.database.client)
    _move(store, transaction, account_id, leaving, change, tagged=0 if mute else -1)

    def rewritten(shard: Document, part: BitMap) -> dict[str, BitMap]:
        if mute:
            return {"muted": unpack(shard.get("muted")) | part}
        return {"followers": unpack(shard.get("followers")) - part}

    _touch_shards(store, transaction, account_id, [row["ordinal"] for row in leaving], rewritten)
    answer = {"changed": len(leaving)}
    transaction.answer(store.database, cause, answer).commit()
    return answer


def bulk_unmute(store: Store, cause: Cause, account_id: str, openids: Sequence[str]) -> tuple[Answer, bool]:
    """Muted followers get broadcasts again, also those who left muted and may come back. Answers ({changed}, replayed)."""
    wanted = _checked(openids)
    return _once(store, cause, lambda: _unmute(store, cause, account_id, wanted))


def _unmute(store: Store, cause: Cause, account_id: str, openids: list[str]) -> Answer:
    muted = [row for row in store.followers_of(account_id, openids).values() if row["muted"]]
    transaction = Transaction(store.database.client)
    _move(store, transaction, account_id, muted, {"muted": False}, tagged=0)
    ordinals = [row["ordinal"] for row in muted]
    _touch_shards(
        store, transaction, account_id, ordinals, lambda shard, part: {"muted": unpack(shard.get("muted")) - part}
    )
    answer = {"changed": len(muted)}
    transaction.answer(store.database, cause, answer).commit()
    return answer


def _move(
    store: Store, transaction: Transaction, account_id: str, rows: list[Document], change: Document, *, tagged: int
) -> None:
    """Change known followers as they were read; each of their tags counts ``tagged`` more."""
    for row in rows:
        transaction.update(store.followers, _as_read(row), {"$set": change, "$inc": {"revision": 1}})
    carried = Counter(tag_id for row in rows for tag_id in row["tags"]) if tagged else {}
    for tag_id, count in carried.items():
        transaction.update(store.tags, {"_id": tag_key(account_id, tag_id)}, {"$inc": {"count": tagged * count}})


def _as_read(row: Document) -> Document:
    """The condition that a follower is still as it was read."""
    return {"_id": row["_id"], "revision": row["revision"]}


# ------------------------------------------------------------------------------------------------------------------------ tags


def create_tag(store: Store, cause: Cause, account_id: str, name: str) -> Outcome:
    """A new tag. Raises Refusal INVALID_ARGUMENT, ALREADY_EXISTS (the name is used), CONDITION_UNMET (100 tags are there)."""
    rules = rules_at(clock.business())
    model.check_tag_name(name, rules)
    for _ in range(TRIES):
        before = commit.created(store.tags, cause)
        if before is not None:
            return before
        try:
            return commit.create(store.tags, _tag(store, account_id, name.strip(), rules.tags_per_account), cause)
        except Taken:  # another tag took the place or the name: read again
            continue
    raise Refusal("VERSION_CONFLICT", "too many tags are made at once; try again", retry_after_s=1)


def _tag(store: Store, account_id: str, name: str, most: int) -> Document:
    tags = store.tags_of(account_id)
    if any(tag["name"] == name for tag in tags):
        raise Refusal("ALREADY_EXISTS", f"a tag named {name} exists", info={"field": "name"})
    place = model.free_place([tag["place"] for tag in tags], most)
    tag_id = ids.small_id()
    named = {"account_id": account_id, "tag_id": tag_id, "name": name, "place": place, "count": 0}
    return {"_id": tag_key(account_id, tag_id), **named}


def assign_tag(store: Store, cause: Cause, account_id: str, tag_id: int, openids: Sequence[str]) -> tuple[Answer, bool]:
    """Put a tag on followers. Answers ({assigned}, replayed). Raises Refusal NOT_FOUND, INVALID_ARGUMENT naming openids[i]."""
    wanted = _checked(openids)
    return _once(store, cause, lambda: _assign(store, cause, account_id, tag_id, wanted))


def _assign(store: Store, cause: Cause, account_id: str, tag_id: int, openids: list[str]) -> Answer:
    if store.tag(account_id, tag_id) is None:
        raise not_found("tag", str(tag_id))
    known = store.followers_of(account_id, openids)
    most = rules_at(clock.business()).tags_per_follower
    for i, openid in enumerate(openids):
        row = known.get(openid)
        if row is None or row["state"] != "following":
            raise invalid(f"openids[{i}]", f"{openid} does not follow this account")
        if tag_id not in row["tags"] and len(row["tags"]) >= most:
            raise invalid(f"openids[{i}]", f"{openid} has {most} tags already")
    fresh = [row for row in known.values() if tag_id not in row["tags"]]
    transaction = Transaction(store.database.client)
    for row in fresh:
        transaction.update(store.followers, _as_read(row), {"$push": {"tags": tag_id}, "$inc": {"revision": 1}})
    key = tag_key(account_id, tag_id)
    if fresh:
        transaction.update(store.tags, {"_id": key}, {"$inc": {"count": len(fresh)}})
    _touch_members(store, transaction, key, [row["ordinal"] for row in fresh])
    answer = {"assigned": len(fresh)}
    transaction.answer(store.database, cause, answer).commit()
    return answer


# -------------------------------------------------------------------------------------------------------------------- together


def _once(store: Store, cause: Cause, attempt: Callable[[], Answer]) -> tuple[Answer, bool]:
    """Run a transaction's read-decide-write until it meets nobody, at most ``TRIES`` times; a repetition gets the first answer."""
    for _ in range(TRIES):
        before = commit.answered(store.database, cause)
        if before is not None:
            return before, True
        try:
            return attempt(), False
        except (Taken, Shortfall):  # another call was faster: read again
            continue
    raise Refusal("VERSION_CONFLICT", "too many calls change these followers at once; try again", retry_after_s=1)


def _checked(openids: Sequence[str]) -> list[str]:
    """The openids without repetitions, in order. Raises Refusal INVALID_ARGUMENT."""
    if not 0 < len(openids) <= OPENIDS_A_CALL:
        raise invalid("openids", f"send 1 to {OPENIDS_A_CALL} openids a call")
    for i, openid in enumerate(openids):
        if not OPENID.fullmatch(openid):
            raise invalid(f"openids[{i}]", "must be an openid: 28 letters, digits, - and _, the first an o")
    return list(dict.fromkeys(openids))


def _follower(account_id: str, openid: str, ordinal: int, source: str, now: datetime) -> Document:
    return {
        "_id": follower_id(account_id, openid),
        "account_id": account_id,
        "openid": openid,
        "ordinal": ordinal,
        "state": "following",
        "muted": False,
        "tags": [],
        "source": source,
        "followed_at": now,
        "revision": 1,
    }


def _next_ordinals(heads: list[Document], count: int) -> list[int]:
    first = bitmaps.first_of(heads[-1]["number"]) + heads[-1]["next"] if heads else 0
    return list(range(first, first + count))


def _touch_shards(
    store: Store, transaction: Transaction, account_id: str, ordinals: Iterable[int], rewrite: Rewrite
) -> None:
    """Rewrite the bitmaps of the shards that ``ordinals`` lie in, each under its version; new shards are inserted."""
    parts = bitmaps.by_shard(ordinals)
    known = store.some_shards(account_id, parts)
    for number, part in parts.items():
        shard = known.get(number) or {"number": number, "next": 0, "version": 0, "count": 0}
        changed = rewrite(shard, part)
        after = int(part.max()) - bitmaps.first_of(number) + 1
        fields: Document = {
            **{name: pack(bits) for name, bits in changed.items()},
            "count": len(changed["followers"]) if "followers" in changed else shard["count"],
            "next": max(shard["next"], after),
            "version": shard["version"] + 1,
        }
        if number in known:
            transaction.update(store.shards, {"_id": shard["_id"], "version": shard["version"]}, {"$set": fields})
        else:
            row = {"_id": shard_id(account_id, number), "account_id": account_id, "number": number, **fields}
            transaction.insert(store.shards, row)


def _touch_members(store: Store, transaction: Transaction, key: str, ordinals: Iterable[int]) -> None:
    """Add ordinals to a tag's shards, each under its version."""
    known = store.members(key)
    for number, part in bitmaps.by_shard(ordinals).items():
        row = known.get(number)
        if row is None:
            fresh = {"_id": f"{key}:{number}", "tag": key, "number": number, "version": 1, "members": pack(part)}
            transaction.insert(store.tag_shards, fresh)
        else:
            fields = {"members": pack(unpack(row["members"]) | part), "version": row["version"] + 1}
            transaction.update(store.tag_shards, {"_id": row["_id"], "version": row["version"]}, {"$set": fields})
