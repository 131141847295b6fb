"""The WSGI application that gunicorn serves."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "somamemory.settings")
application = get_wsgi_application()

# Load all routes now instead of at the first request, so that forked processes share the memory.
import somamemory.urls  # noqa: E402, F401 - needs the application's set-up
