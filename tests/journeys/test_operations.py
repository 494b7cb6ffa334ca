"""docs/operations.md does what it says: its session runs, its commands and settings exist."""

import json
import re

import pytest
from typer.testing import CliRunner

from services.accounts.store.installation import _Given
from services.chassis.settings import Settings
from services.cli.main import app
from tests.journeys import guides

GUIDE = "docs/operations.md"


def test_the_first_admin_makes_an_account_with_a_shop(stack):
    (session,) = [found for found in guides.sessions(GUIDE) if "curl" in found]
    approved, shop = (json.loads(line) for line in guides.run(session, stack).splitlines())
    assert (approved["shop"]["state"], shop["shop"]["state"]) == ("open", "open")
    guides.run(session, stack)  # a second shop, by the same admin


def test_every_command_that_the_guide_names_is_there():
    named = set(re.findall(r"`jishi ([a-z]+(?: (?:show|advance|parked|retry|drop|replay))?)\b", guides.text(GUIDE)))
    assert {"up", "seed", "clock advance", "events replay", "audit", "demo"} <= named
    for command in sorted(named):
        shown = CliRunner().invoke(app, [*command.split(), "--help"])
        assert shown.exit_code == 0, command


@pytest.mark.parametrize("guide", [GUIDE, "README.md"])
def test_every_setting_that_a_guide_names_is_one(guide):
    known = {f"JISHI_{name.upper()}" for name in (*Settings.model_fields, *_Given.model_fields)}
    of_the_command_line = {"JISHI_ADMIN_TOKEN"}
    assert set(re.findall(r"\bJISHI_[A-Z_]+\b", guides.text(guide))) <= known | of_the_command_line
