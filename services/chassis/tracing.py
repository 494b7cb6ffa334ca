"""Traces: the W3C ``traceparent`` of what is being done now, carried through gRPC metadata, AMQP headers and event envelopes.

Ids are made and passed on always, so that logs and errors of one request can be found in every process. Spans are exported (OTLP
over HTTP; workers load this too, so never over gRPC) only where ``settings.otlp_endpoint`` says where to.
"""

import random
import re
from collections.abc import Mapping
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, Final, Self

from opentelemetry import trace as otel
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from services.chassis.settings import Settings

_HEADER: Final = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
KINDS: Final = {
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
    "internal": SpanKind.INTERNAL,
}
_current: ContextVar["span | None"] = ContextVar("span", default=None)
_tracer: otel.Tracer | None = None
_ids = random.Random()  # noqa: S311 - names a request, guards nothing


def configure(settings: Settings, service: str, role: str) -> None:
    """Export the spans of this process, if the settings say where to. Once, at start."""
    global _tracer  # noqa: PLW0603 - one exporter a process
    if not settings.otlp_endpoint:
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({"service.namespace": "jishi", "service.name": f"{service}.{role}"})
    provider = TracerProvider(resource=resource)
    endpoint = settings.otlp_endpoint.rstrip("/") + "/v1/traces"
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    _tracer = provider.get_tracer("jishi")


def traceparent() -> str:
    """The header that makes what comes next part of the current trace; empty outside of one."""
    current = _current.get()
    return current.traceparent if current else ""


def trace_id() -> str:
    """The current trace (32 hex digits); empty outside of one."""
    current = _current.get()
    return current.trace_id if current else ""


class span:  # noqa: N801 - used as a statement: `with span("name"):`
    """One piece of work: ``with tracing.span("orders.PlaceOrder", parent=header, kind="server"): …``.

    ``parent``: the ``traceparent`` that came with the work; without one the current span is the parent, or a new trace begins.
    """

    __slots__ = ("_attributes", "_kind", "_name", "_parent", "_recording", "_token", "flags", "span_id", "trace_id")

    def __init__(
        self, name: str, *, parent: str = "", kind: str = "internal", attributes: Mapping[str, Any] | None = None
    ) -> None:
        """Nothing starts before ``with``."""
        self._name, self._parent, self._kind, self._attributes = name, parent, kind, attributes
        self._recording: otel.Span | None = None
        self._token: Token[span | None] | None = None
        self.trace_id = self.span_id = ""
        self.flags = "01"

    @property
    def traceparent(self) -> str:
        """The header that makes further work a child of this."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"

    def __enter__(self) -> Self:
        """Begin, as the current span of this thread or task."""
        found = _HEADER.fullmatch(self._parent) if self._parent else None
        parent_span = ""
        if found:
            self.trace_id, parent_span, self.flags = found[1], found[2], found[3]
        else:
            current = _current.get()
            if current is not None:
                self.trace_id, parent_span, self.flags = current.trace_id, current.span_id, current.flags
        if _tracer is not None:
            self._record(_tracer, parent_span)
        else:
            self.trace_id = self.trace_id or f"{_ids.getrandbits(128) or 1:032x}"
            self.span_id = f"{_ids.getrandbits(64) or 1:016x}"
        self._token = _current.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _where: TracebackType | None
    ) -> None:
        """End; an error marks the span."""
        if self._token is not None:
            _current.reset(self._token)
        if self._recording is not None:
            if error is not None:
                self._recording.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {error}"))
            self._recording.end()

    def _record(self, tracer: otel.Tracer, parent_span: str) -> None:
        context = None
        if self.trace_id:
            flags = TraceFlags(int(self.flags, 16))
            remote = SpanContext(
                int(self.trace_id, 16), int(parent_span, 16), is_remote=bool(self._parent), trace_flags=flags
            )
            context = otel.set_span_in_context(NonRecordingSpan(remote))
        self._recording = tracer.start_span(self._name, context, kind=KINDS[self._kind], attributes=self._attributes)
        told = self._recording.get_span_context()
        self.trace_id, self.span_id = f"{told.trace_id:032x}", f"{told.span_id:016x}"
        self.flags = f"{int(told.trace_flags):02x}"
