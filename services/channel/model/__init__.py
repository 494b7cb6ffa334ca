"""The rules of the channel: pure functions from one trade to the next; they raise ``Refused`` and touch nothing.

``values`` the words, ``script`` the forced faults, ``trade`` place, pay and close, ``refund`` refunds, ``notice`` notifications.
"""
