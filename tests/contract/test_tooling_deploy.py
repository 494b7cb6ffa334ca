"""deploy/ is kept honest without Docker: parsed, checked against the Compose schema, and against the code it starts."""

import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml

from services.channel.settings import ChannelSettings
from services.chassis.jwks import PATH
from services.chassis.settings import SERVICES, Settings
from tests.backends.choice import Docker
from tests.backends.containers import probe_docker

ROOT = Path(__file__).resolve().parent.parent.parent
COMPOSE_FILE = ROOT / "deploy" / "compose.yaml"
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
SCHEMA = json.loads((Path(__file__).parent / "schemas" / "compose-spec.json").read_text(encoding="utf-8"))
ROLES = ("server", "worker", "jobs")
OURS = {"MONGO_URI", "AMQP_URI"} | {f"JISHI_{name.upper()}" for name in ChannelSettings.model_fields}


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load(COMPOSE_FILE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def processes(compose):
    """The boxes that run our image."""
    return {name: box for name, box in compose["services"].items() if box["image"].startswith("jishi:")}


@pytest.fixture(scope="module")
def instructions():
    """The Dockerfile as (keyword, arguments) pairs, continuation lines joined."""
    text = re.sub(r"\\\n\s*", "", DOCKERFILE.read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines]


def test_compose_follows_the_schema(compose):
    # The schema of 2021 does not know the top-level name, which the specification took in afterwards.
    known = {key: value for key, value in compose.items() if key != "name"}
    jsonschema.Draft201909Validator(SCHEMA).validate(known)


def test_the_schema_refuses_a_misspelt_key(compose):
    broken = json.loads(json.dumps({"services": compose["services"]}))
    broken["services"]["gateway"]["comand"] = ["services.gateway"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft201909Validator(SCHEMA).validate(broken)


def test_every_process_has_its_box(processes):
    expected = {f"{service}-{role}" for service in SERVICES for role in ROLES} | {"gateway", "channel"}
    assert set(processes) == expected
    for name, box in processes.items():
        service, _, role = name.partition("-")
        assert box["command"] == [f"services.{service}", *([role] if role else [])]


def test_every_command_can_be_run(processes):
    missing = {box["command"][0] for box in processes.values() if not module_main(box["command"][0]).is_file()}
    assert not missing


def module_main(module):
    return ROOT.joinpath(*module.split("."), "__main__.py")


def test_every_setting_exists(processes):
    named = {name for box in processes.values() for name in box["environment"]}
    assert named <= OURS


def test_only_workers_know_the_broker(processes):
    with_broker = {name for name, box in processes.items() if "AMQP_URI" in box["environment"]}
    assert with_broker == {name for name in processes if name.endswith("-worker")}


def test_clients_look_where_servers_listen(processes):
    for name, box in processes.items():
        addresses = json.loads(box["environment"]["JISHI_RPC"])
        assert set(addresses) == set(SERVICES), name
        for service, address in addresses.items():
            host, port = address.split(":")
            listen = json.loads(processes[host]["environment"]["JISHI_LISTEN"])
            assert listen == {service: f"0.0.0.0:{port}"}


def test_everybody_rings_where_a_worker_listens(processes):
    for name, box in processes.items():
        told = Settings(bell=json.loads(box["environment"]["JISHI_BELL"])).bell
        assert set(told) == set(SERVICES), name
        for service, address in told.items():
            host, _, port = address.partition(":")
            assert host == f"{service}-worker"
            assert processes[host]["environment"]["JISHI_BELL_LISTEN"] == f"0.0.0.0:{port}"
        assert ("JISHI_BELL_LISTEN" in box["environment"]) == name.endswith("-worker")
        assert all(str(port).partition(":")[2] != "50061" for port in box.get("ports", ())), "rings stay inside"


def test_a_key_is_seen_by_its_service_only_and_shown_where_the_others_look(processes, instructions):
    servers_ask = processes["catalog-server"]["environment"]["JISHI_JWKS"]
    for name, box in processes.items():
        keys = [volume for volume in box["volumes"] if "keys" in volume]
        service, _, role = name.partition("-")
        signs = role == "server" or name == "gateway"
        assert keys == ([f"{service}-keys:/keys"] if signs else []), name
        if not signs:
            continue
        told = Settings(
            keys_dir=box["environment"]["JISHI_KEYS_DIR"],
            jwks=json.loads(box["environment"].get("JISHI_JWKS", servers_ask)),
            jwks_listen=json.loads(box["environment"]["JISHI_JWKS_LISTEN"]),
        )
        assert (str(told.keys), set(told.jwks), told.jwks_listen) == (
            "/keys",
            {*SERVICES, "gateway"},
            {service: "0.0.0.0:50071"},
        )
        assert told.jwks[service] == f"http://{name}:50071{PATH}"
    made = " ".join(arguments for keyword, arguments in instructions if keyword == "RUN")
    assert "-o jishi -g jishi -m 0700 /data /keys" in made, "a volume takes its owner from the folder in the image"


def test_what_is_waited_for_tells_its_health(compose):
    boxes = compose["services"]
    for box in boxes.values():
        for other, wait in box.get("depends_on", {}).items():
            assert wait["condition"] == "service_healthy"
            assert "healthcheck" in boxes[other], other


def test_volumes_are_declared(compose):
    used = {volume.split(":")[0] for box in compose["services"].values() for volume in box["volumes"]}
    assert used == set(compose["volumes"])


def test_the_dockerfile_copies_what_is_there(instructions):
    stages = {
        arguments.split(" AS ")[1] for keyword, arguments in instructions if keyword == "FROM" and " AS " in arguments
    }
    for keyword, arguments in instructions:
        if keyword != "COPY":
            continue
        *sources, _ = [word for word in shlex.split(arguments) if not word.startswith("--")]
        stage = re.search(r"--from=(\S+)", arguments)
        if stage:
            assert stage[1] in stages
        else:
            assert [source for source in sources if not (ROOT / source).exists()] == []


def test_the_image_runs_as_nobody_and_by_module(instructions):
    last = dict(instructions)
    assert last["USER"] == "jishi"
    assert json.loads(last["ENTRYPOINT"]) == ["python", "-m"]
    assert {keyword for keyword, _ in instructions} <= {
        "FROM",
        "WORKDIR",
        "RUN",
        "COPY",
        "ENV",
        "USER",
        "VOLUME",
        "ENTRYPOINT",
        "CMD",
    }


def test_production_installs_without_the_embedded_database(instructions):
    installed = " ".join(arguments for keyword, arguments in instructions if keyword == "RUN")
    assert "embedded" not in installed
    assert "secantus" not in (ROOT / "requirements" / "runtime.txt").read_text(encoding="utf-8").lower()


@pytest.fixture
def docker_answers():
    state, said = probe_docker()
    if state is not Docker.ANSWERS:
        pytest.skip(f"not started: no Docker answers ({state.value}: {said})")


@pytest.mark.usefixtures("docker_answers")
def test_docker_takes_the_compose_file():
    run_compose("config", "--quiet", seconds=60)


@pytest.mark.timeout(1500)
@pytest.mark.usefixtures("docker_answers")
def test_the_distributed_stack_starts():
    if not os.environ.get("JISHI_START_COMPOSE"):
        pytest.skip("not started: JISHI_START_COMPOSE is not set (builds an image and pulls two)")
    try:
        run_compose("up", "--build", "--wait", seconds=1200)
    finally:
        run_compose("down", "--volumes", seconds=120)


def run_compose(*arguments, seconds):
    secrets = {"RABBITMQ_PASSWORD": "a-test", "JISHI_BOOTSTRAP_SECRET": "a-test"}
    command = ["docker", "compose", "-f", str(COMPOSE_FILE), *arguments]
    subprocess.run(command, check=True, env=os.environ | secrets, timeout=seconds)
