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
    assert done.exit_code == 2
    assert "bootstrap secret" in done.stderr
    assert not (tmp_path / "world.json").exists()


def test_what_the_stack_refuses_is_told_in_one_line(stack, shop, tmp_path):
    path = tmp_path / "products.csv"
    path.write_text(BROKEN, encoding="utf-8")
    data = ["--data", str(stack.data)]
    wrong = RUN.invoke(app, ["import", str(path), "--appid", shop.merchant.appid, "--secret", "wrong", *data])
    assert (wrong.exit_code, wrong.stderr) == (
        1,
        "jishi import: POST /v1/oauth/token → 401 INVALID_CREDENTIALS: client_id and client_secret do not belong together\n",
    )
    who = ["--appid", shop.merchant.appid, "--secret", shop.merchant.secret, *data]
    policy = RUN.invoke(app, ["import", str(path), "--policy", "all", *who])
    assert (policy.exit_code, policy.stderr.count("\n")) == (1, 1)
    assert "policy: must be one of reject_all, reject_failed, stop_after_n; got 'all'" in policy.stderr
    path.write_text("# a readme\n\nof something\n", encoding="utf-8")
    other = RUN.invoke(app, ["import", str(path), *who])
    assert other.exit_code == 1
    assert other.output.splitlines()[0].startswith("failed: rows 0")
    assert other.output.splitlines()[1].startswith("COLUMNS_MISSING: ")
    assert "external_id" in other.output


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
    (newest, *_) = shop.api.get("/v1/imports")["imports"]
    watched = RUN.invoke(app, ["import", "--resume", newest["import_id"], *who])
    assert (watched.exit_code, watched.output) == (0, mended.output)
    stopped = RUN.invoke(app, ["import", str(path), "--policy", "stop_after_n", *who])
    assert stopped.exit_code == 1
    assert "max_errors" in stopped.output
    assert RUN.invoke(app, ["import", *who]).exit_code == 2


def test_export_writes_a_file_that_imports_unchanged(stack, shop, tmp_path):
    who = ["--appid", shop.merchant.appid, "--secret", shop.merchant.secret, "--data", str(stack.data)]
    source = tmp_path / "source.csv"
    source.write_text(BROKEN.replace("not a price", "268.00"), encoding="utf-8")
    assert RUN.invoke(app, ["import", str(source), *who]).exit_code == 0
    for name in ("out.csv", "out.xlsx", "out.jsonl"):
        path = tmp_path / name
        done = RUN.invoke(app, ["export", str(path), *who])
        assert done.exit_code == 0, done.output
        assert f"products 3, rows {3}, bytes {path.stat().st_size}" in done.output.replace("\n", "")
        again = RUN.invoke(app, ["import", str(path), *who])
        assert (again.exit_code, "created 0, updated 0, unchanged 3, failed 0" in again.output) == (0, True), (
            again.output
        )
    none = RUN.invoke(app, ["export", str(tmp_path / "none.csv"), "--state", "delisted", *who])
    assert "products 0" in none.output
    wrong = RUN.invoke(app, ["export", str(tmp_path / "wrong.csv"), "--format", "shopify-csv", *who])
    assert (wrong.exit_code, "format" in wrong.output) == (1, True)
    assert not (tmp_path / "wrong.csv").exists()
