"""Followers come and go, and carry tags. Every call is one transaction over followers and the bitmaps of their shards.

A call repeated under the same cause answers as the first time (``Transaction.answer``). Two calls that touch the same shard meet on
its version: the later one reads again.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Final

from pyroaring import BitMap

from services.broadcast import model
from services.broadcast.store import SHARD_BITS, SHARD_SIZE, Store, follower_id, pack, unpack
from services.chassis import clock, commit, ids
from services.chassis.commit import Cause, Outcome, Shortfall, Taken, Transaction
from services.chassis.errors import Refusal, invalid, not_found
from services.chassis.mongo import Document

OPENIDS_A_CALL: Final = 1_000
TRIES: Final = 20


def bulk_follow(store: Store, cause: Cause, account_id: str, openids: Sequence[str], source: str) -> tuple[Any, bool]:
    """Followers arrive: new ones get an ordinal, those that had left come back. Answers ({followed, known, total}, replayed)."""
    wanted = _checked(openids)
    return _once(store, cause, lambda: _follow(store, cause, account_id, wanted, source))


def _follow(store: Store, cause: Cause, account_id: str, openids: list[str], source: str) -> Any:
    known = store.followers_of(account_id, openids)
    new = [openid for openid in openids if openid not in known]
    back = [row for row in known.values() if row["state"] == "left"]
    heads = store.shard_heads(account_id)
    ordinals = _next_ordinals(heads, len(new))
    now = clock.business()
    transaction = Transaction(store.database.client)
    for row in back:
        returned = {"$set": {"state": "following", "followed_at": now}}
        transaction.update(store.followers, {"_id": row["_id"], "state": "left"}, returned)
    if new:
        pairs = zip(new, ordinals, strict=True)
        transaction.insert(store.followers, *[_follower(account_id, openid, n, source, now) for openid, n in pairs])
    joined = BitMap([*ordinals, *(row["ordinal"] for row in back)])
    _touch_shards(
        store,
        transaction,
        account_id,
        heads,
        joined,
        lambda shard, part: {"followers": unpack(shard.get("followers")) | part},
    )
    total = sum(head.get("count", 0) for head in heads) + len(new) + len(back)
    answer = {"followed": len(new) + len(back), "known": len(known) - len(back), "total": total}
    transaction.answer(store.database, cause, answer).commit()
    return answer


def bulk_unfollow(
    store: Store, cause: Cause, account_id: str, openids: Sequence[str], *, mute: bool
) -> tuple[Any, bool]:
    """Followers leave, or (``mute``) stay without broadcasts. Answers ({changed}, replayed)."""
    wanted = _checked(openids)
    return _once(store, cause, lambda: _unfollow(store, cause, account_id, wanted, mute=mute))


def _unfollow(store: Store, cause: Cause, account_id: str, openids: list[str], *, mute: bool) -> Any:
    known = store.followers_of(account_id, openids).values()
    leaving = [row for row in known if row["state"] == "following" and not (mute and row["muted"])]
    change = {"muted": True} if mute else {"state": "left", "left_at": clock.business()}
    guard = {"muted": False} if mute else {"state": "following"}
    transaction = Transaction(store.database.client)
    for row in leaving:
        transaction.update(store.followers, {"_id": row["_id"], **guard}, {"$set": change})

    def rewritten(shard: Document, part: BitMap) -> dict[str, BitMap]:
        if mute:
            return {"muted": unpack(shard.get("muted")) | part}
        return {"followers": unpack(shard.get("followers")) - part}

    gone = BitMap(row["ordinal"] for row in leaving)
    _touch_shards(store, transaction, account_id, store.shard_heads(account_id), gone, rewritten)
    answer = {"changed": len(leaving)}
    transaction.answer(store.database, cause, answer).commit()
    return answer


def create_tag(store: Store, cause: Cause, account_id: str, name: str) -> Outcome:
    """A new tag. Raises Refusal INVALID_ARGUMENT, ALREADY_EXISTS (the name is used), CONDITION_UNMET (100 tags are there)."""
    model.check_tag_name(name)
    before = commit.created(store.tags, cause)
    if before is not None:
        return before
    if store.tags.count_documents({"account_id": account_id}, limit=model.TAGS_PER_ACCOUNT) >= model.TAGS_PER_ACCOUNT:
        raise Refusal(
            "CONDITION_UNMET", f"an account has at most {model.TAGS_PER_ACCOUNT} tags", info={"condition": "tags"}
        )
    tag_id = ids.small_id()
    tag = {
        "_id": tag_key(account_id, tag_id),
        "account_id": account_id,
        "tag_id": tag_id,
        "name": name.strip(),
        "count": 0,
    }
    try:
        return commit.create(store.tags, tag, cause)
    except Taken as taken:
        raise Refusal("ALREADY_EXISTS", f"a tag named {name.strip()} exists", info={"field": "name"}) from taken


def assign_tag(store: Store, cause: Cause, account_id: str, tag_id: int, openids: Sequence[str]) -> tuple[Any, bool]:
    """Put a tag on followers. Answers ({assigned}, replayed). Raises Refusal NOT_FOUND, INVALID_ARGUMENT naming openids[i]."""
    wanted = _checked(openids)
    return _once(store, cause, lambda: _assign(store, cause, account_id, tag_id, wanted))


def _assign(store: Store, cause: Cause, account_id: str, tag_id: int, openids: list[str]) -> Any:
    key = tag_key(account_id, tag_id)
    if store.tags.find_one({"_id": key}) is None:
        raise not_found("tag", str(tag_id))
    known = store.followers_of(account_id, openids)
    for i, openid in enumerate(openids):
        row = known.get(openid)
        if row is None or row["state"] != "following":
            raise invalid(f"openids[{i}]", f"{openid} does not follow this account")
        if tag_id not in row["tags"] and len(row["tags"]) >= model.TAGS_PER_FOLLOWER:
            raise invalid(f"openids[{i}]", f"{openid} has {model.TAGS_PER_FOLLOWER} tags already")
    fresh = [row for row in known.values() if tag_id not in row["tags"]]
    transaction = Transaction(store.database.client)
    for row in fresh:
        condition = {"_id": row["_id"], "tags": {"$ne": tag_id}}
        transaction.update(store.followers, condition, {"$push": {"tags": tag_id}})
    if fresh:
        transaction.update(store.tags, {"_id": key}, {"$inc": {"count": len(fresh)}})
    _touch_members(store, transaction, key, BitMap(row["ordinal"] for row in fresh))
    answer = {"assigned": len(fresh)}
    transaction.answer(store.database, cause, answer).commit()
    return answer


def tag_key(account_id: str, tag_id: int) -> str:
    """The id of a tag's document."""
    return f"{account_id}:{tag_id}"


def _once(store: Store, cause: Cause, attempt: Callable[[], Any]) -> tuple[Any, bool]:
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
    if not 0 < len(openids) <= OPENIDS_A_CALL:
        raise invalid("openids", f"send 1 to {OPENIDS_A_CALL} openids a call")
    for i, openid in enumerate(openids):
        if not 0 < len(openid) <= 64 or "/" in openid:
            raise invalid(f"openids[{i}]", "must be an openid of 1 to 64 characters")
    return list(dict.fromkeys(openids))


def _follower(account_id: str, openid: str, ordinal: int, source: str, now: Any) -> Document:
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
    }


def _next_ordinals(heads: list[Document], count: int) -> list[int]:
    last = heads[-1] if heads else {"number": 0, "next": 0}
    first = (last["number"] << SHARD_BITS) + last["next"]
    return list(range(first, first + count))


def _touch_shards(
    store: Store,
    transaction: Transaction,
    account_id: str,
    heads: list[Document],
    ordinals: BitMap,
    rewrite: Callable[[Document, BitMap], dict[str, BitMap]],
) -> None:
    """Rewrite the bitmaps of the shards that ``ordinals`` lie in, each under its version; new shards are inserted."""
    parts = by_shard(ordinals)
    known = {head["number"]: head for head in heads}
    full = store.some_shards(known[number]["_id"] for number in parts if number in known)
    for number, part in parts.items():
        shard = full.get(number) or {"number": number, "next": 0, "version": 0}
        bitmaps = rewrite(shard, part)
        fields: Document = {name: pack(bits) for name, bits in bitmaps.items()}
        if "followers" in bitmaps:
            fields["count"] = len(bitmaps["followers"])
        fields["next"] = max(shard["next"], int(part.max()) % SHARD_SIZE + 1)
        fields["version"] = shard["version"] + 1
        if number in full:
            transaction.update(store.shards, {"_id": shard["_id"], "version": shard["version"]}, {"$set": fields})
        else:
            row = {"_id": f"{account_id}:{number}", "account_id": account_id, "number": number, **fields}
            transaction.insert(store.shards, row)


def _touch_members(store: Store, transaction: Transaction, key: str, ordinals: BitMap) -> None:
    known = store.members(key)
    for number, part in by_shard(ordinals).items():
        row = known.get(number)
        if row is None:
            fresh = {"_id": f"{key}:{number}", "tag": key, "number": number, "version": 1, "members": pack(part)}
            transaction.insert(store.tag_shards, fresh)
        else:
            fields = {"members": pack(unpack(row["members"]) | part), "version": row["version"] + 1}
            transaction.update(store.tag_shards, {"_id": row["_id"], "version": row["version"]}, {"$set": fields})


def by_shard(ordinals: BitMap) -> dict[int, BitMap]:
    """Ordinals by the number of the shard they lie in."""
    parts: dict[int, list[int]] = defaultdict(list)
    for ordinal in ordinals:
        parts[ordinal >> SHARD_BITS].append(ordinal)
    return {number: BitMap(part) for number, part in sorted(parts.items())}
