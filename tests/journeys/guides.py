"""Sessions that stand in the guides, run as they stand there."""

import os
import re
import subprocess
from pathlib import Path

from services.cli.stack import Stack

ROOT = Path(__file__).parents[2]


def text(guide: str) -> str:
    """What the guide says."""
    return (ROOT / guide).read_text(encoding="utf-8")


def sessions(guide: str) -> list[str]:
    """The shell sessions of a guide."""
    return re.findall(r"```sh\n(.*?)```", text(guide), re.DOTALL)


def run(session: str, stack: Stack, folder: Path = ROOT, **variables: str) -> str:
    """Run a session against ``stack`` in ``folder``, with these ``variables`` set before it; what it printed."""
    environment = {**os.environ, "JISHI_BASE_URL": stack.url, "JISHI_DATA_DIR": str(stack.data), **variables}
    command = ["sh", "-c", f"set -e\n{session}"]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout
