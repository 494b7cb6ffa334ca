"""A picture server as merchants have them: good pictures, missing ones, and answers that mean no good."""

import io
import struct
import threading
import time
import zlib
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from PIL import Image


def drawn(kind="PNG", size=(800, 600), colour="red", mode="RGB", **more):
    """The bytes of a picture."""
    out = io.BytesIO()
    Image.new(mode, size, colour).save(out, kind, **more)
    return out.getvalue()


def bomb(side=60_000):
    """A PNG of some seventy bytes that says it has ``side`` × ``side`` pixels."""
    small = drawn(size=(1, 1))
    header = small[12:16] + struct.pack(">II", side, side) + small[24:29]
    return small[:12] + header + struct.pack(">I", zlib.crc32(header)) + small[33:]


class PictureServer:
    """Answers by path: /ok/… a picture, /bomb, /text, /huge, /slow, /drip, /gone, /busy/… 503 once and then a picture, /held/… a picture
    once ``goes_on`` is set, /to/… leads on."""

    def __init__(self):
        self.asked = Counter()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked[self.path] += 1
                outer._answer(self)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self.authority = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.authority}"
        self.goes_on = threading.Event()
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self.goes_on.set()
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, asked):
        first = asked.path.split("/")[1]
        if first == "to":
            target = asked.path.removeprefix("/to/")
            return self._send(asked, 302, b"", Location=target if "://" in target else f"/{target}")
        if first == "busy" and self.asked[asked.path] == 1:
            return self._send(asked, 503, b"later")
        if first == "held":
            self.goes_on.wait(60)
        if first in ("ok", "busy", "held"):
            return self._send(asked, 200, drawn(colour=(len(asked.path) % 256, self._number(asked.path) % 256, 9)))
        if first == "huge":
            return self._send(asked, 200, b"\x00" * (3 * 2**20))
        if first in ("slow", "drip"):  # in the body, in the headers
            asked.wfile.write(b"HTTP/1.0 200 OK\r\n" + (b"\r\n" if first == "slow" else b"X-Long: "))
            while not self.goes_on.wait(0.1):
                asked.wfile.write(b"x")
            return None
        bodies = {"bomb": bomb(), "text": b"<html>no picture</html>"}
        return self._send(asked, 200 if first in bodies else 404, bodies.get(first, b""))

    @staticmethod
    def _number(path):
        return int("0" + "".join(letter for letter in urlsplit(path).path if letter.isdigit()))

    @staticmethod
    def _send(asked, status, body, **headers):
        asked.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            asked.send_header(name, value)
        asked.end_headers()
        try:
            asked.wfile.write(body)
        except OSError:  # whoever asked has seen enough
            time.sleep(0)


def csv(addresses):
    """A Shopify file of one product a picture address."""
    rows = "".join(
        f"p{number},商品 {number},true,Title,Default Title,5,9.90,{address}\n"
        for number, address in enumerate(addresses)
    )
    head = "Handle,Title,Published,Option1 Name,Option1 Value,Variant Inventory Qty,Variant Price,Image Src\n"
    return (head + rows).encode()
