"""Long work of the catalog: imports, exports, pictures to fetch and to let go."""

from typing import Final

from services.catalog.jobs import exports, images, imports, letting_go
from services.chassis.reacting import Job

JOBS: Final = (
    Job("imports", "import", imports.run),
    Job("exports", "export", exports.run),
    Job("image_fetches", "image_fetch", images.run),
    Job("images", "image_look", letting_go.look),
    Job("image_files", "image_removal", letting_go.remove),
)
