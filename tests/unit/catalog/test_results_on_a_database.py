"""Results as a file: the same as in pages, and safe to open."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.catalog.queries import imports as queries
from services.chassis.cells import plain, safe
from services.chassis.errors import Refusal
from tests.unit.catalog.imports.files import csv as products
from tests.unit.catalog.making import OTHER, SHOP

TEXTS = st.text(st.sampled_from("='+-@\t\ra 中"), max_size=6)


@given(TEXTS)
def test_a_cell_is_never_a_formula_and_comes_back_as_it_was(text):
    assert not safe(text).startswith(("=", "+", "-", "@", "\t", "\r"))
    assert plain(safe(text)) == text


def downloaded(house, import_id, outcome=""):
    pieces, place = [], None
    while True:
        data, place = queries.results_csv(house.store, SHOP, import_id, outcome, place)
        pieces.append(data)
        if place is None:
            return pieces


def test_results_as_a_file_are_those_of_the_pages(house, monkeypatch):
    monkeypatch.setattr(queries, "ROWS_A_PIECE", 13)
    job = house.do_import(products(45, bad=(7, 30), prefix="=cmd|' /C calc'!A"))
    pieces = downloaded(house, job["import_id"])
    assert len(pieces) == 4
    text = b"".join(pieces).decode()
    assert text.startswith("\ufeffrow,external_id,product_id,outcome,field,reason,message\r\n")
    rows = list(csv.DictReader(io.StringIO(text[1:], newline="")))
    paged, _ = queries.results(house.store, SHOP, job["import_id"], "", None, 1000)
    assert [plain(row["external_id"]) for row in rows] == [row["external_id"] for row in paged]
    assert all(row["external_id"].startswith("'=cmd") for row in rows)
    assert [row["row"] for row in rows] == [str(row["row"]) for row in paged]
    failed = list(
        csv.DictReader(io.StringIO(b"".join(downloaded(house, job["import_id"], "failed")).decode("utf-8-sig")))
    )
    assert [(row["field"], row["reason"]) for row in failed] == [("Variant Price", "REQUIRED")] * 2
    with pytest.raises(Refusal, match="NOT_FOUND"):
        queries.results_csv(house.store, OTHER, job["import_id"], "", None)
