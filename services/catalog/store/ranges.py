"""How the catalog's rows are asked for: from where to where, and how many in one answer."""

from typing import Final

FIRST: Final = "!"
LAST: Final = "~"
"""Before and after every position (an id). A page always says both ends of its range: the embedded database scans without, and finds
nothing above an empty string on a descending index."""
BATCH: Final = 1000
"""Rows an answer of the database may hold: what one call names comes in one round trip, where 101 are usual."""
