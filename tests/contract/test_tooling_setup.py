"""`make setup` on machines that lack something, and generation of protos that come and go."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract import tracked_text

ROOT = Path(__file__).resolve().parent.parent.parent
SHIM = "#!/bin/sh\necho 'no such version' >&2\nexit 127\n"
"""What a version manager leaves on PATH for a version it does not have."""
WITHOUT_VENV = '#!/bin/sh\ncase "$*" in *ensurepip*) exit 1;; esac\nexit 0\n'
"""A Python without its venv module: it runs, but cannot import that."""


@pytest.fixture
def setup(tmp_path):
    """Runs a copy of the setup script with nothing on PATH but the given fake Pythons; answers with its exit and stderr."""
    (tmp_path / "clone" / "deploy").mkdir(parents=True)
    script = shutil.copy(ROOT / "deploy" / "setup_venv.sh", tmp_path / "clone" / "deploy")
    path = tmp_path / "path"
    path.mkdir()
    (path / "dirname").symlink_to(shutil.which("dirname"))

    def run(**pythons):
        for name, text in pythons.items():
            (path / name.replace("_", ".")).write_text(text)
            (path / name.replace("_", ".")).chmod(0o755)
        done = subprocess.run(["/bin/sh", script], env={"PATH": str(path)}, capture_output=True, text=True, check=False)
        return done.returncode, done.stderr.strip()

    return run


def test_no_python_is_named_in_one_line(setup):
    assert setup() == (1, "setup: no CPython 3.11, 3.12 or 3.13 on PATH that runs")


def test_a_shim_that_does_not_run_is_no_python(setup):
    assert setup(python3_13=SHIM, python3_12=SHIM) == (1, "setup: no CPython 3.11, 3.12 or 3.13 on PATH that runs")


def test_a_missing_venv_module_is_named_in_one_line(setup):
    code, said = setup(python3_13=SHIM, python3_12=WITHOUT_VENV)
    assert code == 1
    assert said.startswith("setup: ")
    assert "python3.12 has no venv module" in said
    assert "\n" not in said


@pytest.fixture
def protos(tmp_path):
    """A small tree with the generator in it; `generate()` answers with what it printed."""
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    (tmp_path / "protos" / "jishi" / "tea" / "v1").mkdir(parents=True)

    class Tree:
        source = tmp_path / "protos" / "jishi" / "tea" / "v1" / "tea.proto"
        generated = tmp_path / "gen" / "jishi" / "tea" / "v1" / "tea_pb2.py"

        def write(self, field):
            self.source.write_text(
                f'syntax = "proto3";\npackage jishi.tea.v1;\nmessage Tea {{ string {field} = 1; }}\n'
            )

        def generate(self):
            command = [sys.executable, str(tmp_path / "deploy" / "generate_protos.py")]
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    return Tree()


def test_only_changed_modules_are_written_again(protos):
    protos.write("leaf")
    protos.generate()
    before = protos.generated.stat().st_mtime_ns
    assert protos.generate() == "gen/: 0 file(s) changed"
    assert protos.generated.stat().st_mtime_ns == before
    protos.write("cup")
    assert protos.generate() == "gen/: 3 file(s) changed"  # module, stub, descriptors
    assert "cup" in protos.generated.with_suffix(".pyi").read_text()


def test_a_removed_proto_takes_its_modules_with_it(protos):
    protos.write("leaf")
    protos.generate()
    protos.source.unlink()
    protos.generate()
    assert not protos.generated.parent.parent.exists()


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("open('/ro" + "ot/x')", True),
        ("cd /wo" + "rk/main", True),
        ("pip install --extra-ind" + "ex-url=https://there", True),
        ("https://host/simp" + "le", True),
        ("POST /v1/work/orders", False),
        ("{base}/root/x", False),
        ("a simple rule", False),
    ],
)
def test_machine_paths_and_indexes_are_found(tmp_path, monkeypatch, text, wrong):
    monkeypatch.setattr(tracked_text, "ROOT", tmp_path)
    (tmp_path / "file").write_text(f"first\n{text}\n")
    assert bool(tracked_text.findings(tmp_path / "file")) is wrong
