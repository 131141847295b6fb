"""Compatibility layers: the APIs of other products, so that existing clients need to change only their host and key.

Each product has a folder. A layer only translates requests and responses: it calls the same services and selectors as
our own routes, with the same authentication, scopes, limits, idempotency and audit. Its routes are declared with
`layer.CompatRouter`, are mounted in `somamemory/urls.py`, and are not in the OpenAPI document.
"""
