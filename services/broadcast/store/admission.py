"""What a decision on a broadcast needs, read at one moment, and whom it would reach shard by shard."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pyroaring import BitMap

from services.broadcast import model
from services.broadcast.model import Admitted, Rules, Usage
from services.broadcast.store import Store, tag_key
from services.broadcast.store.bitmaps import unpack
from services.broadcast.store.rules import rules_at
from services.chassis import calendar, clock
from services.chassis.errors import Refusal, not_found
from services.chassis.mongo import Document


@dataclass(slots=True)
class Admission:
    """The account, its quota row of this month and its shards as they were read at ``now``; ``parts``: what ``judge`` decided."""

    account: Document
    quota: Document | None
    shards: list[Document]
    rules: Rules
    now: datetime
    parts: dict[int, Admitted[BitMap]] = field(default_factory=dict)

    @property
    def month(self) -> str:
        """The CST month that is charged."""
        return calendar.month(self.now)

    @property
    def used(self) -> Usage:
        """What the account has used of its quotas."""
        return model.usage(self.quota, self.now)

    @property
    def total(self) -> int:
        """The audience before filtering."""
        return sum(part.total for part in self.parts.values())

    def count(self, name: str) -> int:
        """How many recipients, capped or muted over all shards."""
        return sum(len(getattr(part, name)) for part in self.parts.values())


def read(store: Store, account_id: str) -> Admission:
    """Everything that a decision on a broadcast needs. Raises Refusal UNAVAILABLE while the account has not reached us."""
    account = store.accounts.find_one({"_id": account_id})
    if account is None:
        raise Refusal("UNAVAILABLE", "this account is not known here yet; try again in a second", retry_after_s=1)
    now = clock.business()
    quota = store.quota(account_id, calendar.month(now))
    return Admission(account, quota, store.shards_of(account_id), rules_at(now), now)


def judge(store: Store, admission: Admission, tag_id: int) -> None:
    """Decide shard by shard whom a broadcast reaches: all (``tag_id`` 0) or a tag. Raises Refusal NOT_FOUND for an unknown tag."""
    members: dict[int, BitMap] | None = None
    if tag_id:
        account_id = admission.account["_id"]
        if store.tag(account_id, tag_id) is None:
            raise not_found("tag", str(tag_id))
        rows = store.members(tag_key(account_id, tag_id))
        members = {number: unpack(row["members"]) for number, row in rows.items()}
    cap = model.follower_cap(admission.account, admission.rules)
    for shard in admission.shards:
        tagged = None if members is None else members.get(shard["number"], BitMap())
        followers, muted = unpack(shard.get("followers")), unpack(shard.get("muted"))
        before = received(shard, admission.month)
        admission.parts[shard["number"]] = model.admit(followers, muted, before, tagged, cap)


def received(shard: Mapping[str, Any], month: str) -> dict[int, BitMap]:
    """k → who has received at least k broadcasts in ``month``."""
    return {int(k): unpack(bits) for k, bits in shard.get("received", {}).get(month, {}).items()}
