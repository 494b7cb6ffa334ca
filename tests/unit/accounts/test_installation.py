"""The installation's own secrets, and what the protos ask of tokens."""

import threading

import pytest

from services.accounts import model
from services.accounts.commands import credentials
from services.accounts.store.installation import bootstrap_secret, installation_key, once
from services.chassis.rpc import methods_of
from services.chassis.settings import SERVICES, Settings


def test_a_secret_file_is_made_once_by_however_many(tmp_path):
    path = tmp_path / "deep" / "secret"
    found = []
    makers = [threading.Thread(target=lambda n=n: found.append(once(path, f"made by {n}"))) for n in range(8)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert len(found) == 8
    assert set(found) == {path.read_text(encoding="utf-8").strip()}
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["secret"]


def test_the_installation_key_stays_and_the_environment_comes_first(tmp_path, monkeypatch):
    settings = Settings(data_dir=tmp_path)
    key = installation_key(settings)
    assert installation_key(settings) == key
    assert len(key) == 32
    monkeypatch.setenv("JISHI_INSTALLATION_KEY", "ab" * 32)
    assert installation_key(settings) == b"\xab" * 32
    monkeypatch.setenv("JISHI_INSTALLATION_KEY", "abcd")
    with pytest.raises(ValueError, match="64 hex digits"):
        installation_key(settings)


def test_the_bootstrap_secret_comes_from_the_environment_or_the_file(tmp_path):
    assert bootstrap_secret(Settings(data_dir=tmp_path)) == ""
    (tmp_path / "bootstrap-secret").write_text("from file\n", encoding="utf-8")
    assert bootstrap_secret(Settings(data_dir=tmp_path)) == "from file"
    assert bootstrap_secret(Settings(data_dir=tmp_path, bootstrap_secret="given")) == "given"


def test_a_derived_secret_is_its_owners_alone_and_any_hash_of_it_matches():
    one, other = (credentials.derived_secret(b"k" * 32, owner) for owner in ("wx1", "wx2"))
    assert one != other
    assert credentials.derived_secret(b"l" * 32, "wx1") != one
    assert credentials.matches([credentials.hashed(other), credentials.hashed(one)], one)
    assert not credentials.matches([credentials.hashed(other), "no hash"], one)


def test_every_scope_that_an_rpc_asks_for_can_be_given_to_an_app():
    asked = {method.rule.scope for service in SERVICES for method in methods_of(service).values()} - {""}
    assert asked <= set(model.SCOPES)
    assert asked, "some rpc asks for a scope"
