"""Money in a shop's deposit, as the channel tells of it."""

from services.chassis import commit, ids
from services.chassis.commit import Cause
from services.payments.model import deposits
from services.payments.model.payable import Success
from services.payments.store import Store
from services.payments.store.wallets import heard


def paid_in(store: Store, shop_id: str, amount: int) -> Success:
    """The shop has paid ``amount`` (fen) into its deposit; what the channel told."""
    number = f"{deposits.PAID_IN}{ids.secret()}"[:32]
    shop = store.shop(shop_id)
    assert shop is not None
    commit.create(store.topups, deposits.payment(number, shop, amount), Cause(f"cmd:{number}"), natural=True)
    success = Success(number, ids.trans_id(), amount, shop["currency"])
    heard(store, success)
    return success
