"""``python -m services.gateway``: the gateway on ``settings.gateway_listen``, until SIGTERM."""

import signal
from typing import Final

import uvicorn

from services.chassis import jwks, logs, metrics, tracing
from services.chassis.settings import settings
from services.gateway.app import GATEWAY, create

DRAIN_S: Final = 15


def main() -> None:
    """Serve; on SIGTERM stop accepting, finish what runs, leave."""
    own = settings()
    logs.configure(own, "gateway", "gateway")
    tracing.configure(own, "gateway", "gateway")
    metrics.serve(own, "gateway")
    jwks.serve(own, GATEWAY)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(
            number, lambda *_: None
        )  # uvicorn raises them again when all is done; then they mean nothing more
    host, _, port = own.gateway_listen.rpartition(":")
    uvicorn.run(
        create(own),
        host=host,
        port=int(port),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nobody asks for the client's address
        timeout_keep_alive=75,
        timeout_graceful_shutdown=DRAIN_S,
    )


if __name__ == "__main__":
    main()
