"""What the catalog is asked: one function a question, answering plain values."""
