"""The playground's request as code to copy: curl, Python and TypeScript. Pure functions."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any


def samples(base: str, path: str, method: str, body: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (language, code) pairs. `method` is the name of the method in both clients, such as `memories.search`."""
    text = json.dumps(body, ensure_ascii=False)
    options = {name: value for name, value in body.items() if name != "query"}
    return [
        ("curl", _curl(f"{base}{path}", text)),
        ("Python", _python(base, method, str(body["query"]), options)),
        ("TypeScript", _typescript(base, method, str(body["query"]), options)),
    ]


def _curl(url: str, text: str) -> str:
    return (
        f"curl -s {shlex.quote(url)} \\\n"
        '  -H "Authorization: Bearer $SOMA_API_KEY" -H "Content-Type: application/json" \\\n'
        f"  -d {shlex.quote(text)}"
    )


def _python(base: str, method: str, query: str, options: Mapping[str, Any]) -> str:
    lines = "".join(f"\n    {name}={value!r}," for name, value in options.items())
    return (
        "import os\n\nfrom somamemory_client import Client\n\n"
        f'client = Client({base!r}, api_key=os.environ["SOMA_API_KEY"])\n'
        f"results = client.{method}(\n    {query!r},{lines}\n)"
    )


def _typescript(base: str, method: str, query: str, options: Mapping[str, Any]) -> str:
    def literal(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False)

    more = f", {json.dumps(options, indent=2, ensure_ascii=False)}" if options else ""
    return (
        'import { Client } from "@somamemory/client";\n\n'
        f"const client = new Client({{ baseUrl: {literal(base)}, apiKey: process.env.SOMA_API_KEY }});\n"
        f"const results = await client.{method}({literal(query)}{more});"
    )
