"""Long work of the catalog: imports."""

from typing import Final

from services.catalog.jobs.imports import run
from services.chassis.reacting import Job

JOBS: Final = (Job("imports", "import", run),)
