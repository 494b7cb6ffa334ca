r"""The language between a merchant and the payment channel: WeChat Pay APIv3 signatures and sealed resources.

Neutral code of both sides: pure functions over keys and bytes; times are handed in as wall-clock seconds since 1970. Two messages
are signed with RSA-SHA256 (微信支付 APIv3 签名):

- a merchant's request: ``METHOD\nPATH?QUERY\nTIMESTAMP\nNONCE\nBODY\n`` in the ``Authorization`` header;
- the channel's answers and notifications: ``TIMESTAMP\nNONCE\nBODY\n`` in the ``Wechatpay-*`` headers.

What a notification tells lies in a *resource* sealed with AES-256-GCM under the merchant's 32-byte APIv3 key.
"""

import base64
import binascii
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SCHEME: Final = "WECHATPAY2-SHA256-RSA2048"
ALGORITHM: Final = "AEAD_AES_256_GCM"
TOLERANCE_S: Final = 300
"""A signature older or newer than this many seconds is refused (微信支付 allows five minutes)."""

_FIELD: Final = re.compile(r'(\w+)="([^"]*)"')


class SignatureRefusedError(ValueError):
    """A message that was not signed, not by whom it says, not for what it says, or not lately."""


def nonce() -> str:
    """A fresh random string for one signature: 32 characters."""
    return secrets.token_hex(16)


def sign(key: RSAPrivateKey, message: bytes) -> str:
    """RSA-SHA256 (PKCS #1 v1.5) of ``message``, base64."""
    return base64.b64encode(key.sign(message, padding.PKCS1v15(), hashes.SHA256())).decode()


def verify(key: RSAPublicKey, message: bytes, signature: str) -> None:
    """Raise SignatureRefusedError unless ``signature`` (base64) is the one of ``message``."""
    try:
        key.verify(base64.b64decode(signature, validate=True), message, padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, binascii.Error, ValueError) as error:
        raise SignatureRefusedError("the signature does not fit the message") from error


def _check_age(timestamp: str, now_s: int, tolerance_s: int) -> None:
    if not (timestamp.isascii() and timestamp.isdigit()):
        raise SignatureRefusedError("the timestamp is not a number of seconds")
    if abs(now_s - int(timestamp)) > tolerance_s:
        raise SignatureRefusedError(f"the timestamp is more than {tolerance_s} s away from now")


# --- a merchant's request ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Authorization:
    """What the ``Authorization`` header of a merchant's request says."""

    mchid: str
    serial_no: str
    nonce_str: str
    timestamp: str
    signature: str

    def header(self) -> str:
        """The header's text."""
        return (
            f'{SCHEME} mchid="{self.mchid}",nonce_str="{self.nonce_str}",signature="{self.signature}",'
            f'timestamp="{self.timestamp}",serial_no="{self.serial_no}"'
        )


def parse_authorization(header: str) -> Authorization:
    """Read an ``Authorization`` header (its fields may come in any order). Raises SignatureRefusedError."""
    scheme, _, rest = header.strip().partition(" ")
    if scheme != SCHEME:
        raise SignatureRefusedError(f"the Authorization header must begin with {SCHEME}")
    fields = dict(_FIELD.findall(rest))
    try:
        return Authorization(**{name: fields[name] for name in Authorization.__slots__})
    except KeyError as missing:
        raise SignatureRefusedError(f"the Authorization header lacks {missing.args[0]}") from missing


def request_message(method: str, target: str, timestamp: str, nonce_str: str, body: bytes) -> bytes:
    """The five lines a merchant signs. ``target`` is the path with its query, as sent."""
    return f"{method}\n{target}\n{timestamp}\n{nonce_str}\n".encode() + body + b"\n"


def authorize(credential: "MerchantCredential", method: str, target: str, body: bytes, *, now_s: int) -> str:
    """The ``Authorization`` header for one request of the merchant."""
    timestamp, nonce_str = str(now_s), nonce()
    signature = sign(credential.private_key, request_message(method, target, timestamp, nonce_str, body))
    return Authorization(credential.mchid, credential.serial, nonce_str, timestamp, signature).header()


def check_request(
    key: RSAPublicKey, authorization: Authorization, method: str, target: str, body: bytes, *, now_s: int
) -> None:
    """Raise SignatureRefusedError unless the merchant that owns ``key`` signed this very request within TOLERANCE_S."""
    _check_age(authorization.timestamp, now_s, TOLERANCE_S)
    message = request_message(method, target, authorization.timestamp, authorization.nonce_str, body)
    verify(key, message, authorization.signature)


# --- the channel's answers and notifications --------------------------------------------------------------------------


def answer_message(timestamp: str, nonce_str: str, body: bytes) -> bytes:
    """The three lines the channel signs; an empty body (204) leaves an empty line."""
    return f"{timestamp}\n{nonce_str}\n".encode() + body + b"\n"


def answer_headers(key: RSAPrivateKey, serial: str, body: bytes, *, now_s: int) -> dict[str, str]:
    """The ``Wechatpay-*`` headers for a body that the channel sends."""
    timestamp, nonce_str = str(now_s), nonce()
    return {
        "Wechatpay-Timestamp": timestamp,
        "Wechatpay-Nonce": nonce_str,
        "Wechatpay-Serial": serial,
        "Wechatpay-Signature": sign(key, answer_message(timestamp, nonce_str, body)),
        "Wechatpay-Signature-Type": SCHEME,
    }


def check_answer(key: RSAPublicKey, serial: str, headers: Mapping[str, str], body: bytes, *, now_s: int) -> None:
    """Raise SignatureRefusedError unless the channel (``key``, known as ``serial``) signed ``body`` within TOLERANCE_S.

    Header names in any case. A 2xx answer without signature must be taken as forged.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    try:
        timestamp, nonce_str = lower["wechatpay-timestamp"], lower["wechatpay-nonce"]
        signed_by, signature = lower["wechatpay-serial"], lower["wechatpay-signature"]
    except KeyError as missing:
        raise SignatureRefusedError(f"the header {missing.args[0]} is missing") from missing
    if signed_by != serial:
        raise SignatureRefusedError("signed under a serial number that is not the channel's")
    _check_age(timestamp, now_s, TOLERANCE_S)
    verify(key, answer_message(timestamp, nonce_str, body), signature)


# --- sealed resources -------------------------------------------------------------------------------------------------


def seal(apiv3_key: str, plaintext: bytes, *, original_type: str, associated_data: str) -> dict[str, str]:
    """Encrypt ``plaintext`` into a notification's ``resource`` object. ``apiv3_key`` is 32 ASCII characters."""
    nonce_str = secrets.token_urlsafe(9)  # 12 characters, 72 random bits
    ciphertext = AESGCM(apiv3_key.encode()).encrypt(nonce_str.encode(), plaintext, associated_data.encode())
    return {
        "original_type": original_type,
        "algorithm": ALGORITHM,
        "ciphertext": base64.b64encode(ciphertext).decode(),
        "associated_data": associated_data,
        "nonce": nonce_str,
    }


def open_sealed(apiv3_key: str, resource: Mapping[str, str]) -> bytes:
    """Decrypt a notification's ``resource``. Raises SignatureRefusedError where it was sealed with another key or altered."""
    try:
        if resource["algorithm"] != ALGORITHM:
            raise SignatureRefusedError(f"the resource is not sealed with {ALGORITHM}")
        ciphertext = base64.b64decode(resource["ciphertext"], validate=True)
        associated_data = resource.get("associated_data", "").encode()
        return AESGCM(apiv3_key.encode()).decrypt(resource["nonce"].encode(), ciphertext, associated_data)
    except (InvalidTag, KeyError, binascii.Error, ValueError) as error:
        raise SignatureRefusedError("the resource cannot be opened with this key") from error


# --- keys -------------------------------------------------------------------------------------------------------------


def private_key(pem: bytes) -> RSAPrivateKey:
    """An RSA private key from unencrypted PEM. Raises ValueError for what is no PEM, TypeError for another kind of key."""
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, RSAPrivateKey):
        raise TypeError("not an RSA private key")
    return key


def public_key(pem: bytes) -> RSAPublicKey:
    """An RSA public key from PEM. Raises ValueError for what is no PEM, TypeError for another kind of key."""
    key = serialization.load_pem_public_key(pem)
    if not isinstance(key, RSAPublicKey):
        raise TypeError("not an RSA public key")
    return key


@dataclass(frozen=True, slots=True)
class MerchantCredential:
    """All that a merchant needs to talk to the channel and to believe it."""

    mchid: str
    serial: str
    """Serial number of the merchant's own key."""
    private_key: RSAPrivateKey
    apiv3_key: str
    platform_serial: str
    platform_key: RSAPublicKey
    base_url: str


def read_credential(folder: Path) -> MerchantCredential:
    """The credential in ``folder``: merchant.json, merchant_private.pem, platform_public.pem.

    The channel writes merchant.json last, so where it is there all is there. Raises FileNotFoundError until then.
    """
    told = json.loads((folder / "merchant.json").read_text(encoding="utf-8"))
    return MerchantCredential(
        mchid=told["mchid"],
        serial=told["serial"],
        private_key=private_key((folder / "merchant_private.pem").read_bytes()),
        apiv3_key=told["apiv3_key"],
        platform_serial=told["platform_serial"],
        platform_key=public_key((folder / "platform_public.pem").read_bytes()),
        base_url=told["base_url"],
    )
