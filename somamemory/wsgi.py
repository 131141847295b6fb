"""What gunicorn serves. Refuses to start with settings that do not fit the stored data."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "somamemory.settings")
application = get_wsgi_application()
