"""Files laid out in memory, as an import keeps them in the database."""

import json

from services.catalog.jobs.importing.laying import LaidFile, builder, packed


def laid(file, name):
    """The file as an import reads it: what its format builds by has been plain values in between."""
    blocks = list(packed(file))
    return LaidFile(lambda first: iter(blocks[first:]), builder(name, json.loads(json.dumps(file.shape))))


def chunks(file, name, context, **how):
    """The items, chunk by chunk."""
    return [items for items, _ in laid(file, name).chunks(context, **how)]
