"""The HTTP client of the command line against a server that is not always well."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from services.cli.api import Api, UnexpectedAnswer


class Server(ThreadingHTTPServer):
    """Answers from a list of (status, body); the last one for ever. Keeps what was asked."""

    daemon_threads = True

    def __init__(self, *answers):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.asked = list(answers), []


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        length = int(self.headers.get("Content-Length", 0))
        self.server.asked.append((self.command, self.path, dict(self.headers), self.rfile.read(length)))
        answers = self.server.answers
        status, body = answers.pop(0) if len(answers) > 1 else answers[0]
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self):
        self.do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def serve():
    servers, clients = [], []

    def make(*answers):
        server = Server(*answers)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        api = Api(f"http://127.0.0.1:{server.server_port}", "token")
        servers.append(server)
        clients.append(api)
        return server, api

    yield make
    for api in clients:
        api.close()
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_write_is_repeated_with_its_key_while_the_house_is_away(serve):
    server, api = serve((503, {"reason": "UNAVAILABLE"}), (503, {}), (201, {"id": "1"}))
    assert api.post("/v1/things", {"name": "茶"}, key="k1") == {"id": "1"}
    assert [asked[2]["Idempotency-Key"] for asked in server.asked] == ["k1", "k1", "k1"]
    assert all(asked[2]["Authorization"] == "Bearer token" for asked in server.asked)
    assert json.loads(server.asked[0][3]) == {"name": "茶"}
    assert api.line.broken == 2


def test_without_retries_a_failure_is_seen_at_once(serve):
    server, api = serve((503, {"reason": "UNAVAILABLE"}))
    answer = api.ask("POST", "/v1/things", retry=False)
    assert (answer.status, answer.reason, answer.fine) == (503, "UNAVAILABLE", False)
    assert len(server.asked) == 1


def test_a_refusal_is_final(serve):
    server, api = serve((409, {"reason": "OUT_OF_STOCK"}))
    with pytest.raises(UnexpectedAnswer, match="OUT_OF_STOCK"):
        api.post("/v1/checkouts")
    assert len(server.asked) == 1


def test_what_is_no_json_object_is_still_told(serve):
    assert serve((200, b"plain"))[1].get("/x") == {"text": "plain"}
    assert serve((200, b""))[1].get("/x") == {}
    assert serve((200, [1]))[1].get("/x") == {"items": [1]}


def test_parameters_forms_files_and_headers(serve):
    server, api = serve((200, {}))
    api.get("/x", state="open", token=None)
    assert server.asked[-1][1] == "/x?state=open"
    api.as_caller("").ask("POST", "/x", form={"a": "1"}, headers={"X-One": "1"})
    assert server.asked[-1][3] == b"a=1"
    assert server.asked[-1][2]["X-One"] == "1"
    assert "Authorization" not in server.asked[-1][2]
    api.ask("POST", "/x", form={"a": "1"}, files={"file": ("f.csv", b"1,2", "text/csv")})
    assert b"1,2" in server.asked[-1][3]


def test_nobody_at_home(monkeypatch):
    monkeypatch.setattr("services.cli.api.RETRY_FOR_S", 0.2)
    api = Api("http://127.0.0.1:9")
    with pytest.raises(httpx.TransportError):
        api.get("/healthz")
    api.close()
