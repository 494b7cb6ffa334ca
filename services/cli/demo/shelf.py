"""Chapter 3: groups, a shelf, and its public view."""

from typing import Any

from services.chassis import clock
from services.cli.api import Api
from services.cli.demo.catalog import product
from services.cli.demo.story import Story

TITLE = "3 shelf"
FRESH_WITHIN_S = 1.0


def tell(story: Story) -> None:
    """Group → shelf → publish → what anybody sees, and how old it is."""
    shop, shop_id = story.shop(0), story.shops[0].shop_id
    made = shop.post(
        "/v1/products:bulkUpsert",
        {"items": [product(f"shelf-{number}", f"货架商品 {number}", 2000 + number, 30) for number in range(12)]},
    )
    ids = [result["product_id"] for result in made["results"]]
    first = shop.post("/v1/groups", {"name": "新茶上市"})["group"]["group_id"]
    shop.post(f"/v1/groups/{first}:addProducts", {"product_ids": ids[:8]})
    second = shop.post("/v1/groups", {"name": "茶具", "product_ids": ids[8:]})["group"]["group_id"]
    modules = [
        {"kind": "products", "groups": [{"group_id": first}], "count": 8},
        {"kind": "group_names", "groups": [{"group_id": first}, {"group_id": second}]},
    ]
    shelf = shop.post("/v1/shelves", {"name": "春茶", "slug": "spring", "modules": modules})["shelf"]
    draft = story.api.ask("GET", f"/v1/public/shelves/{shop_id}/spring")
    story.expect.refused(draft, "NOT_FOUND", "a shelf that is not published yet")
    published = shop.post(f"/v1/shelves/{shelf['shelf_id']}:publish")["shelf"]
    story.expect.equal(published["published_version"], 1, "the first published version")
    view = story.api.get(f"/v1/public/shelves/{shop_id}/spring")
    shown = [entry["product_id"] for entry in products(view)]
    story.expect.true(set(ids[:8]) <= set(shown), "the group's products are on the shelf")
    sample = next(entry for entry in products(view) if entry["product_id"] == ids[0])
    story.expect.equal((sample["price"], sample["available"]), (2000, 30), "price and stock on the shelf")
    story.figure("products on the public shelf", len(shown))
    stays_fresh(story, shop, f"/v1/public/shelves/{shop_id}/spring", ids[0])


def stays_fresh(story: Story, shop: Api, path: str, product_id: str) -> None:
    """A change of stock shows within a second."""
    sku_id = shop.get(f"/v1/products/{product_id}")["product"]["skus"][0]["sku_id"]
    story.api.get(path)
    done = shop.post(
        "/v1/products:bulkUpdateStock", {"items": [{"sku_id": sku_id, "delta": -5, "request_id": "shelf-1"}]}
    )
    story.expect.true(done["results"][0]["ok"], f"stock is taken away: {done}")
    began = clock.monotonic()
    story.until(
        lambda: available(story.api.get(path), product_id), lambda found: found == 25, "the new stock on the shelf", 5
    )
    age = clock.monotonic() - began
    story.expect.true(age <= FRESH_WITHIN_S, f"the shelf is at most 1 s old (it took {age:.2f} s)")
    story.figure("change of stock → public shelf, ms", round(age * 1000))


def products(view: dict[str, Any]) -> list[dict[str, Any]]:
    """The products of all modules of a public shelf."""
    return [entry for module in view["modules"] for group in module["groups"] for entry in group["products"]]


def available(view: dict[str, Any], product_id: str) -> int:
    """What the shelf says of a product's stock; -1 where it does not show it."""
    return next((int(entry["available"]) for entry in products(view) if entry["product_id"] == product_id), -1)
