"""After all journeys: what they left behind, all together, passes the audit."""

import pytest
from typer.testing import CliRunner

from services.chassis import clock
from services.cli.main import app

pytestmark = pytest.mark.timeout(600)


def test_what_all_journeys_have_left_is_clean(stack, monkeypatch):
    for name, value in {**stack.environment, "COLUMNS": "200"}.items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(app, ["audit", "--data", str(stack.data)])
    clock.reset()
    assert done.exit_code == 0, done.output
    assert "clean" in done.output
