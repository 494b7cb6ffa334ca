"""What the catalog is told to do: one function a command, on plain values."""
