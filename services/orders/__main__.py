"""``python -m services.orders server|worker``."""

from services.chassis.process import main

main("orders")
