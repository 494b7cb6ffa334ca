"""``python -m services.orders server|worker|jobs``."""

from services.chassis.process import main

main("orders")
