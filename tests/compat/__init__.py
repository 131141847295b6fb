"""Tests for the compatibility layers. Importing the URLs declares the layers' routes, which some tests list."""

import somamemory.urls  # noqa: F401
