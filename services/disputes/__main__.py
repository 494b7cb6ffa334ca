"""``python -m services.disputes server|worker|jobs``."""

from services.chassis.process import main

main("disputes")
