"""`jishi events` says in one line what is wrong."""

from typer.testing import CliRunner

from services.cli.main import app


def test_without_a_stack_every_command_says_so(tmp_path, monkeypatch):
    monkeypatch.delenv("MONGO_URI", raising=False)
    for arguments in (
        ["parked"],
        ["retry", "orders"],
        ["drop", "orders.x:1", "--why", "x"],
        ["replay", "orders", "catalog.x"],
    ):
        done = CliRunner().invoke(app, ["events", *arguments, "--data", str(tmp_path)])
        assert done.exit_code == 2, done.output
        assert f"no stack runs on {tmp_path}, nor has one; start one with `jishi up" in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_handler_that_does_not_listen_is_refused_and_nothing_is_written(memory_world, tmp_path):
    database = memory_world.database("accounts")
    database["subscribers"].insert_one({"_id": "catalog.copy_shop", "type": "jishi.accounts.shop.changed.v1"})
    done = CliRunner().invoke(app, ["events", "replay", "accounts", "nosuch.handler", "--data", str(tmp_path)])
    assert done.exit_code == 2, done.output
    assert "catalog.copy_shop" in done.output
    assert database["subscribers"].count_documents({}) == 1
