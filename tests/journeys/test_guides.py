"""The session of docs/products.md, run as it stands there."""

import json
import re

from tests.journeys import guides

GUIDE = "docs/products.md"


def test_the_session_of_the_product_guide_goes_as_it_says(stack, shop, tmp_path):
    world = {"shops": [{"appid": shop.merchant.appid, "secret": shop.merchant.secret}]}
    (tmp_path / "world.json").write_text(json.dumps(world), encoding="utf-8")
    told = guides.run(guides.sessions(GUIDE)[0], stack, tmp_path)
    name, skus, properties, upserted, priced, stocked, changed, old, delisted, deleted = told.strip().split("\n")
    assert (name, changed, old) == ("女装", "DRESS-1", "19900")
    assert [axis["name"] for axis in json.loads(skus)["sku_attributes"]] == ["颜色", "尺码"]
    assert "品牌" in [each["name"] for each in json.loads(properties)["properties"]]
    assert [row["outcome"] for row in json.loads(upserted)["results"]] == ["created", "failed"]
    assert json.loads(upserted)["results"][1]["problems"][0]["field"] == "skus[0].original_price"
    assert json.loads(priced)["updated"] == 2
    assert [row["ok"] for row in json.loads(stocked)["results"]] == [True, True]
    assert (json.loads(delisted)["updated"], json.loads(deleted)["deleted"]) == (1, 1)


def test_the_guide_names_the_reasons_it_explains():
    code = "".join(path.read_text(encoding="utf-8") for path in (guides.ROOT / "services").rglob("*.py"))
    for reason in set(re.findall(r"`([A-Z]+_[A-Z_]+)`", guides.text(GUIDE))):
        assert f'"{reason}"' in code, reason
