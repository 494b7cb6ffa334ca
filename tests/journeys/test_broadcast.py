"""群发 through HTTP on the whole stack: a month of a service account, a day of a subscription account, and what is refused."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest

from services.chassis.calendar import CST, next_day, next_month
from services.chassis.ids import new_id
from services.cli import world
from services.cli.clocks import advance
from services.cli.demo.trade import Goods, open_payment, pay, place
from tests.backends.processes import wait_until
from tests.journeys.conftest import Shop

MORNING = timedelta(hours=10)


def some_openids(count: int) -> list[str]:
    return ["o" + new_id("f")[2:].ljust(27, "x") for _ in range(count)]


def now(api) -> datetime:
    return datetime.fromisoformat(api.get("/v1/sandbox/clock")["now"])


def follow(api, who: list[str]) -> None:
    for first in range(0, len(who), 1000):
        part = who[first : first + 1000]
        assert api.post("/v1/followers:bulkFollow", {"openids": part, "source": "qr:shop"})["followed"] == len(part)


def to_all(text: str = "新品到店", **more) -> dict:
    return {"to_all": True, "content": {"text": text}, **more}


def sent(api, body: dict) -> dict:
    """Send, wait until it is delivered, answer the broadcast."""
    job_id = api.post("/v1/broadcasts", body)["broadcast"]["job_id"]
    return until_sent(api, job_id)


def until_sent(api, job_id: str) -> dict:
    wait_until(lambda: api.get(f"/v1/broadcasts/{job_id}")["broadcast"]["state"] == "sent", f"{job_id} to be sent")
    return api.get(f"/v1/broadcasts/{job_id}")["broadcast"]


def counts(job: dict) -> list[int]:
    return [job[f"{name}_count"] for name in ("total", "filter", "sent", "error")]


def listed(api, job_id: str, outcome: str, size: int = 200) -> list[str]:
    found, token = [], ""
    while True:
        params = {"outcome": outcome, "page_size": size, "page_token": token}
        page = api.get(f"/v1/broadcasts/{job_id}/deliveries", **params)
        found += page["openids"]
        token = page["next_page_token"]
        if not token:
            assert page["total"] == len(found)
            return found


def check_exhausted(answer, resets: datetime) -> None:
    assert (answer.status, answer.reason, answer.body["errcode"]) == (429, "BROADCAST_QUOTA_EXHAUSTED", 45028)
    assert datetime.fromisoformat(answer.body["reset_at"]) == resets
    assert int(answer.headers["retry-after"]) > 0


@pytest.fixture
def account(admin):
    """``account(kind=, verified=)``: a new official account that broadcast has heard of."""

    def make(**fields) -> Shop:
        merchant = world.official_account(admin, "茶讯", **fields)
        api = admin.as_caller(merchant.token)
        wait_until(lambda: api.ask("GET", "/v1/broadcast-quota", retry=False).fine, "broadcast to know the account")
        return Shop(api, merchant)

    return make


@pytest.mark.timeout(600)
def test_a_month_of_a_service_account_with_ten_thousand_followers(admin, account):
    advance(admin, until=next_month(now(admin)) + MORNING)
    api, old, new = account().api, some_openids(10_000), some_openids(500)
    began = time.monotonic()
    follow(api, old)
    print(f"10,000 followers in {time.monotonic() - began:.1f} s")
    for day in range(4):
        if day == 3:
            follow(api, new)
        began = time.monotonic()
        job = sent(api, to_all(f"第 {day + 1} 讯"))
        print(f"a broadcast to {job['total_count']:,} in {time.monotonic() - began:.1f} s")
        everybody = 10_500 if day == 3 else 10_000
        assert counts(job) == [everybody, everybody, everybody, 0]
        today = now(admin)
        resets = next_month(today) if day == 3 else next_day(today)
        check_exhausted(api.ask("POST", "/v1/broadcasts", to_all()), resets)
        quota = api.get("/v1/broadcast-quota")
        assert (quota["day_left"], quota["month_left"]) == (0, 3 - day)
        advance(admin, until=next_day(today) + MORNING)
    check_exhausted(api.ask("POST", "/v1/broadcasts", to_all()), next_month(now(admin)))

    tag_id = api.post("/v1/tags", {"name": "新老客"})["tag"]["tag_id"]
    for some in (old[:500], new):
        assert api.post(f"/v1/tags/{tag_id}:assign", {"openids": some})["assigned"] == 500
    forecast = api.get("/v1/broadcast-quota", tag_id=tag_id)
    assert [forecast[name] for name in ("followers", "capped", "muted", "reach")] == [1000, 500, 0, 500]
    job = sent(api, {"tag_id": tag_id, "content": {"text": "新客礼"}})
    assert (counts(job), job["skipped_monthly_cap"]) == ([1000, 500, 500, 0], 500)
    assert set(listed(api, job["job_id"], "monthly_cap")) == set(old[:500])
    assert set(listed(api, job["job_id"], "sent", size=77)) == set(new)

    advance(admin, until=next_month(now(admin)))
    assert now(admin).astimezone(CST).day == 1
    assert counts(sent(api, to_all("新月"))) == [10_500, 10_500, 10_500, 0]


def test_a_subscription_account_has_one_push_a_day_also_when_many_come_at_once(admin, account):
    if now(admin).astimezone(CST).hour >= 22:
        advance(admin, until=next_day(now(admin)) + MORNING)
    api = account(kind="subscription").api
    follow(api, some_openids(20))
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: api.ask("POST", "/v1/broadcasts", to_all("每日")), range(4)))
    assert sorted(answer.status for answer in answers) == [202, 429, 429, 429]
    for answer in answers:
        if not answer.fine:
            check_exhausted(answer, next_day(now(admin)))
    assert counts(until_sent(api, next(a.body["broadcast"]["job_id"] for a in answers if a.fine))) == [20, 20, 20, 0]


def test_an_inbox_holds_broadcasts_and_news_of_orders(shop, new_buyer):
    buyer = new_buyer("小茶", shop.account_id)
    openid = buyer.openids[shop.account_id]
    wait_until(lambda: shop.api.ask("GET", "/v1/broadcast-quota").fine, "broadcast to know the account")
    follow(shop.api, [openid, *some_openids(3)])
    sent(shop.api, to_all("春茶上市"))
    checkout = place(buyer.api, [Goods(shop.api, "inbox-tea", 1999, 5).line()])
    pay(buyer.api, open_payment(buyer.api, checkout["checkout_id"]))
    order_id = checkout["orders"][0]["order_id"]

    def messages() -> list[dict]:
        return buyer.api.get("/v1/inbox", account_id=shop.account_id)["messages"]

    wait_until(lambda: len(messages()) == 2, "the payment's message")
    shop.api.post(f"/v1/orders/{order_id}:ship", {"need_delivery": False})
    wait_until(lambda: len(messages()) == 3, "the shipment's message")
    shipped, paid, broadcast = messages()
    assert (broadcast["kind"], broadcast["text"]) == ("broadcast", "春茶上市")
    assert (paid["kind"], paid["reference"]) == ("template", order_id)
    assert "19.99 CNY" in paid["text"]
    assert shipped["text"] == "订单已发货:无需物流"
    stranger = new_buyer("别人", shop.account_id)
    assert stranger.api.get("/v1/inbox", account_id=shop.account_id)["messages"] == []
    spying = stranger.api.ask("GET", "/v1/inbox", params={"account_id": shop.account_id, "openid": openid})
    assert (spying.status, spying.reason) == (403, "PERMISSION_DENIED")


def test_what_is_refused_says_why(account, new_buyer):
    mine, other = account(), account()
    follow(mine.api, some_openids(3))
    job = sent(mine.api, to_all(clientmsgid="spring"))
    again = mine.api.ask("POST", "/v1/broadcasts", to_all(clientmsgid="spring"))
    assert (again.status, again.reason, again.body["errcode"]) == (409, "CLIENT_MSG_ID_EXISTS", 45065)
    assert again.body["job_id"] == job["job_id"]
    assert other.api.ask("GET", f"/v1/broadcasts/{job['job_id']}").status == 404
    assert other.api.ask("GET", f"/v1/broadcasts/{job['job_id']}/deliveries", params={"outcome": "sent"}).status == 404
    assert other.api.get("/v1/broadcasts")["broadcasts"] == []
    assert mine.api.ask("POST", "/v1/broadcasts", to_all(account_id=other.account_id)).status == 403
    assert new_buyer().api.ask("POST", "/v1/broadcasts", to_all()).status == 403
    unverified = account(verified=False).api.ask("POST", "/v1/broadcasts", to_all())
    assert (unverified.status, unverified.reason, unverified.body["errcode"]) == (403, "API_UNAUTHORIZED", 48001)
    unknown = mine.api.ask("POST", "/v1/broadcasts", {"tag_id": 77, "content": {"text": "x"}})
    assert (unknown.status, unknown.reason) == (404, "NOT_FOUND")
    for body, field in (
        ({"content": {"text": "x"}}, "to_all"),
        (to_all(""), "content.text"),
        (to_all("长" * 601), "content.text"),
        (to_all(clientmsgid="x" * 65), "clientmsgid"),
        (to_all(colour="red"), "colour"),
    ):
        answer = mine.api.ask("POST", "/v1/broadcasts", body)
        assert (answer.status, [error["field"] for error in answer.body["errors"]]) == (400, [field])
    for path, params, field in (
        (f"/v1/broadcasts/{job['job_id']}/deliveries", {}, "outcome"),
        ("/v1/broadcasts", {"page_token": "nonsense"}, "page_token"),
        ("/v1/followers", {"page_size": -1}, "page_size"),
    ):
        answer = mine.api.ask("GET", path, params=params)
        assert (answer.status, [error["field"] for error in answer.body["errors"]]) == (400, [field])


def test_nobody_to_reach_is_sent_at_once_and_the_same_key_answers_the_same(account):
    api = account().api
    first = api.ask("POST", "/v1/broadcasts", to_all(), key="nobody")
    assert (first.status, first.body["broadcast"]["state"]) == (202, "sent")
    assert counts(first.body["broadcast"]) == [0, 0, 0, 0]
    again = api.ask("POST", "/v1/broadcasts", to_all(), key="nobody")
    assert (again.body, again.replayed) == (first.body, True)
    assert api.ask("POST", "/v1/broadcasts", to_all("别的"), key="nobody").status == 422


def test_followers_come_leave_mute_and_are_listed(account):
    api, who = account().api, some_openids(5)
    answer = api.ask("POST", "/v1/followers:bulkFollow", {"openids": who, "source": "search"}, key="come")
    assert (answer.status, answer.body) == (200, {"followed": 5, "known": 0, "total": 5})
    again = api.ask("POST", "/v1/followers:bulkFollow", {"openids": who, "source": "search"}, key="come")
    assert (again.body, again.replayed) == (answer.body, True)
    assert api.post("/v1/followers:bulkUnfollow", {"openids": who[:1]}) == {"changed": 1}
    assert api.post("/v1/followers:bulkUnfollow", {"openids": who[1:2], "mute": True}) == {"changed": 1}
    seen, token = [], None
    while token != "":
        page = api.get("/v1/followers", page_size=2, page_token=token)
        seen += page["followers"]
        token = page["next_page_token"]
    assert [follower["openid"] for follower in seen] == who[1:]
    assert [follower["muted"] for follower in seen] == [True, False, False, False]
    assert {follower["source"] for follower in seen} == {"search"}
    tag_id = api.post("/v1/tags", {"name": "老客"})["tag"]["tag_id"]
    api.post(f"/v1/tags/{tag_id}:assign", {"openids": who[1:]})
    assert api.get("/v1/tags")["tags"] == [{"tag_id": tag_id, "name": "老客", "count": 4}]
    job = sent(api, {"tag_id": tag_id, "content": {"text": "老客"}})
    assert (counts(job), job["skipped_muted"]) == ([4, 3, 3, 0], 1)
    assert listed(api, job["job_id"], "muted") == who[1:2]
    first, again = (api.ask("POST", "/v1/followers:bulkUnmute", {"openids": who}, key="unmute") for _ in range(2))
    assert (first.status, first.body) == (200, {"changed": 1})
    assert (again.body, again.replayed) == (first.body, True)
    assert api.post("/v1/followers:bulkUnmute", {"openids": who}) == {"changed": 0}
    assert not any(follower["muted"] for follower in api.get("/v1/followers")["followers"])
    quota = api.get("/v1/broadcast-quota", tag_id=tag_id)
    assert [quota[name] for name in ("followers", "muted", "reach")] == [4, 0, 4]
