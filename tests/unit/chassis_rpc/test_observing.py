"""Traces, logs and metrics: what a person sees of a running process."""

import json
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from services.chassis import metrics, tracing
from services.chassis.settings import Settings
from tests.unit.chassis_rpc.desk import ROOT
from tests.unit.chassis_rpc.rig import until

SENT = f"00-{'ab' * 16}-{'cd' * 8}-00"


def test_a_span_goes_on_with_the_trace_that_came_and_ends_with_its_block():
    assert tracing.traceparent() == tracing.trace_id() == ""
    with tracing.span("outer", parent=SENT) as outer:
        assert (outer.trace_id, outer.flags) == ("ab" * 16, "00")
        assert outer.span_id != "cd" * 8
        with tracing.span("inner") as inner:
            assert inner.trace_id == outer.trace_id
            assert tracing.traceparent() == inner.traceparent == f"00-{'ab' * 16}-{inner.span_id}-00"
        assert tracing.traceparent() == outer.traceparent
    assert tracing.trace_id() == ""


@pytest.mark.parametrize(
    "header", ["", "x", f"00-{'0' * 32}-{'cd' * 8}-01", f"00-{'AB' * 16}-{'cd' * 8}-01", SENT + "-more"]
)
def test_a_header_that_is_none_begins_a_new_trace(header):
    with tracing.span("outer", parent=header) as outer:
        assert len(outer.trace_id) == 32
        assert outer.trace_id not in {"ab" * 16, "0" * 32}


class Collector(BaseHTTPRequestHandler):
    """Keeps what is exported to it."""

    bodies: tuple[bytes, ...] = ()

    def do_POST(self):
        type(self).bodies += (self.rfile.read(int(self.headers["Content-Length"])),)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Quiet."""


EXPORTING = """
from services.chassis import tracing
from services.chassis.settings import Settings
tracing.configure(Settings(otlp_endpoint={endpoint!r}), "orders", "server")
with tracing.span("outer", parent={parent!r}, kind="server"):
    try:
        with tracing.span("inner", kind="client", attributes={{"a": 1}}):
            raise ValueError("broken")
    except ValueError:
        pass
import opentelemetry.sdk.trace, sys
tracing._tracer.span_processor.force_flush()
assert "grpc" not in sys.modules, "workers load tracing too"
"""


def test_spans_are_exported_over_http_where_the_settings_say_so():
    server = HTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    parent = SENT[:-2] + "01"
    code = EXPORTING.format(endpoint=f"http://127.0.0.1:{server.server_port}/", parent=parent)
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=60)
    until(lambda: Collector.bodies)
    server.shutdown()
    server.server_close()
    exported = [ExportTraceServiceRequest.FromString(body) for body in Collector.bodies]
    spans = {
        span.name: span
        for one in exported
        for found in one.resource_spans
        for scope in found.scope_spans
        for span in scope.spans
    }
    assert spans["outer"].trace_id.hex() == spans["inner"].trace_id.hex() == "ab" * 16
    assert spans["outer"].parent_span_id.hex() == "cd" * 8
    assert spans["inner"].parent_span_id == spans["outer"].span_id
    assert "broken" in spans["inner"].status.message


LOGGING = """
import logging, warnings
before = logging.getLogger("early")
from services.chassis import logs, tracing
from services.chassis.settings import Settings
logs.configure(Settings(log_format={form!r}, log_level="info"), "orders", "worker")
with tracing.span("x", parent={parent!r}):
    logs.get("m").info("order placed", order_id="7", amount=500)
before.warning("library said %s", "this")
logs.get("m").debug("unheard")
try:
    secret = "a local value"
    raise ValueError("broken")
except ValueError:
    logs.get("m").exception("it failed")
"""


def said(form: str) -> str:
    code = LOGGING.format(form=form, parent=SENT)
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=ROOT, timeout=60, capture_output=True, text=True, env=os.environ
    )
    assert done.stdout == ""
    return done.stderr


def test_logs_are_json_lines_with_the_trace():
    lines = [json.loads(line) for line in said("json").splitlines()]
    assert [line["event"] for line in lines] == ["order placed", "library said this", "it failed"]
    first = lines[0]
    assert (first["service"], first["role"], first["logger"], first["level"]) == ("orders", "worker", "m", "info")
    assert (first["trace_id"], first["order_id"], first["amount"]) == ("ab" * 16, "7", 500)
    assert "trace_id" not in lines[1]
    assert "ValueError: broken" in lines[2]["exception"]


def test_logs_for_people_are_text_without_local_values():
    text = said("console")
    assert "order placed" in text
    assert "ValueError: broken" in text
    assert "'a local value'" not in text.replace('secret = "a local value"', "")


def page(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_the_metrics_page_is_off_unless_asked_for_and_tells_readiness():
    assert metrics.serve(Settings(), "server") == 0
    fine = [True]
    port = metrics.serve(Settings(metrics_listen={"server": "127.0.0.1:0"}), "server", ready=lambda: fine[0])
    metrics.RPC_ANSWERS.labels("desk.Observed", "OK").inc()
    status, text = page(port, "/metrics")
    assert status == 200
    assert 'jishi_rpc_answers_total{reason="OK",rpc="desk.Observed"} 1.0' in text
    assert page(port, "/healthz")[0] == 200
    fine[0] = False
    assert page(port, "/healthz")[0] == 503
