"""kill -9 of the servers while the search index takes in an import: in the end it holds what a rebuild makes, and that is what is on sale."""

import random
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from services.catalog.queries.search import FOLDER
from services.catalog.store.search.folder import Folder
from services.catalog.store.search.keeper import everything
from services.cli import imports
from services.cli.api import Api
from tests.backends.processes import wait_until

pytestmark = pytest.mark.timeout(600)
SAMPLE = Path(imports.__file__).parents[1] / "catalog" / "samples" / "products.zh.csv"
KILLS = 4


def held(stack):
    """What the index in force holds."""
    folder = Folder(stack.data / FOLDER)
    return dict(everything(folder.open(folder.pointer()["name"])))


def on_sale(stack):
    """The ids of listed products of open shops."""
    settings = stack.settings()
    with stack.connect() as client:
        catalog = client[f"{settings.db_prefix}catalog"]
        shops = [row["_id"] for row in catalog["shops"].find({"state": "open"}, {"_id": 1})]
        return {
            row["_id"] for row in catalog["products"].find({"state": "listed", "shop_id": {"$in": shops}}, {"_id": 1})
        }


def checked(stack):
    """``jishi search check``: its exit code, and what it says."""
    command = [sys.executable, "-m", "services.cli.main", "search", "check", "--wait", "5", "--data", str(stack.data)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@contextmanager
def unsold(stack, product_id):
    """The database alone says that this product is not on sale, while this lasts."""
    with stack.connect() as client:
        products = client[f"{stack.settings().db_prefix}catalog"]["products"]
        products.update_one({"_id": product_id}, {"$set": {"state": "delisted"}})
        yield product_id
        products.update_one({"_id": product_id}, {"$set": {"state": "listed"}})


def uploaded(shop):
    """An import of the sample under a key of its own; its id."""
    form = {"format": "jishi-csv", "policy": "reject_failed"}
    return shop.ask("POST", "/v1/imports", form=form, files={"file": ("p.csv", SAMPLE.read_bytes())}).body["import_id"]


def test_servers_killed_while_products_come_in(town, stack, seed):
    print(f"seed {seed}")
    rng = random.Random(seed)
    with Api(stack.url) as api:
        admin, shop = api.as_caller(town.admin.token), api.as_caller(town.shops[0].token)
        import_id = uploaded(shop)
        for _ in range(KILLS):
            grown = len(on_sale(stack)) + rng.randint(1, 60)
            wait_until(
                lambda grown=grown: len(on_sale(stack)) >= grown or over(shop, import_id),
                "products to come",
                every=0.01,
            )
            stack.kill("servers")
            stack.forgive()
        wait_until(lambda: over(shop, import_id), "the import")
        wait_until(lambda: set(held(stack)) == on_sale(stack), "the index to hold what is on sale")
        before = held(stack)
        rebuild_id = admin.post("/v1/search:rebuild")["rebuild_id"]
        wait_until(lambda: admin.get("/v1/search/status")["rebuild_id"] == rebuild_id, "the rebuild")
        assert held(stack) == before
        code, told = checked(stack)
        assert (code, told.endswith("shops agree\n")) == (0, True), told
        with unsold(stack, next(iter(before))) as product_id:
            code, told = checked(stack)
        assert (code, f"surplus {product_id}" in told) == (1, True), told
        assert len(before) > 200


def over(shop, import_id):
    """Whether the import has gone through its file."""
    return shop.get(f"/v1/imports/{import_id}")["state"] == "completed"
