"""Admin pages for the models, registered with `console.site`."""

from console.admin import api_keys, audit, conversations, grants, index, links, memories, tenants, users  # noqa: F401
