"""The commands of ``jishi`` that talk to a running stack."""

import json
import re

import pytest
from typer.testing import CliRunner

from services.cli.demo.catalog import BROKEN
from services.cli.main import app

RUN = CliRunner()


@pytest.fixture(autouse=True)
def _environment(stack, monkeypatch):
    monkeypatch.setenv("JISHI_BASE_URL", stack.url)
    monkeypatch.setenv("COLUMNS", "200")


def test_seed_writes_a_world(stack, tmp_path):
    out = tmp_path / "world.json"
    done = RUN.invoke(app, ["seed", "--out", str(out), "--data", str(stack.data)])
    assert done.exit_code == 0, done.output
    assert json.loads(out.read_text(encoding="utf-8"))["base_url"] == stack.url


def test_seed_without_the_secret_says_so(tmp_path):
    done = RUN.invoke(app, ["seed", "--out", str(tmp_path / "world.json"), "--data", str(tmp_path)])
    assert done.exit_code == 1
    assert "bootstrap secret" in done.output
    assert not (tmp_path / "world.json").exists()


def test_the_clock_is_shown_and_moved(stack):
    data = ["--data", str(stack.data)]
    before = RUN.invoke(app, ["clock", "show", *data]).output
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+08:00\n", before)
    moved = RUN.invoke(app, ["clock", "advance", "2h", *data])
    assert moved.exit_code == 0, moved.output
    assert moved.output > before


def test_import_shows_the_job_and_what_failed(stack, shop, tmp_path):
    path = tmp_path / "broken.csv"
    path.write_text(BROKEN, encoding="utf-8")
    who = ["--appid", shop.merchant.appid, "--secret", shop.merchant.secret, "--data", str(stack.data)]
    dry = RUN.invoke(app, ["import", str(path), "--dry-run", *who])
    assert dry.output.startswith("ready: rows 3, total 3")
    assert shop.api.get("/v1/products")["products"] == []
    done = RUN.invoke(app, ["import", str(path), *who])
    assert done.exit_code == 1
    assert done.output.startswith("completed: rows 3, total 3, created 2, updated 0, unchanged 0, failed 1")
    assert "bad-pot" in done.output
    path.write_text(BROKEN.replace("not a price", "268.00"), encoding="utf-8")
    mended = RUN.invoke(app, ["import", str(path), *who])
    assert mended.exit_code == 0
    assert "created 1, updated 0, unchanged 2, failed 0" in mended.output
