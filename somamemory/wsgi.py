"""What gunicorn serves. Refuses to start with settings that do not fit the stored data."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "somamemory.settings")
application = get_wsgi_application()

# All routes now, not with the first request: a server that forks its processes from this one shares the memory.
import somamemory.urls  # noqa: E402, F401 - needs the application's set-up
