"""The rules of the catalog: categories, products, stock and reservations, chunks of bulk work, groups and shelves."""
