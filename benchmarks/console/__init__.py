"""The benchmark of the admin console: see `__main__.py`."""
