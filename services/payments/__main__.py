"""``python -m services.payments server|worker|jobs``."""

from services.chassis.process import main

main("payments")
