# Written by scripts/client_sync.py from _async/__init__.py. Do not edit: run `make reference`.
"""The synchronous client."""
