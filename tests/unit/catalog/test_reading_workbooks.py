"""XLSX: the columns of jishi-csv in the first sheet; cells as they were typed, and every refusal before anything is unpacked."""

import contextlib
import io
import itertools
import secrets
import subprocess
import sys
import tracemalloc
import zipfile
from datetime import datetime

import pytest
import xlsxwriter
from hypothesis import given, settings
from hypothesis import strategies as st

from services.catalog.jobs.importing.building import Context
from services.catalog.jobs.importing.reading import open_file
from services.catalog.jobs.importing.sheet import number_text
from services.catalog.jobs.importing.text import CELL_LIMIT, UnreadableFileError
from services.catalog.jobs.importing.workbook import WorkbookLimits
from tests.examples import examples
from tests.unit.catalog.laid import chunks, laid
from tests.unit.catalog.reading.opening import LIMITS, TREE

HEAD = ["external_id", "title", "axis1", "value1", "price", "stock", "merchant_sku", "barcode", "properties"]
USUAL = WorkbookLimits(entries=1000, ratio=200, bytes=2**31)
SHEET = (
    '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>{}</sheetData></worksheet>'
)


def workbook(*rows, write=lambda _sheet, _book: None, **options):
    out = io.BytesIO()
    book = xlsxwriter.Workbook(out, {"in_memory": True, "strings_to_formulas": False, **options})
    sheet = book.add_worksheet()
    for number, row in enumerate(rows):
        for column, value in enumerate(row):
            sheet.write(number, column, value)
    write(sheet, book)
    book.close()
    return out.getvalue()


def with_sheet(rows, **more):
    """A workbook whose sheet is this XML."""
    out = io.BytesIO()
    source = zipfile.ZipFile(io.BytesIO(workbook(["x"])))
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for part in source.infolist():
            text = SHEET.format(rows) if part.filename.endswith("sheet1.xml") else source.read(part)
            target.writestr(part.filename, more.get(part.filename, text))
        for name, content in more.items():
            if name not in source.namelist():
                target.writestr(name, content)
    return out.getvalue()


def opened(content, limits=USUAL, **how):
    return open_file(
        lambda: iter([content[i : i + 1000] for i in range(0, len(content), 1000)]),
        "xlsx",
        most_rows=10**6,
        workbook=limits,
        **how,
    )


def items(content):
    context = Context("CNY", TREE, LIMITS)
    file = opened(content)
    found = [item for chunk in chunks(file, "xlsx", context, products=2, rows=2000) for item in chunk]
    file.close()
    return found


def refused(content, limits=USUAL):
    with pytest.raises(UnreadableFileError) as caught, contextlib.closing(opened(content, limits)) as file:
        chunks(file, "xlsx", Context("CNY", TREE, LIMITS), products=2, rows=2000)
    assert caught.value.message
    return caught.value.reason


def test_cells_say_what_was_typed():
    content = workbook(HEAD, [3, "衬衫", "尺码", 38, 19.9, 5, "A-1", 6901234567890], [3, "", "", 38.5, 1.1, 7.0])
    (item,) = items(content)
    assert item.problems == ()
    draft = item.draft
    assert (draft.external_id, draft.axes, [sku.values for sku in draft.skus]) == ("3", ("尺码",), [("38",), ("38.5",)])
    assert [(sku.price, sku.quantity, sku.barcode, sku.row) for sku in draft.skus] == [
        (1990, 5, "6901234567890", 2),
        (110, 7, "", 3),
    ]


def test_dates_and_switches_are_text():
    def write(sheet, book):
        sheet.write_datetime(1, 1, datetime(2026, 1, 5), book.add_format({"num_format": 'yyyy"年"mm"月"dd"日"'}))  # noqa: DTZ001 - a cell has no zone
        sheet.write_datetime(2, 1, datetime(2026, 1, 5, 10, 30), book.add_format({"num_format": 22}))  # noqa: DTZ001 - a cell has no zone
        sheet.write_number(3, 1, 46027, book.add_format({"num_format": '[Red]0.00" days"'}))
        sheet.write_boolean(4, 1, True)

    content = workbook(HEAD, *([name, "", "", "", 5] for name in "abcd"), write=write)
    assert [item.draft.name for item in items(content)] == ["2026-01-05", "2026-01-05 10:30:00", "46027", "true"]
    from_1904 = workbook(HEAD, *([name, "", "", "", 5] for name in "abcd"), write=write, date_1904=True)
    assert items(from_1904)[0].draft.name == "2026-01-05"


@given(st.decimals(min_value="0.01", max_value="9999999999", places=2))
def test_a_price_is_the_decimal_that_was_typed_whatever_the_binary_fraction(price):
    typed = float(price)
    assert number_text(f"{typed:.17g}") == number_text(repr(typed)) == f"{price.normalize():f}"


def test_rows_keep_their_numbers_and_empty_ones_do_not_count():
    content = workbook([], HEAD, [], ["a", "A", "", "", 5], [" "], ["b", "B", "", "", "cheap"])
    first, second = items(content)
    assert first.row == 4
    assert [(problem.row, problem.field, problem.reason) for problem in second.problems] == [
        (6, "price", "PRICE_INVALID")
    ]


def test_a_failed_formula_fails_its_product_only():
    content = workbook(
        HEAD,
        ["a", "A", "", "", 5],
        ["b", "", "", "", 5],
        write=lambda sheet, _book: sheet.write_formula(2, 1, "=NA()", None, "#N/A"),
    )
    first, second = items(content)
    assert first.draft
    assert [(problem.field, problem.reason) for problem in second.problems] == [("title", "CELL_ERROR")]
    assert "#N/A" in second.problems[0].message
    worked_out = workbook(
        HEAD, ["a", "", "", "", 5], write=lambda sheet, _b: sheet.write_formula(1, 1, '="x"&"y"', None, "xy")
    )
    assert items(worked_out)[0].draft.name == "xy"


def test_cells_without_references_inline_strings_and_pronunciations():
    header = "".join(f'<c t="inlineStr"><is><t>{name}</t></is></c>' for name in HEAD[:5])
    body = (
        '<c t="inlineStr"><is><r><t>a</t></r><r><t>1</t></r><rPh sb="0" eb="1"><t>エー</t></rPh></is></c>'
        '<c t="inlineStr"><is><t>x_x000D_y_x005F_z_xD800_</t></is></c><c/><c/><c><v>5</v></c>'
    )
    (item,) = items(with_sheet(f"<row>{header}</row><row>{body}</row>"))
    assert (item.external_id, [problem.reason for problem in item.problems]) == ("a1", ["CONTROL_CHARACTER"])


@settings(max_examples=examples(25), deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20), min_size=1, max_size=5))
def test_any_text_comes_back_as_it_was(texts):
    rows = [[f"p{n}", f"x{text}x", "", "", 5] for n, text in enumerate(texts)]
    assert [item.draft.name for item in items(workbook(HEAD, *rows))] == [row[1].strip() for row in rows]


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.95, 0.999])
def test_a_truncated_workbook_is_refused(keep):
    content = workbook(HEAD, *([f"p{n}", "P", "", "", 5] for n in range(500)))
    assert refused(content[: int(len(content) * keep)]) == "BROKEN_WORKBOOK"


def test_damage_inside_is_refused():
    content = bytearray(workbook(HEAD, *([f"p{n}", f"P{n * 7919}", "", "", n] for n in range(500))))
    place = content.index(b"xl/worksheets/sheet1.xml") + 500
    content[place : place + 40] = bytes(40)
    assert refused(bytes(content)) == "BROKEN_WORKBOOK"
    assert refused(with_sheet('<row><c t="s"><v>99</v></c></row>')) == "BROKEN_WORKBOOK"
    assert refused(with_sheet("<row><c></row>")) == "BROKEN_WORKBOOK"
    entity = '<!DOCTYPE x [<!ENTITY a "aaaa">]>' + SHEET.format("")
    assert refused(with_sheet("", **{"xl/worksheets/sheet1.xml": entity})) == "BROKEN_WORKBOOK"
    assert refused(with_sheet("", **{"xl/workbook.xml": "<workbook/>"})) == "BROKEN_WORKBOOK"
    outside = '<Relationships><Relationship Id="rId1" Type="x/worksheet" Target="/../../etc/passwd"/></Relationships>'
    assert refused(with_sheet("", **{"xl/_rels/workbook.xml.rels": outside})) == "BROKEN_WORKBOOK"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "EMPTY_FILE"),
        (b"\x89PNG\r\n\x1a\n\x00", "NOT_A_WORKBOOK"),
        (b"external_id,title,price\na,A,5\n", "NOT_A_WORKBOOK"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500), "NOT_A_WORKBOOK"),
        (b"PK\x03\x04" + bytes(range(256)) * 20, "BROKEN_WORKBOOK"),
        (workbook(["name", "cost"], ["a", 5]), "COLUMNS_MISSING"),
        (workbook([*HEAD, "Title"], ["a"]), "COLUMN_TWICE"),
        (workbook(HEAD), "NO_PRODUCTS"),
        (workbook(), "COLUMNS_MISSING"),
    ],
)
def test_what_is_no_product_workbook_is_refused(content, reason):
    assert refused(content) == reason


def test_a_zip_of_something_else_is_refused():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as target:
        target.writestr("holiday.jpg", b"x")
    assert refused(out.getvalue()) == "BROKEN_WORKBOOK"


def test_a_zip_bomb_is_refused_before_it_is_unpacked():
    bomb = with_sheet("", **{"xl/media/bomb.bin": bytes(50 * 2**20)})
    assert len(bomb) < 100_000
    tracemalloc.start()
    assert refused(bomb) == "ZIP_BOMB"
    assert tracemalloc.get_traced_memory()[1] < 2 * 2**20
    tracemalloc.stop()
    fine = workbook(HEAD, ["a", "A", "", "", 5])
    assert refused(fine, WorkbookLimits(entries=3, ratio=200, bytes=2**31)) == "ZIP_BOMB"
    assert refused(fine, WorkbookLimits(entries=1000, ratio=200, bytes=2**12)) == "ZIP_BOMB"


def test_a_bomb_that_lies_about_its_size_is_refused():
    honest = with_sheet("<row/>" * 200_000)
    size = (len(SHEET.format("")) + 6 * 200_000).to_bytes(4, "little")
    assert honest.count(size) == 2, "local header and directory"
    assert refused(honest.replace(size, (900).to_bytes(4, "little"))) == "BROKEN_WORKBOOK"


def test_a_cell_of_ten_megabytes_fails_its_product_and_a_larger_one_the_file():
    header = "".join(f'<c t="inlineStr"><is><t>{name}</t></is></c>' for name in HEAD[:5])
    body = '<c t="inlineStr"><is><t>a</t></is></c><c t="inlineStr"><is><t>{}</t></is></c><c/><c/><c><v>5</v></c>'
    (item,) = items(with_sheet(f"<row>{header}</row><row>{body.format('x' * 10**7)}</row>"))
    assert ("title", "TOO_LONG") in [(problem.field, problem.reason) for problem in item.problems]
    assert (
        refused(with_sheet(f"<row>{header}</row><row>{body.format(secrets.token_hex(CELL_LIMIT // 2 + 1))}</row>"))
        == "CELL_TOO_LARGE"
    )


def test_a_cell_in_the_last_corner_costs_nothing():
    content = workbook(HEAD, ["a", "A", "", "", 5], write=lambda sheet, _book: sheet.write(1_048_575, 16_383, "far"))
    found = items(content)
    assert [(item.external_id, item.problems[0].reason if item.problems else "") for item in found] == [
        ("a", ""),
        ("", "REQUIRED"),
    ]


def test_reading_tells_that_it_goes_on_and_memory_stays_bounded():
    content = workbook(HEAD, *([f"p{n}", f"商品 {n}", "尺码", "M", 9.9, 5, f"sku-{n}"] for n in range(6_000)))
    steps = itertools.count()
    tracemalloc.start()
    file = opened(content, step=lambda: next(steps))
    whole, context = laid(file, "xlsx"), Context("CNY", TREE, LIMITS)
    places = [(len(chunk), behind) for chunk, behind in whole.chunks(context, products=200, rows=2000)]
    products = sum(size for size, _ in places)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert products == file.products == 6_000
    assert next(steps) > 20
    assert peak < 12 * 2**20
    file.close()
    half, _ = next(whole.chunks(context, products=200, rows=2000, place=places[14][1]))
    assert half[0].external_id == "p3000", "the workbook is not needed any more"


def test_the_reader_needs_no_library_that_opens_all_at_once():
    code = "import sys, services.catalog.jobs.imports; print([m for m in ('openpyxl', 'python_calamine') if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )
