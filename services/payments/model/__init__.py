"""The rules of payments as plain values and pure functions.

``ledger``: accounts and entries; ``plan``: what one cause does; ``payable``: collecting; ``escrow``: what becomes of a collected
share; ``cases``: disputes; ``purse``: a shop's balances; ``refund``: the way back through the channel.
"""
