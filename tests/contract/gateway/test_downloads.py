"""Files out of the gateway: piece after piece, whole or broken off."""

import httpx
import pytest

from services.chassis.rpc.contracts import method
from services.gateway.openapi import document
from services.gateway.routes import routes_of
from tests.unit.chassis_rpc import desk
from tests.unit.chassis_rpc.rig import until


def test_a_file_comes_piece_after_piece(web, merchant):
    answer = web.get("/v1/files/a.csv:download", params={"pieces": 5}, headers=merchant)
    assert answer.status_code == 200
    assert answer.text == "".join(f"piece {n};" * 1000 for n in range(5))
    assert answer.headers["content-type"] == "text/csv"
    assert answer.headers["content-disposition"] == 'attachment; filename="a.csv"'
    assert answer.headers["cache-control"] == "no-store"
    assert "content-length" not in answer.headers


def test_a_name_cannot_end_its_header(web, merchant):
    answer = web.get("/v1/files/%22%0d%0aSet-Cookie:x%E4%B8%AD.csv:download", headers=merchant)
    assert answer.headers["content-disposition"] == 'attachment; filename="Set-Cookie:x.csv"'


def test_it_has_a_door_like_others(web, merchant, rig):
    path = "/v1/files/a.csv:download"
    assert web.get(path).status_code == 401
    assert web.get(path, headers={"Authorization": f"Bearer {rig.token('buyer', 'u1')}"}).status_code == 403
    assert web.get(path, params={"breaks": "x"}, headers=merchant).json()["errors"][0]["field"] == "breaks"
    refused = web.get(path, params={"page_token": "3"}, headers=merchant)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, "page_token")
    assert web.post(path, headers=merchant).status_code == 405
    head = web.head(path, params={"pieces": 5}, headers=merchant)
    assert (head.status_code, head.content) == (200, b"")


def test_a_file_that_breaks_in_the_middle_is_not_taken_for_whole(web, merchant):
    with pytest.raises(httpx.RemoteProtocolError):
        web.get("/v1/files/a.csv:download", params={"pieces": 5, "breaks": 3}, headers=merchant)
    assert web.get("/v1/files/a.csv:download", params={"pieces": 1}, headers=merchant).status_code == 200


def test_nobody_is_asked_for_a_file_that_nobody_wants_any_more(web, merchant):
    pieces = 2_000_000
    with web.stream("GET", "/v1/files/a.csv:download", params={"pieces": pieces}, headers=merchant) as answer:
        next(answer.iter_bytes())
    served = desk.running[-1]
    seen = []

    def stands_still():
        seen.append(served.given)
        return len(seen) > 20 and len(set(seen[-20:])) == 1

    until(stands_still, "the file to stop")
    assert served.given < pieces - 1


def test_a_download_reads_and_has_the_fields_of_one(monkeypatch):
    (found,) = (each for each in desk.descriptor().methods if each.name == "DownloadFile")
    assert method("desk", found).reads
    monkeypatch.setattr("services.chassis.rpc.contracts._PIECE", {"data"})
    with pytest.raises(ValueError, match="download"):
        method("desk", found)


def test_the_description_shows_a_file():
    shown = document(routes_of(desk.methods_by_name().values()), "http://x")["paths"]["/v1/files/{file_name}:download"]
    assert {each["name"] for each in shown["get"]["parameters"]} == {"file_name", "pieces", "breaks"}
    assert shown["get"]["responses"]["200"]["content"]["application/octet-stream"]["schema"]["format"] == "binary"
