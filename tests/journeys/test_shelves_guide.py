"""The session of docs/shelves.md, run as it stands there."""

from datetime import datetime, timedelta

from services.cli.demo.catalog import product
from tests.journeys import guides

GUIDE = "docs/shelves.md"


def test_the_session_of_the_shelf_guide_goes_as_it_says(stack, shop, admin, tmp_path):
    items = [product("tea-1", "龙井", 19900, 5)]
    identity = shop.api.post("/v1/products:bulkUpsert", {"items": items})["results"][0]["product_id"]
    now = datetime.fromisoformat(admin.post("/v1/sandbox/clock:advance", {"seconds": 1})["now"])
    soon = (now + timedelta(days=20)).isoformat()
    (session,) = guides.sessions(GUIDE)
    told = guides.run(session, stack, tmp_path, TOKEN=shop.merchant.token, PRODUCT=identity, SOON=soon)
    assert told.split() == ["<p>春茶<b>上市</b></p>", "龙井", "304", "1", "2", "1", "2"]
