"""``python -m services.broadcast server|worker|jobs``."""

from services.chassis.process import main

main("broadcast")
