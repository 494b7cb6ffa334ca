"""Shops as old clients see them."""

import pytest

from tests.journeys.old_shop import OldShop


@pytest.fixture
def old(stack, shop):
    """The shop as an old client sees it."""
    made = OldShop(stack.url, shop.merchant)
    yield made
    made.client.close()


@pytest.fixture
def others(stack, open_shop):
    """Another shop, as another old client sees it."""
    made = OldShop(stack.url, open_shop("别家").merchant)
    yield made
    made.client.close()
