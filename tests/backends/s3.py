"""An S3-compatible store on this machine; a file of its own because its server takes a second to load."""

import httpx
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

from services.chassis.settings import Settings


class S3Server:
    """Moto's server, with the bucket ``pictures``; runs inside ``with``."""

    def __enter__(self):
        self._server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.endpoint = f"http://{host}:{port}"
        self.settings = self.settings_for("s3://pictures/shop")
        httpx.put(f"{self.endpoint}/pictures", trust_env=False).raise_for_status()
        return self

    def settings_for(self, place):
        keys = {"s3_access_key_id": "key", "s3_secret_access_key": "secret"}
        return Settings(blobs=place, s3_endpoint=self.endpoint, **keys)

    def __exit__(self, *_):
        self._server.stop()
