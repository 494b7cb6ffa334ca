"""Credits that no debit needed, folded into their shop's balances."""

import contextlib
from collections.abc import Callable

from services.chassis.commit import Shortfall, Taken
from services.chassis.reacting import JobRun
from services.payments.store import Store
from services.payments.store.posting import fold


def run(run: JobRun) -> None:
    """Fold everything that waits for the shop of this credit into its balances."""
    fold_all(Store(run.database), run.row["shop_id"], run.keep)


def fold_all(store: Store, shop_id: str, keep: Callable[[], None]) -> None:
    """Fold until nothing waits. A debit or another job that folds at the same time leaves us nothing to do: the rest comes again."""
    with contextlib.suppress(Shortfall, Taken):
        while fold(store, shop_id):
            keep()
