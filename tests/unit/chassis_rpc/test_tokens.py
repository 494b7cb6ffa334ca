"""Tokens, keys and revocations."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from services.chassis import clock, jwks, keys, pages, revocations
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


def test_a_key_that_was_changed_leaves_its_public_part_for_the_tokens_it_signed(settings):
    old = Signer(settings, "accounts").mint("buyer", "u1", lifetime_s=60).text
    verifier = Verifier(settings)
    (settings.keys / "accounts.key.json").unlink()
    with ThreadPoolExecutor(8) as pool:
        signers = list(pool.map(lambda _: Signer(settings, "accounts"), range(16)))
    kids = {signer._header["kid"] for signer in signers}
    assert len(kids) == 1
    new = signers[0].mint("buyer", "u2", lifetime_s=60).text
    for reader in (verifier, Verifier(settings)):
        assert (reader.verify(new).subject, reader.verify(old).subject) == ("u2", "u1")
    shown = jwks.document(settings.keys, "accounts")["keys"]
    assert len(shown) == 2
    assert kids < {key["kid"] for key in shown}
    for path in settings.keys.glob("accounts.*.pub.json"):
        path.unlink()
    with pytest.raises(Refusal, match="UNAUTHENTICATED"):
        Verifier(settings).verify(old)


class Elsewhere:
    """A service on another machine: its own folder of keys, and the door at which it shows them."""

    def __init__(self, settings, service, folder, port=0):
        self.service = service
        told = {"keys_dir": folder / f"keys-of-{service}", "jwks_listen": {service: f"127.0.0.1:{port}"}}
        self.settings = settings.model_copy(update=told)
        self.signer = Signer(self.settings, service)
        self.open()

    def open(self):
        self.door = jwks.serve(self.settings, self.service)
        self.url = f"http://127.0.0.1:{self.door.server_port}{jwks.PATH}"

    def close(self):
        self.door.shutdown()
        self.door.server_close()

    def rotate(self):
        (self.settings.keys / f"{self.service}.key.json").unlink()
        self.signer = Signer(self.settings, self.service)

    def token(self, subject="u1", kind="buyer"):
        return self.signer.mint(kind, subject, lifetime_s=60).text


@pytest.fixture
def accounts(settings, tmp_path):
    there = Elsewhere(settings, "accounts", tmp_path)
    yield there
    there.close()


@pytest.fixture
def far(settings, tmp_path, accounts):
    """The settings of a machine that has no key but asks accounts."""
    return settings.model_copy(update={"keys_dir": tmp_path / "nothing", "jwks": {"accounts": accounts.url}})


@pytest.fixture
def asked(monkeypatch):
    """The URLs that were asked for keys."""
    found, get = [], httpx.get
    monkeypatch.setattr(httpx, "get", lambda url, **how: found.append(url) or get(url, **how))
    return found


def test_a_door_shows_public_keys_and_nothing_else(accounts):
    (accounts.settings.keys / "broken.pub.json").write_text("{", encoding="utf-8")
    Signer(accounts.settings, "orders")
    answer = httpx.get(accounts.url)
    (shown,) = answer.json()["keys"]
    assert set(shown) == {"kty", "crv", "x", "kid", "use"}
    assert shown["kid"] == accounts.signer._header["kid"]
    assert answer.headers["content-type"] == "application/jwk-set+json"
    for path in ("/", "/accounts.key.json", "/../accounts.key.json"):
        assert httpx.get(accounts.url.replace(jwks.PATH, path)).status_code == 404
    assert httpx.post(accounts.url).status_code == 404


def test_keys_of_another_machine_are_fetched_once_and_kept_while_it_is_away(accounts, far, asked):
    verifier = Verifier(far)
    with ThreadPoolExecutor(8) as pool:
        subjects = list(pool.map(lambda n: verifier.verify(accounts.token(f"u{n}")).subject, range(16)))
    assert subjects == [f"u{n}" for n in range(16)]
    assert asked == [accounts.url]
    accounts.close()
    verifier._ring._pages["accounts"]._read_at -= keys.JWKS_FRESH_S + 1
    assert verifier.verify(accounts.token("u99")).subject == "u99"
    assert len(asked) == 2
    accounts.open()


def test_a_changed_key_of_another_machine_is_found_by_its_id(accounts, far, asked):
    verifier, old = Verifier(far), accounts.token("u1")
    assert verifier.verify(old)
    accounts.rotate()
    verifier._ring._pages["accounts"]._read_at -= keys.LOOK_AGAIN_S + 0.1
    assert verifier.verify(accounts.token("u2")).subject == "u2"
    assert verifier.verify(accounts.token("u3")).subject == "u3"
    assert len(asked) == 2
    assert Verifier(far).verify(old).subject == "u1", "it lives until it ends"


def test_unknown_keys_are_refused_and_cause_no_flood(accounts, far, asked):
    verifier = Verifier(far)
    stranger = Elsewhere(accounts.settings, "accounts", accounts.settings.keys)  # calls itself accounts
    for number in range(20):
        with pytest.raises(Refusal, match="UNAUTHENTICATED"):
            verifier.verify(stranger.token(f"u{number}"))
    assert len(asked) == 1
    stranger.close()


@pytest.mark.parametrize("kid", ["nobody.x", "../accounts.x", "http://elsewhere.example/.x", "accounts", "", "."])
def test_the_token_does_not_choose_who_is_asked(far, asked, kid):
    assert keys.Ring(far).find(kid) is None
    assert asked in ([], [far.jwks["accounts"]])


def test_a_service_vouches_for_no_other_ones_key(settings, tmp_path, accounts):
    """orders publishes a key that calls itself one of accounts: with it orders could make admins."""
    orders = Elsewhere(settings, "orders", tmp_path)
    forger = Elsewhere(settings, "accounts", tmp_path / "forged")
    far = settings.model_copy(
        update={"keys_dir": tmp_path / "nothing", "jwks": {"accounts": accounts.url, "orders": forger.url}}
    )
    text = forger.token("u1", "admin")
    verifier = Verifier(far)
    with pytest.raises(Refusal, match="UNAUTHENTICATED"):
        verifier.verify(orders.signer.own())
    with pytest.raises(Refusal, match="UNAUTHENTICATED"):
        verifier.verify(text)
    orders.close()
    forger.close()


def test_while_nobody_can_tell_whether_a_key_is_good_the_answer_is_not_yet(accounts, far):
    accounts.close()
    verifier, text = Verifier(far), accounts.token()
    for _ in range(2):
        with pytest.raises(Refusal, match="UNAVAILABLE"):
            verifier.verify(text)
    accounts.open()
    far.jwks["accounts"] = accounts.url
    assert Verifier(far).verify(text).subject == "u1"


@pytest.mark.parametrize("body", [b"", b"[]", b'{"keys": 7}', b'{"keys": [7]}', b'{"other": 1}'])
def test_what_is_no_jwks_document_is_as_good_as_none(settings, tmp_path, body):
    def odd(_, start):
        start("200 OK", [])
        return [body]

    server = pages.show("127.0.0.1:0", "odd", odd)
    url = f"http://127.0.0.1:{server.server_port}/jwks.json"
    ring = keys.Ring(settings.model_copy(update={"keys_dir": tmp_path / "nothing", "jwks": {"accounts": url}}))
    with pytest.raises(Refusal, match="UNAVAILABLE"):
        ring.find("accounts.x")
    server.shutdown()
    server.server_close()


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
        revoked_event(subject="app_1", shop_id="shop_1", issued_before=before, expire_time=later),
    ]
    for event in [*events, *events]:
        state = handler.load(database, event)
        decision = handler.decide(state, event)
        if decision.verdict is Verdict.APPLY:
            handler.apply(Delivery(database, event, None, "row", waited=False), state, decision)
        assert handler.decide(handler.load(database, event), event).verdict is Verdict.DONE
    read = revocations.read(database)
    moment = clock.ms(before) // 1000
    assert read == Revoked(frozenset({"tok_1"}), {("u1", ""): moment, ("app_1", "shop_1"): moment})
    old = int(before.timestamp()) - 10
    assert read.holds(Caller("buyer", "u1", issued_at=old))
    assert not read.holds(Caller("buyer", "u1", issued_at=old + 3600))
    assert read.holds(Caller("merchant", "app_1", shop_id="shop_1", issued_at=old))
    assert not read.holds(Caller("merchant", "app_1", shop_id="shop_2", issued_at=old)), "what another shop does"
    assert read.holds(Caller("buyer", "u2", jti="tok_1", issued_at=old))


def test_a_revocation_of_tokens_that_have_ended_matters_to_nobody():
    event = revoked_event(token_id="tok_1", expire_time=clock.wall() - timedelta(seconds=1))
    assert revocations.HANDLER.decide(None, event).verdict is Verdict.STALE
