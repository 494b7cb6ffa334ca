"""``python -m services.catalog server|worker|jobs``."""

from services.chassis.process import main

main("catalog")
