"""Tokens, keys and revocations."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from services.chassis import clock, keys, revocations
from services.chassis.decisions import Verdict
from services.chassis.errors import Refusal
from services.chassis.events import Event
from services.chassis.reacting import Delivery
from services.chassis.tokens import Caller, Revoked, Signer, Verifier


def test_a_minted_token_says_who_it_is_for(settings):
    minted = Signer(settings, "accounts").mint(
        "merchant", "acc_1", lifetime_s=60, scopes=["b", "a"], shop_id="s", account_id="acc_1", jti="tok_1"
    )
    caller = Verifier(settings).verify(minted.text)
    assert (caller.kind, caller.subject, caller.shop_id, caller.account_id) == ("merchant", "acc_1", "s", "acc_1")
    assert caller.scopes == {"a", "b"}
    assert (caller.jti, caller.expires_at) == ("tok_1", minted.expires_at)
    assert caller.identity == "merchant:acc_1"
    assert caller.service == ""


def test_a_kind_that_does_not_exist_is_not_signed(settings):
    with pytest.raises(KeyError):
        Signer(settings, "accounts").mint("emperor", "x", lifetime_s=1)


def test_only_accounts_vouches_for_people(settings):
    text = Signer(settings, "orders").mint("buyer", "u1", lifetime_s=60).text
    with pytest.raises(Refusal, match="UNAUTHENTICATED"):
        Verifier(settings).verify(text)


def test_a_service_speaks_only_for_itself(settings):
    text = Signer(settings, "orders").mint("service", "payments", lifetime_s=60).text
    with pytest.raises(Refusal, match="UNAUTHENTICATED"):
        Verifier(settings).verify(text)
    assert Verifier(settings).verify(Signer(settings, "orders").own()).service == "orders"


def forged(settings, **changes) -> str:
    """A token whose claims or header are not what its signer would write."""
    signer = Signer(settings, "accounts")
    now = clock.wall_ms() // 1000
    claims = {"iss": "accounts", "sub": "u1", "kind": "buyer", "jti": "t", "iat": now, "exp": now + 60, **changes}
    return jwt.encode(
        signer._header, {k: v for k, v in claims.items() if v is not None}, signer._key, algorithms=["Ed25519"]
    )


@pytest.mark.parametrize(
    "changes",
    [{"iss": "orders"}, {"kind": "god"}, {"sub": ""}, {"exp": None}, {"exp": "soon"}, {"iat": 2**40}, {"jti": None}],
)
def test_claims_that_do_not_fit_are_refused_though_the_signature_is_good(settings, changes):
    assert Verifier(settings).verify(forged(settings)).subject == "u1"
    with pytest.raises(Refusal, match="UNAUTHENTICATED"):
        Verifier(settings).verify(forged(settings, **changes))


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "e30.e30.", "\x00", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0."])
def test_what_is_no_token_is_refused(settings, text):
    with pytest.raises(Refusal, match="UNAUTHENTICATED"):
        Verifier(settings).verify(text)


def test_another_algorithm_is_refused_even_with_the_public_key_as_secret(settings):
    signer = Signer(settings, "accounts")
    public = (settings.keys / "accounts.pub.json").read_text()
    header = {**signer._header, "alg": "HS256"}
    text = jwt.encode(
        header, {"iss": "accounts", "sub": "u", "kind": "admin"}, OctKey.import_key(public), algorithms=["HS256"]
    )
    with pytest.raises(Refusal, match="UNAUTHENTICATED"):
        Verifier(settings).verify(text)


def test_a_verified_token_still_expires(settings, monkeypatch):
    verifier, minted = Verifier(settings), Signer(settings, "accounts").mint("buyer", "u", lifetime_s=60)
    assert verifier.verify(minted.text)
    monkeypatch.setattr(clock, "wall_ms", lambda: minted.expires_at * 1000)
    with pytest.raises(Refusal, match="TOKEN_EXPIRED"):
        verifier.verify(minted.text)


def test_a_services_own_token_is_made_anew_before_it_ends(settings, monkeypatch):
    signer = Signer(settings, "orders")
    first = signer.own()
    assert signer.own() == first
    now = clock.wall_ms()
    monkeypatch.setattr(clock, "wall_ms", lambda: now + 700_000)
    assert signer.own() != first


def test_what_is_remembered_of_tokens_is_bounded(settings, monkeypatch):
    monkeypatch.setattr("services.chassis.tokens.CACHED", 10)
    verifier, signer = Verifier(settings), Signer(settings, "accounts")
    for number in range(25):
        assert verifier.verify(signer.mint("buyer", f"u{number}", lifetime_s=60).text).subject == f"u{number}"
    assert len(verifier._known) <= 10


def test_many_who_make_the_key_at_once_get_the_same(tmp_path):
    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(lambda _: keys.ensure(tmp_path / "keys", "orders").thumbprint(), range(32)))
    assert len(set(made)) == 1
    folder = tmp_path / "keys"
    assert sorted(path.name for path in folder.iterdir()) == ["orders.key.json", "orders.pub.json"]
    assert (folder / "orders.key.json").stat().st_mode & 0o777 == 0o600
    assert "d" not in json.loads((folder / "orders.pub.json").read_text())


class Jwks(BaseHTTPRequestHandler):
    """Serves the public keys of a folder, as an identity provider would."""

    folder = None
    asked = 0

    def do_GET(self):
        type(self).asked += 1
        body = json.dumps({"keys": [json.loads(path.read_text()) for path in self.folder.glob("*.pub.json")]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Quiet."""


def test_keys_come_from_a_url_where_there_is_no_folder_and_are_kept_while_it_is_away(settings, tmp_path):
    text = Signer(settings, "accounts").mint("buyer", "u1", lifetime_s=60).text
    handler = type("Handler", (Jwks,), {"folder": settings.keys})
    server = HTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/jwks.json"
    far = settings.model_copy(update={"keys_dir": tmp_path / "nothing", "jwks_url": url})
    ring = keys.Ring(far)
    kid = Signer(settings, "accounts")._header["kid"]
    assert ring.find(kid) is not None
    assert ring.find("accounts.unknown") is None
    assert handler.asked == 1, "a forged key id right after a reading causes no second one"
    verifier = Verifier(far)
    assert verifier.verify(text).subject == "u1"
    server.shutdown()
    server.server_close()
    ring._read_at -= keys.JWKS_FRESH_S + 1
    assert ring.find(kid) is not None


def revoked_event(**data) -> Event:
    return Event(
        "e1", "jishi.accounts.token.revoked.v1", "x", 1, clock.wall(), {"token_id": "", "subject": "u1", **data}
    )


def test_revocations_are_written_once_and_read_back(memory_world):
    database = memory_world.database("desk")
    handler, later = revocations.HANDLER, clock.wall() + timedelta(hours=1)
    before = clock.wall()
    events = [
        revoked_event(token_id="tok_1", expire_time=later),
        revoked_event(issued_before=before, expire_time=later),
        revoked_event(issued_before=before - timedelta(days=1), expire_time=later),
    ]
    for event in [*events, *events]:
        state = handler.load(database, event)
        decision = handler.decide(state, event)
        if decision.verdict is Verdict.APPLY:
            handler.apply(Delivery(database, event, None, "row", waited=False), state, decision)
        assert handler.decide(handler.load(database, event), event).verdict is Verdict.DONE
    read = revocations.read(database)
    assert read == Revoked(frozenset({"tok_1"}), {"u1": clock.ms(before) // 1000})
    old = int(before.timestamp()) - 10
    assert read.holds(Caller("buyer", "u1", issued_at=old))
    assert not read.holds(Caller("buyer", "u1", issued_at=old + 3600))
    assert read.holds(Caller("buyer", "u2", jti="tok_1", issued_at=old))


def test_a_revocation_of_tokens_that_have_ended_matters_to_nobody():
    event = revoked_event(token_id="tok_1", expire_time=clock.wall() - timedelta(seconds=1))
    assert revocations.HANDLER.decide(None, event).verdict is Verdict.STALE
