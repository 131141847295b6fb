"""The benchmark for the admin console: see `__main__.py`."""
