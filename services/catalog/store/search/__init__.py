"""The search index: products on sale of open shops, on the disk of each machine that runs a catalog server.

``words``: text to terms. ``documents``: what of a product is indexed. ``asking``: a question as a query. ``finding``: hits, counts and
completions. ``folder``: the index on disk, and which one is in force. ``following``: an index kept up with the feed of changed products.
``keeper``: the thread that builds it and has it follow.
"""
