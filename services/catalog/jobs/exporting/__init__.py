"""Writing product files: products with their stock in, bytes of a file out. Nothing here knows the database.

What is written reads back as it was: importing an export again finds every product unchanged.
"""
