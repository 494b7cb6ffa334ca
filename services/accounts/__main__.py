"""``python -m services.accounts server|worker|jobs``."""

from services.chassis.process import main

main("accounts")
