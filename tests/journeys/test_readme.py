"""The first session of the README, run as it stands there."""

import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_first_session_goes_as_the_readme_says(stack, tmp_path):
    session = re.search(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    environment = {**os.environ, "JISHI_BASE_URL": stack.url, "JISHI_DATA_DIR": str(stack.data)}
    script = "set -e\n" + session.group(1).replace("--out world.json", f"--out {tmp_path}/world.json").replace(
        "< world.json", f"< {tmp_path}/world.json"
    )
    done = subprocess.run(
        ["bash", "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert '"state":"completed"' in done.stdout
    assert '"created":362' in done.stdout
    assert '"trade_state":"SUCCESS"' in done.stdout
    assert done.stdout.rstrip().endswith("}]}]}}")


def test_every_guide_that_the_readme_names_is_there():
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text(encoding="utf-8")):
        if "://" not in target:
            assert (ROOT / target).exists(), target
