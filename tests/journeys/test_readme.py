"""The first session of the README, run as it stands there."""

import re

from tests.journeys import guides


def test_the_first_session_goes_as_the_readme_says(stack, tmp_path):
    (session,) = [found for found in guides.sessions("README.md") if "curl" in found]
    moved = session.replace("--out world.json", f"--out {tmp_path}/world.json")
    told = guides.run(moved.replace("< world.json", f"< {tmp_path}/world.json"), stack)
    assert '"state":"completed"' in told
    assert '"created":362' in told
    assert '"trade_state":"SUCCESS"' in told
    assert told.rstrip().endswith("}]}]}}")


def test_every_guide_that_the_readme_names_is_there():
    for target in re.findall(r"\]\(([^)#]+)\)", guides.text("README.md")):
        if "://" not in target:
            assert (guides.ROOT / target).exists(), target
