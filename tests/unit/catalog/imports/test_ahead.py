"""The next chunk is planned while the last one is written, and what is written is what chunks one after the other would have written."""

import json
import threading
from dataclasses import replace

from services.catalog.jobs import imports as jobs
from services.catalog.model.chunks import Item, Plan, Result
from services.catalog.model.planning import touched
from services.catalog.store import chunks
from tests.unit.catalog.imports.files import counts, csv
from tests.unit.catalog.making import SHOP, product, sku
from tests.unit.catalog.test_rules import draft

PATIENCE_S = 60
LINE = {"category_id": 538010001, "skus": [{"price": 900, "quantity": 3}]}


def line(external_id, code="", **more):
    found = {**LINE, "external_id": external_id, "name": f"商品 {external_id}", **more}
    return {**found, "skus": [{**found["skus"][0], "merchant_sku": code}]}


def jsonl(*lines):
    return "\n".join(json.dumps(each, ensure_ascii=False) for each in lines).encode()


def watched(monkeypatch, then):
    """``then(number, plan)`` is called when a chunk was planned ahead; the plans so far."""
    real, seen = chunks.planned, []

    def planned(*given):
        made = real(*given)
        seen.append(made)
        then(len(seen), made)
        return made

    monkeypatch.setattr(jobs, "planned", planned)
    return seen


def test_the_next_chunk_is_planned_while_the_last_is_written(house, monkeypatch):
    real, ready = chunks.Transaction.commit, [threading.Event() for _ in range(4)]
    plans = watched(monkeypatch, lambda number, _made: ready[number - 1].set())
    written, late = [], []

    def commit(self, **how):
        if any(rows.name == "names" for rows, _ in self.many):
            written.append(self)
            if len(written) < 3:
                late.append(not ready[len(written)].wait(PATIENCE_S))
        return real(self, **how)

    monkeypatch.setattr(chunks.Transaction, "commit", commit)
    assert counts(house.do_import(csv(60))) == (60, 60, 0, 0, 0)
    assert late == [False, False], "it was planned before the one before it was written"
    assert len(plans) == 3
    assert house.sound()


def test_a_chunk_that_meets_the_one_before_it_is_planned_when_that_is_written(house, monkeypatch):
    house.upsert(product("a", axes=[], skus=[sku(merchant_sku="X")]))
    first = [line("a", "Y"), *(line(f"f{n}") for n in range(19))]
    second = [line("b", "X"), *(line(f"s{n}") for n in range(19))]  # takes what the first gives free
    third = [line(f"t{n}") for n in range(20)]  # has no codes: whatever the second gives free is not for it
    plans = watched(monkeypatch, lambda _number, _made: None)
    job = house.do_import(jsonl(*first, *second, *third), name="jsonl", file_name="f.jsonl")
    assert counts(job) == (60, 59, 1, 0, 0)
    assert len(plans) == 2, "the second met what was not written yet"
    assert house.product("b")["listing"]["skus"][0]["merchant_sku"] == "X"
    assert house.sound()


def test_a_plan_that_somebody_else_overtook_is_made_again(house, monkeypatch):
    house.do_import(csv(60, stock=5))

    def overtake(number, made):
        if number == 2:  # one of this chunk is changed behind its back, another one's stock is
            identity = made.results[3].external_id
            house.reprice(identity, 77)
            house.restock((house.product(made.results[4].external_id)["listing"]["skus"][0]["sku_id"], 4, "r"))

    watched(monkeypatch, overtake)
    assert counts(house.do_import(csv(60, stock=8, price="5.00"))) == (60, 0, 60, 0, 0)
    prices = {row["listing"]["skus"][0]["price"] for row in house.store.products.find({})}
    assert prices == {500}
    assert {row["on_hand"] for row in house.store.stock.find({})} == {8}
    assert house.sound()


def test_a_job_that_stops_after_failures_counts_them_chunk_by_chunk(house, monkeypatch):
    plans = watched(monkeypatch, lambda _number, _made: None)
    job = house.do_import(csv(60, bad=(3, 30, 31)), policy="stop_after_n", max_errors=2)
    assert (job["state"], job["reason"], job["failed"], job["created"]) == ("failed", "TOO_MANY_ERRORS", 2, 29)
    assert plans == []


def test_what_may_depend_on_a_chunk_meets_it():
    plain, coded = Item("p", 1, draft(external_id="p")), Item("q", 2, draft(external_id="q"))
    before = touched([plain], SHOP, Plan(results=[Result("p", "p1", "created", 1)]))
    assert before.meets([plain], SHOP)
    assert not before.meets([coded, Item("", 3, None)], SHOP)
    freed = touched([plain], SHOP, Plan(unnamed=[{"_id": f"{SHOP}/sku/C"}]))
    claims = Item("r", 4, draft(external_id="r", skus=(with_code("C"),)))
    assert freed.meets([claims], SHOP)
    unknown = touched([plain], SHOP, None)
    assert unknown.meets([claims], SHOP), "nobody knows which codes it gives free"
    assert not unknown.meets([Item("s", 5, draft(external_id="s", skus=(with_code(""),)))], SHOP)
    assert not touched([Item("", 1, None)], SHOP, Plan()).meets([Item("", 2, None)], SHOP)


def with_code(code):
    return replace(draft().skus[0], merchant_sku=code)
