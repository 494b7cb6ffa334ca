"""All services in one process a role: ``python -m services.embedded servers|worker|jobs``."""

from services.chassis.process import main_embedded

main_embedded()
