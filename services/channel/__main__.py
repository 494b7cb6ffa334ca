"""Run the channel: ``python -m services.channel``. SIGTERM finishes what is being sent and stops."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import uvicorn
from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from pymongo.errors import PyMongoError

from services.channel import api, api_v2, bank, cashier, till
from services.channel.commands import Commands
from services.channel.keys import open_keys
from services.channel.notifier import Notifier
from services.channel.paycodes import PayCodes
from services.channel.settings import SERVICE, ChannelSettings, Rules, settings
from services.channel.store import Store
from services.chassis import mongo

STOP_WITHIN_S: Final = 10


def application(configured: ChannelSettings) -> FastAPI:
    """The channel as an ASGI application; its notifier lives as long as it does."""
    database = mongo.database(mongo.connect(configured), configured, SERVICE)
    store = Store(database)
    rules = Rules(configured.channel_retry_scale)
    keys = open_keys(configured.folder, configured.channel_mchid, configured.channel_url)
    notifier = Notifier(store, rules, keys)
    commands = Commands(store, rules, notifier.ring)
    codes = PayCodes(database, store, commands, rules)

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        store.declare()
        codes.declare()
        notifier.start()
        yield
        notifier.stop()

    app = FastAPI(title="Jishi channel", version="3", description=api.__doc__ or "", lifespan=life)
    app.state.settings, app.state.store, app.state.rules, app.state.keys = configured, store, rules, keys
    app.state.commands = commands
    app.state.paycodes = codes
    app.state.bank = bank.Bank(database)
    app.include_router(api.router)
    app.include_router(bank.router)
    app.include_router(cashier.router)
    app.include_router(api_v2.router)
    app.include_router(till.router)
    app.include_router(till.phone)

    @app.get("/healthz")
    def healthz() -> Response:
        """200 when the database answers, else 503."""
        try:
            store.ping()
        except PyMongoError:
            return JSONResponse({"status": "away"}, 503)
        return JSONResponse({"status": "ok"})

    return app


def main() -> None:
    """Serve until stopped."""
    configured = settings()
    logging.basicConfig(level=configured.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    host, _, port = configured.channel_listen.rpartition(":")
    uvicorn.run(
        application(configured),
        host=host,
        port=int(port),
        access_log=False,
        log_level=configured.log_level.lower(),
        timeout_graceful_shutdown=STOP_WITHIN_S,
    )


if __name__ == "__main__":
    main()
