"""Long work of orders: files of a shop's orders."""

from typing import Final

from services.chassis.reacting import Job
from services.orders.jobs import exports

JOBS: Final = (Job("exports", "export", exports.run),)
