"""群发: whom a broadcast reaches, checked over days and months against a follower-by-follower count."""

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from pyroaring import BitMap

from services.broadcast import model
from services.broadcast.model import Usage
from services.broadcast.store.rules import rules_at
from services.chassis import calendar
from services.chassis.errors import Refusal
from tests.examples import examples

NOW = datetime(2026, 1, 5, 2, tzinfo=UTC)
RULES = rules_at(NOW)
ORDINALS = st.sets(st.integers(0, 60), max_size=30)


@given(
    followers=ORDINALS,
    muted=ORDINALS,
    members=st.none() | ORDINALS,
    cap=st.none() | st.integers(1, 4),
    received=st.dictionaries(st.integers(1, 4), ORDINALS),
)
def test_an_audience_falls_into_recipients_capped_and_muted(followers, muted, members, cap, received):
    part = model.admit(followers, muted, received, members, cap)
    audience = followers if members is None else followers & members
    assert part.recipients | part.capped | part.muted == audience
    assert len(part.recipients) + len(part.capped) + len(part.muted) == len(audience) == part.total
    assert part.muted == audience & muted
    assert part.capped == (set() if cap is None else (audience - muted) & received.get(cap, set()))


@given(
    followers=ORDINALS,
    muted=ORDINALS,
    members=st.none() | ORDINALS,
    cap=st.none() | st.integers(1, 4),
    received=st.dictionaries(st.integers(1, 4), ORDINALS),
)
def test_bitmaps_count_as_sets_do(followers, muted, members, cap, received):
    bitmaps = {k: BitMap(some) for k, some in received.items()}
    tagged = None if members is None else BitMap(members)
    part = model.admit(BitMap(followers), BitMap(muted), bitmaps, tagged, cap)
    plain = model.admit(followers, muted, received, members, cap)
    assert [set(part.recipients), set(part.capped), set(part.muted)] == [plain.recipients, plain.capped, plain.muted]
    assert {k: set(some) for k, some in part.received.items()} == plain.received


class Account(RuleBasedStateMachine):
    """One account over days and months: followers come, leave, mute, unmute and are tagged; broadcasts are admitted or refused."""

    @initialize(kind=st.sampled_from(["service", "subscription", "enterprise"]), start=st.integers(0, 50))
    def begin(self, kind, start):
        self.account = {"kind": kind, "verified": True, "warmed_up": True}
        self.now = NOW + timedelta(hours=7 * start)
        self.followers, self.muted, self.tagged = set(range(5)), set(), set()
        self.received: dict[str, dict[int, set[int]]] = defaultdict(dict)
        self.bitmaps: dict[str, dict[int, BitMap]] = defaultdict(dict)
        self.quota: dict[str, dict] = {}
        # The other book: one line a broadcast and a line a message, counted only by the assertions.
        self.sent: list[tuple[str, str, bool]] = []
        self.got: Counter[tuple[str, int]] = Counter()

    @rule(who=ORDINALS)
    def follow(self, who):
        self.followers |= who

    @rule(who=ORDINALS)
    def leave(self, who):
        self.followers -= who

    @rule(who=ORDINALS)
    def mute(self, who):
        self.muted |= who

    @rule(who=ORDINALS)
    def unmute(self, who):
        self.muted -= who

    @rule(who=ORDINALS)
    def tag(self, who):
        self.tagged |= who & self.followers

    @rule(hours=st.sampled_from([1, 6, 24, 24, 24, 24 * 9]))
    def wait(self, hours):
        self.now += timedelta(hours=hours)

    @rule(to_all=st.booleans())
    def broadcast(self, to_all):
        month, day = calendar.month(self.now), calendar.day(self.now)
        row = self.quota.get(month)
        used = model.usage(row, self.now)
        left_today, left_this_month = model.left(self.account, used, RULES)
        try:
            model.check_quota(self.account, used, RULES, self.now, to_all=to_all)
        except Refusal as refusal:
            self._check_refusal(refusal, left_today, left_this_month, to_all=to_all)
            return
        assert not (model.counts_as_send(self.account, to_all=to_all) and left_today == 0)
        self._charge(month, day, row, to_all=to_all)

    def _check_refusal(self, refusal, left_today, left_this_month, *, to_all):
        reset = datetime.fromisoformat(refusal.info["reset_at"])
        assert refusal.reason in ("BROADCAST_QUOTA_EXHAUSTED", "API_MINUTE_QUOTA", "API_DAILY_QUOTA")
        assert reset > self.now
        assert reset.utcoffset() == timedelta(hours=8)
        assert (reset - self.now).total_seconds() - 1 <= refusal.retry_after_s <= 31 * 86_400
        if refusal.reason == "BROADCAST_QUOTA_EXHAUSTED":
            assert 0 in (left_today, left_this_month)
            assert self.account["kind"] == "subscription" or to_all, "tag sends of a service account are not refused"

    def _charge(self, month, day, row, *, to_all):
        row = self.quota.setdefault(month, {"days": {}, "history": 0})
        today = row["days"].setdefault(day, {"sends": 0, "calls": 0})
        minute = model.minute_key(self.now)
        before = row.get("minute", {}) if row.get("minute", {}).get("key") == minute else {}
        row["minute"] = {"key": minute, "calls": before.get("calls", 0) + 1}
        today["calls"] += 1
        today["sends"] += model.counts_as_send(self.account, to_all=to_all)
        row["history"] += to_all and self.account["kind"] == "service"
        cap = model.follower_cap(self.account, RULES)
        members = None if to_all else self.tagged
        part = model.admit(self.followers, self.muted, self.received[month], members, cap)
        self.received[month] = part.received
        bits = None if members is None else BitMap(members)
        rolled = model.admit(BitMap(self.followers), BitMap(self.muted), self.bitmaps[month], bits, cap)
        self.bitmaps[month] = rolled.received
        assert set(rolled.recipients) == part.recipients
        audience = self.followers if to_all else self.followers & self.tagged
        assert part.recipients | part.capped | part.muted == audience
        if self.account["kind"] == "service":
            assert all(self.got[month, one] == 4 for one in part.capped), "only who has four is filtered"
        self.got.update((month, one) for one in part.recipients)
        self.sent.append((month, day, to_all))

    @invariant()
    def nobody_receives_more_than_four_a_month_from_a_service_account(self):
        if self.account["kind"] == "service":
            assert max(self.got.values(), default=0) <= 4

    @invariant()
    def the_quotas_hold(self):
        to_all = [(month, day) for month, day, everybody in self.sent if everybody]
        if self.account["kind"] == "service":
            assert max(Counter(to_all).values(), default=0) <= 1
            assert max(Counter(month for month, _ in to_all).values(), default=0) <= 4
        if self.account["kind"] == "subscription":
            assert max(Counter(day for _, day, _ in self.sent).values(), default=0) <= 1

    @invariant()
    def what_is_charged_is_what_was_received(self):
        if self.account["kind"] != "service":
            return
        for month, levels in self.received.items():
            for k in range(1, 5):
                assert levels.get(k, set()) == {
                    one for (at, one), times in self.got.items() if at == month and times >= k
                }


TestAccount = Account.TestCase
TestAccount.settings = settings(max_examples=examples(150), stateful_step_count=40, deadline=None)


@pytest.mark.parametrize(
    ("used", "reason", "scope", "reset"),
    [
        (Usage(sends_today=1, history_month=1), "BROADCAST_QUOTA_EXHAUSTED", "day", "2026-01-06T00:00:00+08:00"),
        (Usage(history_month=4), "BROADCAST_QUOTA_EXHAUSTED", "month", "2026-02-01T00:00:00+08:00"),
        (
            Usage(sends_today=1, history_month=4),
            "BROADCAST_QUOTA_EXHAUSTED",
            "month",
            "2026-02-01T00:00:00+08:00",
        ),
        (Usage(calls_today=100), "API_DAILY_QUOTA", "day", "2026-01-06T00:00:00+08:00"),
        (Usage(calls_this_minute=60, calls_today=100), "API_MINUTE_QUOTA", "minute", "2026-01-05T10:01:00+08:00"),
    ],
)
def test_a_refusal_says_when_the_quota_resets(used, reason, scope, reset):
    with pytest.raises(Refusal) as refused:
        model.check_quota({"kind": "service"}, used, RULES, NOW, to_all=True)
    assert (refused.value.reason, refused.value.info) == (reason, {"scope": scope, "reset_at": reset})
    seconds = (datetime.fromisoformat(reset) - NOW).total_seconds()
    assert refused.value.retry_after_s == seconds


def test_a_subscription_account_sends_once_a_day_to_all_or_a_tag():
    for to_all in (True, False):
        with pytest.raises(Refusal, match="BROADCAST_QUOTA_EXHAUSTED"):
            model.check_quota({"kind": "subscription"}, Usage(sends_today=1), RULES, NOW, to_all=to_all)
    assert model.left({"kind": "subscription"}, Usage(sends_today=1), RULES) == (0, -1)


def test_unverified_accounts_may_not_broadcast():
    with pytest.raises(Refusal, match="API_UNAUTHORIZED"):
        model.check_may_broadcast({"verified": False})


@pytest.mark.parametrize(("earlier", "limit"), [(0, 200), (1, 1000), (2, 5000)])
def test_a_new_account_warms_up(earlier, limit):
    model.check_warm_up({}, limit, earlier, RULES)
    with pytest.raises(Refusal, match="CONDITION_UNMET") as refused:
        model.check_warm_up({}, limit + 1, earlier, RULES)
    assert refused.value.info == {"condition": "warm_up", "limit": str(limit)}
    model.check_warm_up({"warmed_up": True}, limit + 1, earlier, RULES)
    model.check_warm_up({}, 10**7, 3, RULES)


GOOD = {"to_all": True, "tag_id": 0, "text": "新品到店", "clientmsgid": ""}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"tag_id": 5}, "to_all"),
        ({"to_all": False}, "to_all"),
        ({"text": " "}, "content.text"),
        ({"text": "新" * 601}, "content.text"),
        ({"clientmsgid": "号" * 22}, "clientmsgid"),
    ],
)
def test_a_wrong_request_names_its_field(change, field):
    model.check_request(RULES, **GOOD)
    model.check_request(RULES, **{**GOOD, "text": "新" * 600, "clientmsgid": "x" * 64})
    with pytest.raises(Refusal) as refused:
        model.check_request(RULES, **{**GOOD, **change})
    assert [found.field for found in refused.value.violations] == [field]


@pytest.mark.parametrize("name", ["", "  ", "新" * 11, "a\x00b", "a\nb"])
def test_a_tag_name_has_one_to_thirty_bytes(name):
    model.check_tag_name("新" * 10, RULES)
    with pytest.raises(Refusal, match="name"):
        model.check_tag_name(name, RULES)


def test_a_tag_takes_the_first_free_place_and_the_hundredth_is_the_last():
    assert model.free_place([], 100) == 0
    assert model.free_place([0, 2], 100) == 1
    with pytest.raises(Refusal, match="CONDITION_UNMET"):
        model.free_place(range(100), 100)
