"""Metrics: what every process counts, and its Prometheus page (with ``/healthz``) where the settings ask for one."""

from collections.abc import Callable, Iterable
from typing import Any, Final

from prometheus_client import Counter, Gauge, Histogram, make_wsgi_app

from services.chassis import pages
from services.chassis.settings import Settings

_FAST: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

RPC_SECONDS: Final = Histogram("jishi_rpc_seconds", "Time a server took to answer", ("rpc",), buckets=_FAST)
RPC_ANSWERS: Final = Counter(
    "jishi_rpc_answers_total", "Answers of a server by reason (OK or the reason of a refusal)", ("rpc", "reason")
)
RPC_REPLAYS: Final = Counter("jishi_rpc_replays_total", "Commands answered again under a key used before", ("rpc",))
CALL_RETRIES: Final = Counter("jishi_call_retries_total", "Calls of other services that were tried again", ("rpc",))
HTTP_ANSWERS: Final = Counter("jishi_http_answers_total", "Answers of the gateway", ("route", "status"))
HTTP_SECONDS: Final = Histogram("jishi_http_seconds", "Time the gateway took to answer", ("route",), buckets=_FAST)
READY: Final = Gauge("jishi_ready", "1 while the service can do its work (its database answers)", ("service",))
SEARCH_BEHIND: Final = Gauge(
    "jishi_search_behind_seconds",
    "How long ago the search index of this machine held everything; -1 before there is one",
)


def serve(settings: Settings, role: str, ready: Callable[[], bool] = lambda: True) -> int:
    """Show this process's metrics at ``settings.metrics_listen[role]`` in a background thread; answers the port, 0 when off.

    ``GET /healthz`` answers 200 while ``ready()``, else 503.
    """
    listen = settings.metrics_listen.get(role)
    if not listen:
        return 0
    page = make_wsgi_app()

    def app(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get("PATH_INFO") != "/healthz":
            answer: Iterable[bytes] = page(environ, start)
            return answer
        fine = ready()
        start("200 OK" if fine else "503 Service Unavailable", [("Content-Type", "text/plain")])
        return [b"ready\n" if fine else b"not ready\n"]

    return int(pages.show(listen, "metrics", app).server_port)
