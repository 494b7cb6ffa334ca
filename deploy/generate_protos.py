"""Generate the Python modules of `protos/` into `gen/` (package `jishi`), touching only files whose content changed.

Run as `python deploy/generate_protos.py`; safe to run again at any time, also while other processes import from `gen/`.
Services are registered from descriptors by `services.chassis.rpc`, so no gRPC stubs are generated.
"""

from __future__ import annotations

import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

import google.rpc
import grpc_tools
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "protos"
TARGET = ROOT / "gen"


def include_paths() -> list[Path]:
    """Folders that protoc searches: ours, the well-known types, and `google/rpc` and its neighbours."""
    well_known = Path(grpc_tools.__path__[0]) / "_proto"
    googleapis = Path(google.rpc.__path__[0]).parent.parent
    return [SOURCES, well_known, googleapis]


def compile_protos(target: Path) -> None:
    """Write modules, their stubs and the descriptors with comments below `target`; exits with protoc's own message on a bad source."""
    sources = sorted(str(path.relative_to(SOURCES)) for path in SOURCES.rglob("*.proto"))
    if not sources:
        return
    plugin = Path(sysconfig.get_path("scripts")) / "protoc-gen-mypy"
    (target / "jishi").mkdir()
    arguments = [
        "protoc",
        *(f"--proto_path={path}" for path in include_paths()),
        f"--plugin=protoc-gen-mypy={plugin}",
        f"--python_out={target}",
        f"--mypy_out=quiet:{target}",
        "--include_source_info",  # the comments, which the OpenAPI document shows
        f"--descriptor_set_out={target / 'jishi' / 'descriptors.binpb'}",
        *sources,
    ]
    if protoc.main(arguments) != 0:
        sys.exit("protoc refused a file under protos/ (see above)")


def complete_packages(target: Path) -> None:
    """Make every folder below `target` a typed package: an `__init__.py` in each, `py.typed` at the top."""
    package = target / "jishi"
    package.mkdir(exist_ok=True)
    for folder in [package, *(path for path in package.rglob("*") if path.is_dir())]:
        (folder / "__init__.py").touch()
    (package / "py.typed").touch()


def publish(fresh: Path) -> int:
    """Bring `gen/` to the content of `fresh` file by file (each replaced atomically); returns how many files changed."""
    wanted = {path.relative_to(fresh) for path in fresh.rglob("*") if path.is_file()}
    present = {
        path.relative_to(TARGET)
        for path in TARGET.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.parent != TARGET
    }
    changed = 0
    for name in sorted(wanted):
        source, destination = fresh / name, TARGET / name
        if destination.exists() and destination.read_bytes() == source.read_bytes():
            continue
        destination.parent.mkdir(parents=True, exist_ok=True)
        source.replace(destination)
        changed += 1
    for name in sorted(present - wanted):
        (TARGET / name).unlink(missing_ok=True)
        changed += 1
    return changed


def remove_empty_packages() -> None:
    """Drop folders of `gen/` that hold nothing but bytecode (their protos are gone)."""
    for folder in sorted((path for path in TARGET.rglob("*") if path.is_dir()), reverse=True):
        if folder.name != "__pycache__" and not any(path.name != "__pycache__" for path in folder.iterdir()):
            shutil.rmtree(folder)


def main() -> None:
    """Compile into a scratch folder beside `gen/` and publish the difference."""
    TARGET.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".gen-", dir=ROOT) as scratch:
        fresh = Path(scratch)
        compile_protos(fresh)
        complete_packages(fresh)
        changed = publish(fresh)
    remove_empty_packages()
    print(f"gen/: {changed} file(s) changed")


if __name__ == "__main__":
    main()
