"""The gateway as a process among others: health, backends that are away, its description of itself, every proto of the house."""

import json
import os
import signal
import subprocess
import sys
import time

import httpx
import jishi
import pytest

from services.chassis import rpc
from services.chassis.rpc.contracts import method
from services.chassis.settings import SERVICES
from services.gateway.app import GATEWAY, create
from services.gateway.openapi import comments, document
from services.gateway.routes import Table, routes_of
from tests.backends.processes import free_port
from tests.contract.gateway.conftest import gateway_before
from tests.unit.chassis_rpc import desk
from tests.unit.chassis_rpc.rig import PATIENCE_S, started, until


def test_health_names_the_services_that_do_not_serve(settings):
    port = free_port()
    there = settings.model_copy(update={"listen": {"desk": f"127.0.0.1:{port}", "ghost": f"127.0.0.1:{free_port()}"}})
    servers = started(there)
    with gateway_before(there, ("desk", "ghost")) as web:
        answer = web.get("/healthz")
        assert (answer.status_code, answer.json()["not_serving"]) == (503, ["ghost"])
    with gateway_before(there) as web:
        assert web.get("/healthz").status_code == 200
        servers.stop(1)
        until(lambda: web.get("/healthz").status_code == 503, "the loss is noticed")
        assert web.get("/healthz").json()["not_serving"] == ["desk"]


def test_a_service_that_is_away_is_a_503_within_the_deadline_and_recovers(settings):
    port = free_port()
    there = settings.model_copy(update={"listen": {"desk": f"127.0.0.1:{port}"}, "rpc_timeout_s": 3.0})
    with gateway_before(there) as web:
        began = time.monotonic()
        answer = web.get("/v1/cards/1")
        assert (answer.status_code, answer.json()["reason"]) == (503, "UNAVAILABLE")
        assert int(answer.headers["retry-after"]) >= 1
        assert time.monotonic() - began < 8
        servers = started(there)
        until(lambda: web.get("/v1/cards/1").status_code == 404, "the service is found again")
        servers.stop(1)


def test_a_restart_of_a_service_loses_no_request(settings, monkeypatch):
    monkeypatch.setattr("services.chassis.rpc.client.RETRY_FOR_S", 30.0)  # a busy machine may need a long moment
    port = free_port()
    there = settings.model_copy(update={"listen": {"desk": f"127.0.0.1:{port}"}, "rpc_timeout_s": 30.0})
    servers = started(there)
    with gateway_before(there) as web:
        assert web.get("/v1/cards/1").status_code == 404
        servers.stop(1)
        servers = rpc.start([desk.service()], there)
        assert web.get("/v1/cards/1").status_code == 404
        servers.stop(1)


def test_the_description_is_whole(web):
    said = web.get("/openapi.json").json()
    assert said["openapi"] == "3.1.0"
    stamp = said["paths"]["/v1/cards/{card_id}:stamp"]["post"]
    assert [(found["name"], found["in"]) for found in stamp["parameters"]] == [
        ("card_id", "path"),
        ("Idempotency-Key", "header"),
    ]
    body = stamp["requestBody"]["content"]["application/json"]["schema"]
    assert set(body["properties"]) == {"wait_ms"}
    upload = said["paths"]["/v1/files"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert "file" in upload["properties"]
    assert "chunk" not in upload["properties"]
    assert said["components"]["schemas"]["desk.Card"]["properties"]["kind"]["enum"] == ["", "plain", "gold"]


def protos():
    """Every proto of the house, those of services the settings do not know included."""
    return sorted(path.name for path in (desk.ROOT / "protos" / "jishi").iterdir() if path.name != "options")


@pytest.mark.parametrize("service", protos())
def test_every_rpc_says_who_may_call_it_and_what_it_does(service):
    from services.chassis.rpc.contracts import _files

    found = [
        descriptor
        for file in _files(service)
        for declared in file.services_by_name.values()
        for descriptor in declared.methods
    ]
    kinds = {"anyone", "buyer", "merchant", "admin", "arbitrator", "supervisor", "auditor"}
    for descriptor in found:
        rule = method(service, descriptor)  # raises without allow or effect
        assert rule.kinds <= kinds, rule.name
        assert rule.services <= {*SERVICES, GATEWAY}, rule.name
        assert rule.rule.view in {"", "product", "shelf"}, rule.name
        assert rule.rule.http or rule.services, f"{rule.name} has no door: neither http nor a service that may call it"
        assert rule.rule.body in {"", "raw", "upload", "download", "immutable"}, rule.name
        if rule.rule.http.startswith("GET"):
            assert rule.reads, f"{rule.name}: GET changes nothing"
    assert found, f"{service} has no rpc"


def test_every_path_is_one_rpcs_and_the_description_of_the_house_is_closed(settings):
    routes = routes_of(found for service in SERVICES for found in rpc.methods_of(service).values())
    table = Table(routes)
    for route in routes:
        path = route.template
        for number, name in enumerate(route.parameters):
            path = path.replace("{" + name + "}", f"v{number}")
        found = table.find(path)
        assert found is not None
        assert found[0][route.verb] is route
        assert found[1] == [f"v{number}" for number in range(len(route.parameters))]
    said = document(routes, "http://localhost")
    schemas = said["components"]["schemas"]
    text = json.dumps(said)
    wanted = {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    assert wanted <= set(schemas)
    identities = [operation["operationId"] for verbs in said["paths"].values() for operation in verbs.values()]
    assert len(identities) == len(set(identities)) == len(routes)
    assert all(operation["summary"] for verbs in said["paths"].values() for operation in verbs.values())
    assert create(settings).web.title


def test_comments_are_found_by_full_name():
    assert comments()["jishi.accounts.v1.TokenRevoked"] == "A token or all tokens of a subject are no longer good."
    assert jishi.__path__


def test_the_process_serves_and_ends_in_order_on_sigterm(memory_world):
    port = free_port()
    environment = {**os.environ, **memory_world.environment, "JISHI_GATEWAY_LISTEN": f"127.0.0.1:{port}"}
    with subprocess.Popen([sys.executable, "-m", "services.gateway"], env=environment, cwd=desk.ROOT) as process:

        def answers() -> bool:
            try:
                return httpx.get(f"http://127.0.0.1:{port}/openapi.json", timeout=5).status_code == 200
            except httpx.TransportError:
                return False

        until(answers, "the gateway answers")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
