"""The QR code of a native payment (扫码支付) as an image."""

import io
from typing import Final

import segno

from services.chassis.errors import Refusal
from services.chassis.mongo import Document
from services.payments.model import payable

PIXELS_A_MODULE: Final = 8
QUIET_MODULES: Final = 4
"""The margin that ISO/IEC 18004 asks for."""
TYPES: Final = {"png": "image/png", "svg": "image/svg+xml"}


def image(found: Document, number: str, kind: str) -> bytes:
    """The payment's ``code_url`` as a QR code, ``kind`` png or svg, error correction M. Raises Refusal WRONG_STATE: there is no code."""
    attempt = found["payments"][payable.position(found, number)]
    text = attempt.get("code_url", "")
    if not text or attempt["state"] != payable.WAITING:
        message = f"payment {attempt['payment_id']} has no code to scan: only an open one of method native has"
        raise Refusal("WRONG_STATE", message)
    out = io.BytesIO()
    segno.make(text, error="m", micro=False).save(out, kind=kind, scale=PIXELS_A_MODULE, border=QUIET_MODULES)
    return out.getvalue()
