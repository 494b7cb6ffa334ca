"""Reading product files: bytes in, product drafts or reasons out. Nothing here knows the database.

``reading.open_file`` finds out the encoding, the columns and how many products there are; ``laying`` keeps them one after the other and
yields them a few hundred at a time, so memory is bounded by a chunk whatever the size of the file.
"""
