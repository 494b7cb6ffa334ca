"""docs/imports.md, run as it stands there."""

import json
import re
from pathlib import Path

from services.catalog.model import undo
from tests.journeys import guides

GUIDE = "docs/imports.md"


def test_the_guide_goes_as_it_says(stack, shop, tmp_path):
    told = guides.run("".join(guides.sessions(GUIDE)), stack, tmp_path, TOKEN=shop.merchant.token)
    dry, failed, mended, undone, again = (json.loads(line) for line in told.splitlines())
    assert (dry["state"], dry["created"], dry["failed"]) == ("ready", 1, 1)
    assert [(row["row"], row["field"]) for row in failed["results"]] == [(2, "skus[0].price")]
    assert "FIELD_INVALID" in (tmp_path / "failed.csv").read_text(encoding="utf-8-sig")
    assert (mended["created"], mended["unchanged"], mended["failed"]) == (1, 1, 0)
    assert [(row["external_id"], row["reason"]) for row in undone["results"]] == [("TEA-2", "DELETED")]
    assert (again["total"], again["unchanged"]) == (1, 1)


def test_the_guide_names_every_end_of_an_undo():
    source = Path(undo.__file__).read_text(encoding="utf-8")
    reasons = set(re.findall(r'"([A-Z]+(?:_[A-Z]+)+|RESTORED|DELETED|DELISTED|GONE)"', source))
    assert len(reasons) == 9
    assert [reason for reason in reasons if f"`{reason}`" not in guides.text(GUIDE)] == []
