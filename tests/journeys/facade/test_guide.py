"""The guide to the facade names every path, and its session runs."""

import json

from tests.journeys import guides


def test_the_guide_names_every_path_and_its_session_runs(stack, shop):
    from services.gateway.facade.doors import CALLS, TOKEN_PATH, UPLOAD_PATH

    page = guides.text("docs/facade.md")
    assert [path for path in (*CALLS, TOKEN_PATH, UPLOAD_PATH) if f"`{path}`" not in page] == []
    (session,) = guides.sessions("docs/facade.md")
    told = guides.run(session, stack, APPID=shop.merchant.appid, SECRET=shop.merchant.secret)
    made, listed = (json.loads(line) for line in told.strip().split("\n"))
    assert [found["product_id"] for found in listed["products_info"]] == [made["product_id"]]
