"""Refusals as HTTP answers: RFC 9457 problem documents."""

from typing import Any, Final

import orjson

from services.chassis.errors import REASONS, Refusal

CONTENT_TYPE: Final = b"application/problem+json"
_OWN: Final = frozenset({"type", "title", "status", "detail", "instance", "reason", "errcode", "errors"})
Headers = list[tuple[bytes, bytes]]


def problem(refusal: Refusal, trace_id: str) -> tuple[int, Headers, bytes]:
    """Status, headers and body of a refusal.

    Body: type, title, status, detail, instance (the trace), reason, errcode (WeChat's number), errors (``[{field, message}]``, where
    fields are wrong), and everything dynamic of the refusal by name (``reset_at``).
    """
    reason = REASONS[refusal.reason]
    document: dict[str, Any] = {
        "type": f"urn:jishi:reason:{refusal.reason}",
        "title": refusal.reason.replace("_", " ").capitalize(),
        "status": reason.http,
        "detail": refusal.message,
        "instance": f"urn:trace:{trace_id}",
        "reason": refusal.reason,
        "errcode": reason.errcode,
    }
    if refusal.violations:
        document["errors"] = [{"field": found.field, "message": found.message} for found in refusal.violations]
    document.update({name: value for name, value in refusal.info.items() if name not in _OWN})
    return reason.http, _headers(refusal, reason.http), orjson.dumps(document)


def _headers(refusal: Refusal, status: int) -> Headers:
    headers: Headers = [(b"content-type", CONTENT_TYPE), (b"cache-control", b"no-store")]
    if refusal.retry_after_s is not None:
        headers.append((b"retry-after", str(refusal.retry_after_s).encode()))
    if status == 429:
        quota = {
            "limit": refusal.info.get("limit"),
            "remaining": refusal.info.get("remaining", "0"),
            "reset": refusal.retry_after_s,
        }
        headers += [
            (f"ratelimit-{name}".encode(), str(value).encode()) for name, value in quota.items() if value is not None
        ]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    return headers
