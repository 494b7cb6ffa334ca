"""The broker, and the only package that imports nameko, kombu and eventlet. Worker processes load it; ``patch`` comes first."""
