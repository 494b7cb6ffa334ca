"""The language between merchant and channel: what is signed, what is refused."""

import json

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from services.channel.keys import open_keys
from services.chassis import channel_signing as signing
from services.chassis import clock

NOW = 1_767_578_400


@pytest.fixture(scope="module")
def keys():
    return generate_private_key(65537, 2048), generate_private_key(65537, 2048)


def test_the_five_lines_of_a_request():
    assert signing.request_message("GET", "/v3/x?y=1", "1", "n", b"") == b"GET\n/v3/x?y=1\n1\nn\n\n"
    assert signing.request_message("POST", "/v3/x", "1", "n", b"{}") == b"POST\n/v3/x\n1\nn\n{}\n"


def test_the_three_lines_of_an_answer():
    assert signing.answer_message("1", "n", b"{}") == b"1\nn\n{}\n"
    assert signing.answer_message("1", "n", b"") == b"1\nn\n\n"


def test_an_answer_is_believed_only_as_it_was_signed(keys):
    key, other = keys
    headers = signing.answer_headers(key, "S1", b"{}", now_s=NOW)
    lower = {name.lower(): value for name, value in headers.items()}
    signing.check_answer(key.public_key(), "S1", headers, b"{}", now_s=NOW + signing.TOLERANCE_S)
    signing.check_answer(key.public_key(), "S1", lower, b"{}", now_s=NOW - signing.TOLERANCE_S)
    wrong = [
        (key, "S1", headers, b"{ }", NOW),
        (other, "S1", headers, b"{}", NOW),
        (key, "S2", headers, b"{}", NOW),
        (key, "S1", headers, b"{}", NOW + signing.TOLERANCE_S + 1),
        (key, "S1", headers, b"{}", NOW - signing.TOLERANCE_S - 1),
        (key, "S1", headers | {"Wechatpay-Nonce": "x"}, b"{}", NOW),
        (key, "S1", headers | {"Wechatpay-Timestamp": str(NOW + 1)}, b"{}", NOW),
        (key, "S1", headers | {"Wechatpay-Timestamp": "-1"}, b"{}", NOW),
        (key, "S1", headers | {"Wechatpay-Signature": "%%%"}, b"{}", NOW),
        (key, "S1", {}, b"{}", NOW),
    ]
    for by, serial, told, body, now_s in wrong:
        with pytest.raises(signing.SignatureRefusedError):
            signing.check_answer(by.public_key(), serial, told, body, now_s=now_s)


def test_a_request_is_believed_only_as_it_was_signed(tmp_path):
    ring = open_keys(tmp_path, "1900000109", "http://channel")
    merchant = signing.read_credential(tmp_path / "merchant")
    header = signing.authorize(merchant, "POST", "/v3/x", b"{}", now_s=NOW)
    told = signing.parse_authorization(header)
    assert (told.mchid, told.serial_no, told.timestamp) == ("1900000109", ring.merchant_serial, str(NOW))
    signing.check_request(ring.merchant_key, told, "POST", "/v3/x", b"{}", now_s=NOW)
    for method, target, body in (("GET", "/v3/x", b"{}"), ("POST", "/v3/y", b"{}"), ("POST", "/v3/x", b"")):
        with pytest.raises(signing.SignatureRefusedError):
            signing.check_request(ring.merchant_key, told, method, target, body, now_s=NOW)


@pytest.mark.parametrize("header", ["", "Bearer x", signing.SCHEME, f'{signing.SCHEME} mchid="1",nonce_str="2"'])
def test_a_header_that_says_too_little_is_refused(header):
    with pytest.raises(signing.SignatureRefusedError):
        signing.parse_authorization(header)


def test_the_fields_of_the_header_come_in_any_order():
    told = signing.Authorization("1", "2", "3", "4", "5+/=")
    scheme, _, fields = told.header().partition(" ")
    backwards = ",".join(reversed(fields.split(",")))
    assert signing.parse_authorization(f"{scheme} {backwards}") == told


def test_a_sealed_resource_opens_with_its_key_only():
    key, other = "k" * 32, "o" * 32
    sealed = signing.seal(key, "付".encode(), original_type="transaction", associated_data="transaction")
    assert (sealed["algorithm"], len(sealed["nonce"])) == ("AEAD_AES_256_GCM", 12)
    assert signing.open_sealed(key, sealed).decode() == "付"
    altered = [
        sealed | {"associated_data": "refund"},
        sealed | {"algorithm": "AES"},
        sealed | {"ciphertext": "A" + sealed["ciphertext"][1:] if sealed["ciphertext"][0] != "A" else "B"},
        sealed | {"nonce": "x" * 12},
        {name: value for name, value in sealed.items() if name != "nonce"},
    ]
    for resource in altered:
        with pytest.raises(signing.SignatureRefusedError):
            signing.open_sealed(key, resource)
    with pytest.raises(signing.SignatureRefusedError):
        signing.open_sealed(other, sealed)


def test_only_rsa_keys_are_taken():
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(TypeError):
        signing.private_key(private)
    with pytest.raises(TypeError):
        signing.public_key(public)


def test_keys_are_made_once_and_the_address_is_told_anew(tmp_path):
    first = open_keys(tmp_path, "1900000109", "http://one")
    second = open_keys(tmp_path, "1900000109", "http://two")
    assert (first.platform_serial, first.merchant_serial, first.apiv3_key) == (
        second.platform_serial,
        second.merchant_serial,
        second.apiv3_key,
    )
    assert json.loads((tmp_path / "merchant" / "merchant.json").read_text())["base_url"] == "http://two"


def test_a_start_killed_between_two_files_goes_on(tmp_path):
    whole = open_keys(tmp_path, "1900000109", "http://one")
    for name in ("merchant_public.pem", "merchant/merchant.json", "merchant/platform_public.pem"):
        (tmp_path / name).unlink()
    again = open_keys(tmp_path, "1900000109", "http://one")
    assert again.merchant_serial == whole.merchant_serial
    headers = signing.answer_headers(again.platform_key, again.platform_serial, b"", now_s=clock.wall_ms() // 1000)
    merchant = signing.read_credential(tmp_path / "merchant")
    signing.check_answer(merchant.platform_key, merchant.platform_serial, headers, b"", now_s=clock.wall_ms() // 1000)


def test_a_merchant_that_took_its_private_key_away_keeps_its_door(tmp_path):
    whole = open_keys(tmp_path, "1900000109", "http://one")
    (tmp_path / "merchant" / "merchant_private.pem").unlink()
    assert open_keys(tmp_path, "1900000109", "http://one").merchant_serial == whole.merchant_serial
    assert not (tmp_path / "merchant" / "merchant_private.pem").exists()
