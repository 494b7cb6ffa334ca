"""The older language between a merchant and the payment channel: WeChat Pay v2, XML signed with MD5 or HMAC-SHA256.

Neutral code of both sides, pure. A message is a flat ``<xml>`` of text elements, here a dict of texts. It is signed over its non-empty
fields in the order of their names, ``sign`` left out, fields nobody knows included: ``a=1&b=2&key=<API key>``, upper-case hexadecimal
(安全规范 of the v2 manual).
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Final
from xml.parsers import expat
from xml.sax.saxutils import escape

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from services.chassis.channel_signing import SignatureRefusedError

MD5: Final = "MD5"
HMAC_SHA256: Final = "HMAC-SHA256"
KINDS: Final = (MD5, HMAC_SHA256)
LARGEST: Final = 65_536
"""Bytes of a message; a detail field has at most 6,000 characters."""
_DEPTH: Final = 2


class BadXmlError(ValueError):
    """Bytes that are no flat XML message: XML_FORMAT_ERROR."""


def sign(fields: Mapping[str, str], key: str, kind: str = MD5) -> str:
    """The signature of a message under the API ``key``. ``kind``: MD5 or HMAC-SHA256."""
    told = "&".join(f"{name}={fields[name]}" for name in sorted(fields) if fields[name] and name != "sign")
    text = f"{told}&key={key}".encode()
    if kind == HMAC_SHA256:
        return hmac.new(key.encode(), text, hashlib.sha256).hexdigest().upper()
    return hashlib.md5(text, usedforsecurity=False).hexdigest().upper()


def signed(fields: Mapping[str, str], key: str, kind: str = MD5) -> dict[str, str]:
    """The message with a fresh ``nonce_str`` and its ``sign``."""
    whole = {**fields, "nonce_str": secrets.token_hex(16)}
    return {**whole, "sign": sign(whole, key, kind)}


def verify(fields: Mapping[str, str], key: str, kind: str = "") -> None:
    """Raise SignatureRefusedError unless ``sign`` is that of the message. ``kind`` empty: what its ``sign_type`` says, else MD5."""
    chosen = kind or fields.get("sign_type") or MD5
    if chosen not in KINDS:
        raise SignatureRefusedError(f"sign_type must be one of {', '.join(KINDS)}")
    if not hmac.compare_digest(sign(fields, key, chosen).encode(), fields.get("sign", "").encode()):
        raise SignatureRefusedError("the signature does not fit the message")


# ---------------------------------------------------------------------------------------------------------------------------- XML


def to_xml(fields: Mapping[str, str]) -> bytes:
    """``<xml><a>1</a>…</xml>``: names in order, values escaped; empty ones are left out."""
    inner = "".join(f"<{name}>{escape(fields[name])}</{name}>" for name in sorted(fields) if fields[name])
    return f"<xml>{inner}</xml>".encode()


def from_xml(body: bytes) -> dict[str, str]:
    """The fields of a message. Raises BadXmlError for what is no flat ``<xml>``.

    Nothing may declare a document type, so no entity is ever defined, expanded or fetched.
    """
    if len(body) > LARGEST:
        raise BadXmlError(f"more than {LARGEST} bytes")
    reader = _Reader()
    parser = expat.ParserCreate(encoding="utf-8")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = reader.doctype
    parser.StartElementHandler, parser.EndElementHandler = reader.start, reader.end
    parser.CharacterDataHandler = reader.text
    try:
        parser.Parse(body, True)
    except expat.ExpatError as error:
        raise BadXmlError(str(error)) from error
    return reader.fields


class _Reader:
    """Collects the elements right below the root."""

    def __init__(self) -> None:
        self.fields: dict[str, str] = {}
        self._open: list[str] = []

    def doctype(self, *_: object) -> None:
        raise BadXmlError("a document type is not allowed")

    def start(self, name: str, _attributes: Mapping[str, str]) -> None:
        self._open.append(name)
        if self._open[0] != "xml" or len(self._open) > _DEPTH:
            raise BadXmlError("must be a flat <xml> message")
        if len(self._open) == _DEPTH:
            if name in self.fields:
                raise BadXmlError(f"{name} is there twice")
            self.fields[name] = ""

    def end(self, _name: str) -> None:
        self._open.pop()

    def text(self, data: str) -> None:
        if len(self._open) == _DEPTH:
            self.fields[self._open[-1]] += data


# ------------------------------------------------------------------------------------------------------------------- refund notices


def seal(key: str, plaintext: bytes) -> str:
    """``req_info`` of a refund notification (退款结果通知): AES-256-ECB, PKCS #7, under the MD5 of the API key, base64."""
    padder = padding.PKCS7(128).padder()
    encryptor = _cipher(key).encryptor()
    return base64.b64encode(
        encryptor.update(padder.update(plaintext) + padder.finalize()) + encryptor.finalize()
    ).decode()


def open_sealed(key: str, req_info: str) -> bytes:
    """What ``seal`` sealed. Raises SignatureRefusedError where it was another key."""
    decryptor, unpadder = _cipher(key).decryptor(), padding.PKCS7(128).unpadder()
    try:
        padded = decryptor.update(base64.b64decode(req_info, validate=True)) + decryptor.finalize()
        return unpadder.update(padded) + unpadder.finalize()
    except ValueError as error:
        raise SignatureRefusedError("req_info cannot be opened with this key") from error


def _cipher(key: str) -> Cipher[modes.ECB]:
    digest = hashlib.md5(key.encode(), usedforsecurity=False).hexdigest()
    # The v2 manual asks for ECB; old merchants open nothing else.
    return Cipher(algorithms.AES256(digest.encode()), modes.ECB())  # noqa: S305 - the mode is the protocol's


def api_key(apiv3_key: str) -> str:
    """The v2 API key (API 密钥) that belongs to an APIv3 key: 32 characters. A mock has both from one secret."""
    return hashlib.sha256(b"v2:" + apiv3_key.encode()).hexdigest()[:32]
