"""The ``jishi`` command: up, seed, demo, import, audit, events, clock; starts the embedded stack."""
