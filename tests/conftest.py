"""What every test may use."""

pytest_plugins = ["tests.backends.plugin"]
