"""The rules of orders: states and their one table, amounts, what commands, events and timers decide. Values only."""
