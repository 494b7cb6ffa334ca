"""Chapter 4: followers, broadcasts, quotas of days and months."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any, Final

from services.chassis import clock, ids
from services.chassis.calendar import CST, next_day, next_month
from services.cli.api import Answer, Api
from services.cli.demo.story import Story

TITLE = "4 broadcast"
FOLLOWERS: Final = 10_000
LATECOMERS: Final = 500
A_CALL: Final = 1_000


def tell(story: Story) -> None:
    """Four broadcasts in a month, and what a fifth, a tag and the next month do."""
    merchant = story.shop(0)
    openid = story.buyers[0].openids[story.shops[0].account_id]
    old = [openid, *openids(FOLLOWERS - 1)]
    follow(story, merchant, old, "10,000 followers")
    new = openids(LATECOMERS)
    start_of_day(story)
    for number in range(1, 5):
        if number == 4:
            follow(story, merchant, new, "500 more followers")
        audience = FOLLOWERS + (LATECOMERS if number == 4 else 0)
        job = sent(story, merchant, {"to_all": True, "content": {"text": f"春茶第 {number} 讯"}}, audience)
        story.expect.equal(job["sent_count"], audience, f"broadcast {number} of the month reaches everybody")
        if number == 1:
            second = merchant.ask("POST", "/v1/broadcasts", {"to_all": True, "content": {"text": "又来一讯"}})
            exhausted(story, second, next_day(now(story)), "a second broadcast on one day")
        story.advance(until=next_day(now(story)) + timedelta(hours=10))
    fifth = merchant.ask("POST", "/v1/broadcasts", {"to_all": True, "content": {"text": "第五讯"}})
    exhausted(story, fifth, next_month(now(story)), "a fifth broadcast in one month")
    story.figure("broadcasts of one month in a follower's inbox", inbox(story, openid))
    tagged(story, merchant, old[:LATECOMERS], new)
    subscription(story)
    next_months(story, merchant)


def openids(count: int) -> list[str]:
    """Made-up openids of the right shape."""
    return ["o" + ids.new_id("f")[2:].ljust(27, "x") for _ in range(count)]


def now(story: Story) -> datetime:
    """The business time."""
    return datetime.fromisoformat(story.api.get("/v1/sandbox/clock")["now"])


def start_of_day(story: Story) -> None:
    """Move to a morning with three more days in the same month: where a day ends must not fall into the chapter."""
    here = now(story)
    if (here + timedelta(days=6)).astimezone(CST).month != here.astimezone(CST).month:
        story.advance(until=next_month(here) + timedelta(hours=10))
    elif here.astimezone(CST).hour >= 20:
        story.advance(until=next_day(here) + timedelta(hours=10))


def follow(story: Story, merchant: Api, arriving: list[str], text: str) -> None:
    """Followers arrive by the thousand."""
    began = clock.monotonic()
    with story.bar(text, len(arriving)) as advance:
        for first in range(0, len(arriving), A_CALL):
            part = arriving[first : first + A_CALL]
            done = merchant.post("/v1/followers:bulkFollow", {"openids": part, "source": "import"})
            story.expect.equal(done["followed"], len(part), "all of a call's followers are new")
            advance(len(part))
    story.figure(f"{text}, a second", round(len(arriving) / (clock.monotonic() - began)))


def sent(story: Story, merchant: Api, body: dict[str, Any], audience: int) -> dict[str, Any]:
    """Send a broadcast and wait until it is delivered; answers the job."""
    key = ids.secret()
    began = clock.monotonic()
    job = merchant.post("/v1/broadcasts", body, key=key)["broadcast"]
    again = merchant.post("/v1/broadcasts", body, key=key)["broadcast"]
    story.expect.equal(again["job_id"], job["job_id"], "the same request is the same broadcast")
    with story.bar(f"broadcast to {audience:,}", audience) as advance:
        seen = 0

        def read() -> dict[str, Any]:
            nonlocal seen
            found: dict[str, Any] = merchant.get(f"/v1/broadcasts/{job['job_id']}")["broadcast"]
            advance(found["sent_count"] - seen)
            seen = found["sent_count"]
            return found

        done = story.until(read, lambda found: found["state"] == "sent", f"the broadcast to {audience:,}", 60)
    story.figure(f"broadcast to {audience:,}: seconds", f"{clock.monotonic() - began:.1f}")
    return done


def exhausted(story: Story, answer: Answer, resets: datetime, what: str) -> None:
    """Expect 45028 with the reset time."""
    story.expect.refused(answer, "BROADCAST_QUOTA_EXHAUSTED", what)
    story.expect.equal(answer.body.get("errcode"), 45028, f"{what}: errcode")
    told = answer.body.get("reset_at", "1970-01-01T00:00:00Z")
    story.expect.equal(datetime.fromisoformat(told), resets, f"{what}: reset time")


def inbox(story: Story, openid: str) -> int:
    """One of the followers is a buyer: four messages, once each. How many they are."""
    account_id = story.shops[0].account_id
    found = story.buyer(0).get("/v1/inbox", openid=openid, account_id=account_id, page_size=50)["messages"]
    texts = sorted(message["text"] for message in found if message["kind"] == "broadcast")
    story.expect.equal(texts, [f"春茶第 {number} 讯" for number in range(1, 5)], "a follower's inbox")
    other = story.buyer(1).ask("GET", "/v1/inbox", params={"openid": openid, "account_id": account_id})
    story.expect.true(not other.fine, "a buyer reads another's inbox")
    return len(texts)


def tagged(story: Story, merchant: Api, old: list[str], new: list[str]) -> None:
    """A tag of 500 old and 500 new followers: only the new ones are reached, each other one is explained."""
    tag_id = merchant.post("/v1/tags", {"name": "茶友"})["tag"]["tag_id"]
    merchant.post(f"/v1/tags/{tag_id}:assign", {"openids": [*old, *new]})
    job = sent(story, merchant, {"tag_id": tag_id, "content": {"text": "茶友专享"}}, len(new))
    counts = [job[f"{name}_count"] for name in ("total", "filter", "sent", "error")]
    story.expect.equal(counts, [1000, 500, 500, 0], "Total/Filter/Sent/Error of the tagged broadcast")
    story.expect.equal(job["skipped_monthly_cap"], 500, "followers skipped by the monthly cap")
    skipped = outcome(merchant, job["job_id"], "monthly_cap")
    story.expect.equal(sorted(skipped), sorted(old), "exactly the old followers are explained as monthly_cap")
    story.expect.equal(
        sorted(outcome(merchant, job["job_id"], "sent")), sorted(new), "exactly the new ones are reached"
    )
    story.figure("tagged broadcast Total/Filter/Sent/Error", "/".join(map(str, counts)))


def outcome(merchant: Api, job_id: str, delivery: str) -> list[str]:
    """The openids of a broadcast with that outcome, page by page."""
    found: list[str] = []
    token = ""
    while True:
        params = {"outcome": delivery, "page_size": 200, "page_token": token}
        page = merchant.get(f"/v1/broadcasts/{job_id}/deliveries", **params)
        found += page["openids"]
        token = page["next_page_token"]
        if not token:
            return found


def subscription(story: Story) -> None:
    """A subscription account has one push a day, whether to all or to a tag."""
    account = story.api.as_caller(story.subscription.token)
    follow(story, account, openids(20), "20 followers of the subscription account")
    body = {"to_all": True, "content": {"text": "每日茶讯"}}
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: account.ask("POST", "/v1/broadcasts", body), range(4)))
    story.expect.equal(sum(answer.fine for answer in answers), 1, "of four pushes at once one is admitted")
    refused = [answer for answer in answers if not answer.fine]
    for answer in refused:
        exhausted(story, answer, next_day(now(story)), "a second push of a subscription account on one day")


def next_months(story: Story, merchant: Api) -> None:
    """On the first of the next month (CST) everybody can be reached again."""
    story.advance(until=next_month(now(story)))
    everybody = FOLLOWERS + LATECOMERS
    job = sent(story, merchant, {"to_all": True, "content": {"text": "新月新茶"}}, everybody)
    counts = [job[f"{name}_count"] for name in ("total", "filter", "sent", "error")]
    story.expect.equal(counts, [everybody, everybody, everybody, 0], "on the first of the month all are reached again")
