"""Chapter 7: 200 buyers, 50 units."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from services.chassis import clock
from services.cli.api import Answer, Api
from services.cli.demo import trade
from services.cli.demo.story import Story
from services.cli.demo.trade import ADDRESS, Goods

TITLE = "7 race"
BUYERS: Final = 200
UNITS: Final = 50
IN_FLIGHT: Final = 40


def tell(story: Story) -> None:
    """Everybody wants one; nobody gets what is not there, and everybody is told clearly."""
    goods = Goods(story.shop(0), "story-race", 990, UNITS)
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        buyers = list(pool.map(lambda number: story.new_buyer(f"抢购{number}"), range(BUYERS)))
        broken_before = story.api.line.broken
        began = clock.monotonic()
        with story.bar(f"{BUYERS} buyers for {UNITS} units", BUYERS) as advance:

            def run(buyer: Api) -> Answer:
                answer = try_to_buy(buyer, goods)
                advance(1)
                return answer

            answers = list(pool.map(run, buyers))
    judge(story, answers)
    story.expect.equal(story.api.line.broken - broken_before, 0, f"answers 5xx: {dict(story.api.line.statuses)}")
    placed = [(buyer, answer) for buyer, answer in zip(buyers, answers, strict=True) if answer.fine]
    for buyer, answer in placed:
        trade.until_state(story, buyer, answer.body["checkout"]["checkout_id"], "paid")
    took = clock.monotonic() - began
    story.figure("orders paid", len(placed))
    story.figure("placed and paid orders a second", f"{len(placed) / took:.0f}")
    story.until(goods.stock, lambda sku: (sku["on_hand"], sku["reserved"]) == (0, 0), "all units to be sold")


def try_to_buy(buyer: Api, goods: Goods) -> Answer:
    """Place and pay; answers the placing. No retries: a 5xx is to be seen."""
    answer = buyer.ask("POST", "/v1/checkouts", {"lines": [goods.line()], "address": ADDRESS}, retry=False)
    if answer.fine:
        trade.pay(buyer, trade.open_payment(buyer, answer.body["checkout"]["checkout_id"]))
    return answer


def judge(story: Story, answers: list[Answer]) -> None:
    """50 placed, 150 clearly refused, nothing broken."""
    kinds = Counter(answer.reason or answer.status for answer in answers)
    story.expect.equal(sum(answer.fine for answer in answers), UNITS, f"orders placed: {dict(kinds)}")
    story.expect.equal(kinds["OUT_OF_STOCK"], BUYERS - UNITS, f"clear refusals: {dict(kinds)}")
    slowest = sorted(answer.took_s for answer in answers)[int(len(answers) * 0.99)]
    story.figure("refused OUT_OF_STOCK", kinds["OUT_OF_STOCK"])
    story.figure("placing p99, ms", round(slowest * 1000))
