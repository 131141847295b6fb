"""Write the OpenAPI document to standard output: `python scripts/openapi.py > openapi.json`."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path


def document() -> str:
    import django

    django.setup()
    from api.app import api

    return json.dumps(api.get_openapi_schema(), default=str, indent=1)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    os.environ["DJANGO_SETTINGS_MODULE"] = "somamemory.settings"
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SOMA_DATA_DIR"] = folder
        print(document())
