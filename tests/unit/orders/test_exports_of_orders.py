"""Files of a shop's orders on a real database: what stands in them, and that a killed run costs one step."""

import csv
import io
import zipfile
from xml.etree import ElementTree as ET

import pytest

from services.chassis import clock
from services.chassis.commit import Cause
from services.chassis.errors import Refusal
from services.chassis.jobs import Jobs, LeaseLost
from services.chassis.presence import Presence
from services.orders import commands
from services.orders.commands import pricing
from services.orders.commands.exports import create_export
from services.orders.jobs import JOBS, exports
from services.orders.model.states import Known
from services.orders.queries import exports as questions
from tests.unit.orders import making
from tests.unit.orders.house import Catalog, House

MERCHANT = Known("merchant", "acc_1", "shop_1")


@pytest.fixture
def house(memory_world, monkeypatch):
    monkeypatch.setattr(exports, "AT_ONCE", 2)
    found = House(memory_world.settings)
    found.jobs = Jobs("orders", found.database, JOBS, Presence("orders", "test", "jobs"))
    yield found
    found.close()


def ask(house, file_format="csv", actor=MERCHANT, key="x", **filters):
    asked = {"format": file_format, "states": [], **filters}
    return create_export(house.store, Cause(f"cmd:{key}", "b"), actor, asked).document["_id"]


def run(house, give_up=lambda: False):
    outcomes = []
    for job, row in house.jobs.claimable():
        lease = house.jobs.claim(job, row, give_up)
        outcomes.append(house.jobs.run(job, lease))
    return outcomes


def fetched(house, export_id, actor=MERCHANT):
    data, token = b"", ""
    while True:
        piece = questions.piece(house.store, actor, export_id, token)
        data, token = data + piece["data"], piece["next_page_token"]
        if not token:
            return data, piece


def table(data):
    assert data.startswith(b"\xef\xbb\xbf")
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))


def test_a_file_has_a_row_a_line_and_no_cell_is_a_formula(house):
    notes = ["=HYPERLINK(1)", "请包好\n第二行", "-1+1"]
    placed = [house.place(f"k{n}", notes=note) for n, note in enumerate(notes)]
    house.pay(placed[0])
    ids = [each.checkout["shares"][0]["order_id"] for each in placed]
    export_id = ask(house)
    house.place("later")
    assert run(house) == ["done"]
    data, told = fetched(house, export_id)
    rows = table(data)
    assert [row["order_id"] for row in rows] == [ids[2], ids[2], ids[1], ids[1], ids[0], ids[0]]
    assert [row["notes"] for row in rows[::2]] == ["'-1+1", "请包好\n第二行", "'=HYPERLINK(1)"]
    first = rows[4]
    assert {name: first[name] for name in ("state", "quantity", "price", "line_goods", "order_amount", "mobile")} == {
        "state": "paid",
        "quantity": "2",
        "price": "19.99",
        "line_goods": "39.98",
        "order_amount": "46.98",
        "mobile": making.ADDRESS["mobile"],
    }
    assert (first["outstanding"], rows[0]["outstanding"]) == ("2", "0"), "only what is paid is to be sent"
    assert (first["transaction_id"], first["paid_at"][:2], rows[0]["paid_at"]) == ("42", "20", "")
    assert told["file_name"] == f"{export_id}.csv"
    shown = questions.job(house.store, MERCHANT, export_id)
    assert (shown["state"], shown["orders"], shown["rows"], shown["size"]) == ("completed", 3, 6, len(data))


def test_the_amounts_of_the_rows_add_up_to_the_order_whatever_was_taken_off(house):
    placed = house.place("k", Catalog(making.reserved(freight=500), making.reserved(sku="s2", price=3, freight=300)))
    order_id = placed.checkout["shares"][0]["order_id"]
    pricing.change_price(house.store, Cause("cmd:p", "b"), MERCHANT, order_id, 3000, 100)
    export_id = ask(house)
    assert run(house) == ["done"]
    rows = table(fetched(house, export_id)[0])
    sums = {
        name: sum(round(float(row[name]) * 100) for row in rows)
        for name in ("line_goods", "line_discount", "line_freight", "line_freight_discount")
    }
    assert sums == {"line_goods": 4004, "line_discount": 1004, "line_freight": 800, "line_freight_discount": 700}
    assert {row["order_amount"] for row in rows} == {"31.00"}


def test_each_line_names_all_the_parcels_that_it_travels_in(house):
    placed = house.place("k")
    house.pay(placed)
    order_id = placed.checkout["shares"][0]["order_id"]
    for company, number, lines in (
        ("003shunfeng", "SF1111", [{"line": 1, "quantity": 1}]),
        ("066zhongtong", "ZT2222", [{"line": 1, "quantity": 1}]),
        ("003shunfeng", "SF3333", [{"line": 2, "quantity": 1}]),
    ):
        parcel = {"delivery_company": company, "delivery_track_no": number, "is_others": False, "lines": lines}
        commands.ship(house.store, Cause(f"cmd:{number}"), MERCHANT, order_id, parcel)
    export_id = ask(house)
    assert run(house) == ["done"]
    rows = table(fetched(house, export_id)[0])
    assert [(row["delivery_company"], row["delivery_track_no"]) for row in rows] == [
        ("顺丰速运; 中通速递", "SF1111; ZT2222"),
        ("顺丰速运", "SF3333"),
    ]


def sheet(data):
    """The rows of a workbook: (type of cell, what stands in it) by column."""
    names = {"m": "http://schemas.openxmlformats.org/spreadsheetml/2006/main"}
    root = ET.fromstring(zipfile.ZipFile(io.BytesIO(data)).read("xl/worksheets/sheet1.xml"))  # noqa: S314 - our own
    cells = [
        {
            cell.get("r").rstrip("0123456789"): (cell.get("t", "n"), "".join(cell.itertext()))
            for cell in row.iterfind("m:c", names)
        }
        for row in root.iterfind(".//m:row", names)
    ]
    columns = {letter: name for letter, (_, name) in cells[0].items()}
    return [{columns[letter]: cell for letter, cell in row.items()} for row in cells[1:]]


def test_a_workbook_has_the_same_rows_with_numbers_as_numbers(house):
    for n in range(3):
        house.place(f"k{n}", notes="=1+1")
    export_id = ask(house, "xlsx")
    assert run(house) == ["done"]
    rows = sheet(fetched(house, export_id)[0])
    assert (len(rows), rows[0]["price"], rows[0]["quantity"]) == (6, ("n", "19.99"), ("n", "2"))
    assert rows[0]["notes"] == ("inlineStr", "'=1+1")


@pytest.mark.parametrize("file_format", ["csv", "xlsx"])
def test_a_run_that_is_killed_at_any_step_is_gone_on_with(house, file_format, monkeypatch):
    for n in range(5):
        house.place(f"k{n}", Catalog(making.reserved()))
    export_id = ask(house, file_format)
    looks, real = [], exports._step

    def dying(lease, store, job):
        if len(looks) in (1, 2):
            looks.append(None)
            raise LeaseLost("killed")
        looks.append(None)
        return real(lease, store, job)

    monkeypatch.setattr(exports, "_step", dying)
    while questions.job(house.store, MERCHANT, export_id)["state"] != "completed":
        run(house)
    shown = questions.job(house.store, MERCHANT, export_id)
    assert (shown["orders"], shown["rows"], len(looks)) == (5, 5, 5)
    data, _ = fetched(house, export_id)
    if file_format == "csv":
        assert len({row["order_id"] for row in table(data)}) == len(table(data)) == 5


def test_the_filters_of_the_list_are_those_of_the_file_and_an_empty_file_has_its_header(house):
    paid = house.place("k0")
    house.pay(paid)
    house.place("k1")
    wanted = [
        ({"states": ["paid"]}, 1),
        ({"states": ["paid", "awaiting_payment"], "phone_tail": making.ADDRESS["mobile"][-4:]}, 2),
        ({"updated_from": clock.business().replace(year=2030)}, 0),
        ({"created_from": clock.business().replace(year=2014, month=6), "product_id": "p1"}, 2),
    ]
    exported = [ask(house, key=str(n), **filters) for n, (filters, _) in enumerate(wanted)]
    while any(questions.job(house.store, MERCHANT, each)["state"] != "completed" for each in exported):
        house.database["exports"].update_many({"next_at": {"$gt": 0}}, {"$set": {"next_at": 1}})
        run(house)
    for export_id, (_, orders) in zip(exported, wanted, strict=True):
        assert len({row["order_id"] for row in table(fetched(house, export_id)[0])}) == orders
    found, token = questions.jobs(house.store, MERCHANT, 3, "")
    rest, end = questions.jobs(house.store, MERCHANT, 3, token)
    assert ([each["export_id"] for each in (*found, *rest)], end) == (exported[::-1], "")


def test_an_export_is_its_shops_and_its_file_is_there_when_it_is_done(house, monkeypatch):
    export_id = ask(house)
    with pytest.raises(Refusal, match="completed"):
        fetched(house, export_id)
    run(house)
    for stranger in (Known("merchant", "acc_2", "shop_2"), Known("merchant", "acc_3")):
        with pytest.raises(Refusal) as caught:
            fetched(house, export_id, stranger)
        assert caught.value.reason == "NOT_FOUND"
    house.database["export_blocks"].delete_many({})
    with pytest.raises(Refusal, match="export again"):
        fetched(house, export_id)
    monkeypatch.setattr(exports, "SHEET_ROWS", 2)
    house.place("k1")
    too_much = ask(house, "xlsx", key="y")
    run(house)
    assert questions.job(house.store, MERCHANT, too_much)["reason"] == "TOO_MANY_ROWS"


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"file_format": "pdf"}, "format"),
        ({"states": ["paid", "lost"]}, "states[1]"),
        ({"phone_tail": "1"}, "phone_tail"),
    ],
)
def test_what_cannot_be_exported_is_named(house, asked, field):
    with pytest.raises(Refusal) as caught:
        ask(house, **asked)
    assert caught.value.violations[0].field == field
