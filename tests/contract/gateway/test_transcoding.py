"""HTTP in, gRPC out and back: a real gateway before a real server."""

import hashlib

import pytest

from services.chassis.errors import REASONS

FORM = {"content-type": "application/x-www-form-urlencoded"}


def write(web, headers, **values):
    return web.post("/v1/cards", json=values, headers=headers)


def test_a_body_becomes_a_message_and_a_message_an_answer(web, merchant):
    answer = write(web, merchant, text="你好", price=500, kind="gold", labels=["a", "b"])
    assert answer.status_code == 201
    card = answer.json()["card"]
    assert {**card, "card_id": "", "created_at": ""} == {
        "card_id": "",
        "shop_id": "shop_1",
        "text": "你好",
        "price": 500,
        "kind": "gold",
        "labels": ["a", "b"],
        "created_at": "",
    }
    assert card["created_at"].endswith("Z")
    assert answer.headers["cache-control"] == "no-store"
    read = web.get(f"/v1/cards/{card['card_id']}")
    assert (read.status_code, read.json()) == (200, {"card": card})


def test_a_form_is_as_good_as_json(web, merchant):
    answer = web.post("/v1/cards", data={"text": "x", "price": "7"}, headers=merchant)
    assert answer.json()["card"]["price"] == 7
    typed = web.post(
        "/v1/cards", content=b'{"price": 8}', headers={**merchant, "content-type": "application/x-www-form-urlencoded"}
    )
    assert typed.json()["card"]["price"] == 8


def test_query_parameters_fill_the_message(web, merchant):
    asked = web.get("/v1/cards?kind=plain&labels=a&labels=b&page_size=3", headers=merchant).json()["asked"]
    assert asked == {"shop_id": "shop_1", "kind": "plain", "labels": ["a", "b"], "page_size": 3}


def test_the_token_may_come_in_the_query(web, rig):
    assert web.get(f"/v1/cards?access_token={rig.token()}").status_code == 200
    assert web.get("/v1/cards").status_code == 401


@pytest.mark.parametrize(
    ("request_of", "reason", "fields"),
    [
        (
            lambda web, own: web.post("/v1/cards", json={"txt": 1, "price": "x", "kind": "lead"}, headers=own),
            "INVALID_ARGUMENT",
            {"txt", "price", "kind"},
        ),
        (lambda web, own: web.get("/v1/cards?page_size=1&page_size=2", headers=own), "INVALID_ARGUMENT", {"page_size"}),
        (
            lambda web, own: web.post("/v1/cards?labels=a", json={"labels": 5}, headers=own),
            "INVALID_ARGUMENT",
            {"labels"},
        ),
        (
            lambda web, own: web.post("/v1/cards?labels=a", json={"labels": ["b"]}, headers=own),
            "INVALID_ARGUMENT",
            {"labels"},
        ),
        (
            lambda web, own: web.post("/v1/cards?text=a", json={"text": "a"}, headers=own),
            "INVALID_ARGUMENT",
            {"text"},
        ),
        (
            lambda web, own: web.post("/v1/cards/c1:break", json={"card_id": "c1"}, headers=own),
            "INVALID_ARGUMENT",
            {"card_id"},
        ),
        (
            lambda web, own: web.post("/v1/cards", content=b"text=%FF", headers={**own, **FORM}),
            "UNREADABLE_BODY",
            set(),
        ),
        (
            lambda web, own: web.post("/v1/cards", content=b"text=\xff", headers={**own, **FORM}),
            "UNREADABLE_BODY",
            set(),
        ),
        (lambda web, own: web.get("/v1/cards?colour=red", headers=own), "INVALID_ARGUMENT", {"colour"}),
        (
            lambda web, own: web.post("/v1/cards/c1:break", json={"card_id": "c2"}, headers=own),
            "INVALID_ARGUMENT",
            {"card_id"},
        ),
        (lambda web, own: web.post("/v1/cards", content=b"{", headers=own), "UNREADABLE_BODY", set()),
        (lambda web, own: web.post("/v1/cards", json=[1], headers=own), "UNREADABLE_BODY", set()),
        (
            lambda web, own: web.post("/v1/cards", content=b"<x/>", headers={**own, "content-type": "text/xml"}),
            "UNSUPPORTED_MEDIA",
            set(),
        ),
        (lambda web, own: web.post("/v1/cards", json={"text": "x" * (4 * 2**20)}, headers=own), "TOO_LARGE", set()),
        (
            lambda web, own: web.post("/v1/cards", json={}, headers={**own, "Idempotency-Key": "x" * 256}),
            "INVALID_ARGUMENT",
            {"Idempotency-Key"},
        ),
        (lambda web, own: web.get("/v1/cards/none", headers=own), "NOT_FOUND", set()),
        (lambda web, own: web.get("/v1/nothing", headers=own), "NOT_FOUND", set()),
        (lambda web, own: web.get("/", headers=own), "NOT_FOUND", set()),
        (lambda web, own: web.put("/v1/cards", headers=own), "METHOD_NOT_ALLOWED", set()),
        (lambda web, own: web.post("/healthz", headers=own), "METHOD_NOT_ALLOWED", set()),
        (lambda web, _: web.get("/v1/cards", headers={"Authorization": "Basic eA=="}), "UNAUTHENTICATED", set()),
        (
            lambda web, _: web.get("/v1/cards", headers={"Authorization": "Bearer ä".encode("latin-1")}),
            "UNAUTHENTICATED",
            set(),
        ),
        (lambda web, own: web.post("/v1/cards/1:stamp", headers=own), "PERMISSION_DENIED", set()),
        (lambda web, own: web.post("/v1/cards", json={"shop_id": "shop_2"}, headers=own), "PERMISSION_DENIED", set()),
    ],
)
def test_a_refusal_is_a_problem_document(web, merchant, request_of, reason, fields):
    answer = request_of(web, merchant)
    said, known = answer.json(), REASONS[reason]
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, said["status"], said["reason"], said["errcode"]) == (
        known.http,
        known.http,
        reason,
        known.errcode,
    )
    assert said["type"] == f"urn:jishi:reason:{reason}"
    assert said["title"]
    assert said["detail"]
    assert said["instance"].startswith("urn:trace:")
    assert {found["field"] for found in said.get("errors", [])} == fields
    assert ("www-authenticate" in answer.headers) == (answer.status_code == 401)


def test_a_wrong_verb_is_told_the_right_ones(web):
    assert web.put("/v1/cards").headers["allow"] == "GET, POST"


def test_a_body_that_is_too_large_is_refused_without_its_length_being_told(web, merchant):
    def pieces():
        for _ in range(80):
            yield b"x" * 65536

    answer = web.post("/v1/cards", content=pieces(), headers={**merchant, "content-type": "application/json"})
    assert (answer.status_code, answer.json()["reason"]) == (413, "TOO_LARGE")


def test_quota_and_retry_are_told_in_headers_and_body(web):
    answer = web.post("/v1/cards/1:break", json={"how": "refusal"})
    assert answer.status_code == 429
    assert (
        answer.headers["retry-after"],
        answer.headers["ratelimit-remaining"],
        answer.headers["ratelimit-reset"],
    ) == ("7", "0", "7")
    said = answer.json()
    assert (said["errcode"], said["reset_at"]) == (45028, "2026-01-06T00:00:00+08:00")
    assert said["errors"] == [{"field": "cards[0]", "message": "too many"}]


def test_a_bug_behind_tells_only_its_trace(web):
    answer = web.post(
        "/v1/cards/1:break", json={"how": "bug"}, headers={"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}
    )
    assert answer.status_code == 500
    assert answer.json()["instance"] == f"urn:trace:{'ab' * 16}"
    assert "secret" not in answer.text


def test_the_same_key_twice_answers_the_same_and_says_so(web, merchant):
    keyed = {**merchant, "Idempotency-Key": "k-1"}
    first, again = write(web, keyed, text="a"), write(web, keyed, text="a")
    assert first.content == again.content
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    other = write(web, keyed, text="b")
    assert (other.status_code, other.json()["reason"]) == (422, "IDEMPOTENCY_KEY_REUSED")


def test_without_a_key_every_request_is_new(web, merchant):
    assert write(web, merchant, text="a").json() != write(web, merchant, text="a").json()


def test_a_public_read_is_not_sent_again_unchanged(web, merchant):
    card = write(web, merchant, text="a").json()["card"]
    first = web.get(f"/v1/cards/{card['card_id']}")
    again = web.get(f"/v1/cards/{card['card_id']}", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert web.get(f"/v1/cards/{card['card_id']}", headers={"If-None-Match": 'W/"0"'}).status_code == 200
    assert "etag" not in web.get("/v1/cards", headers=merchant).headers


def test_head_answers_like_get_without_the_body(web, merchant):
    card = write(web, merchant, text="a").json()["card"]
    head = web.head(f"/v1/cards/{card['card_id']}")
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) > 0


def test_path_parameters_are_decoded_once(web):
    answer = web.get("/v1/cards/a%2Fb%20%E4%B8%AD%253A")
    assert answer.json()["id"] == "a/b 中%3A"
    assert web.get("/v1/cards/x:y").json()["id"] == "x:y"


def test_the_trace_of_the_caller_goes_through_to_the_service(web, rig):
    sent = f"00-{'12' * 16}-{'34' * 8}-01"
    headers = {"Authorization": f"Bearer {rig.token('buyer', 'u1')}", "traceparent": sent}
    answer = web.post("/v1/cards/1:stamp", headers=headers)
    assert answer.json()["traceparent"].split("-")[1] == "12" * 16
    assert answer.headers["traceparent"].split("-")[1] == "12" * 16


def test_a_file_is_streamed_wherever_its_fields_stand(web, merchant):
    content = bytes(range(256)) * 8192
    parts = {"file": ("产品.csv", content), "format": (None, "jishi-csv"), "dry_run": (None, "true")}
    for names in (["file", "format", "dry_run"], ["format", "dry_run", "file"]):
        answer = web.post("/v1/files", files=[(name, parts[name]) for name in names], headers=merchant)
        assert answer.status_code == 202
        assert answer.json() == {
            "shop_id": "shop_1",
            "format": "jishi-csv",
            "dry_run": True,
            "filename": "产品.csv",
            "size": len(content),
            "chunks": 4,
            "sha256": hashlib.sha256(content).hexdigest(),
        }


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"format": (None, "x")}, "INVALID_ARGUMENT"),
        ({"file": ("f", b"x"), "colour": (None, "red")}, "INVALID_ARGUMENT"),
        ({"file": ("f", b"x"), "dry_run": (None, "perhaps")}, "INVALID_ARGUMENT"),
        ({"file": ("f", b"x"), "other": ("g", b"y")}, "UNREADABLE_BODY"),
        ({"file": ("f", b"x"), "shop_id": (None, "shop_2")}, "PERMISSION_DENIED"),
    ],
)
def test_a_form_that_does_not_fit_is_refused(web, merchant, parts, reason):
    answer = web.post("/v1/files", files=parts, headers=merchant)
    assert (answer.status_code, answer.json()["reason"]) == (REASONS[reason].http, reason)


@pytest.mark.parametrize("how", [{"data": {"chunk": "eA=="}}, {"params": {"chunk": "eA=="}}])
def test_a_piece_of_the_file_cannot_be_slipped_in_beside_it(web, merchant, how):
    answer = web.post("/v1/files", files={"file": ("f", b"x")}, headers=merchant, **how)
    assert (answer.status_code, answer.json()["reason"]) == (400, "INVALID_ARGUMENT")
    assert "chunk" in answer.text


def test_a_file_that_is_no_form_is_refused(web, merchant):
    assert web.post("/v1/files", content=b"x", headers=merchant).status_code == 415
    cut = web.post("/v1/files", content=b"x", headers={**merchant, "content-type": "multipart/form-data"})
    assert (cut.status_code, cut.json()["reason"]) == (400, "UNREADABLE_BODY")


def test_a_file_above_the_limit_is_refused_while_it_comes(web, merchant, monkeypatch):
    monkeypatch.setattr("services.gateway.uploads.FILE_LIMIT", 2**20)
    announced = web.post("/v1/files", files={"file": ("f", b"x" * 2**21)}, headers=merchant)
    assert (announced.status_code, announced.json()["reason"]) == (413, "TOO_LARGE")

    def pieces():
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
        for _ in range(40):
            yield b"x" * 65536
        yield b"\r\n--b--\r\n"

    streamed = web.post(
        "/v1/files", content=pieces(), headers={**merchant, "content-type": "multipart/form-data; boundary=b"}
    )
    assert (streamed.status_code, streamed.json()["reason"]) == (413, "TOO_LARGE")


def test_a_notification_goes_through_untouched(web):
    answer = web.post(
        "/v1/notices/chan",
        content=b'{ "raw" : 1 }\xff',
        headers={"X-Signature": "sig", "Authorization": "WECHATPAY2 x"},
    )
    assert (answer.status_code, answer.headers["content-type"]) == (202, "text/plain")
    assert answer.content == b'chan sig { "raw" : 1 }\xff'
    assert web.post("/v1/notices/chan", content=b"x" * (2**20 + 1), headers={"X-Signature": "s"}).status_code == 413
