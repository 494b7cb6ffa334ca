"""What merchants do: followers and tags (``following``), broadcasts (``sending``)."""
