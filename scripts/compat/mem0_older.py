"""Check older Python clients of mem0, which use older API paths. The client must be on PYTHONPATH."""

from __future__ import annotations

import sys
import warnings
from typing import Any

from checks import KEY, URL, run
from mem0 import MemoryClient

warnings.simplefilter("ignore")  # these clients warn about newer versions
VERSION = sys.argv[1]
USER = f"user of {VERSION}"
client = MemoryClient(api_key=KEY, host=URL)
VERSIONED = VERSION.startswith("0.")
FILTERS = {"filters": {"AND": [{"user_id": USER}]}}


def rows(answer: Any) -> list[dict[str, Any]]:
    """Return the rows of a list. Newer versions of the API return them in `results`."""
    found: list[dict[str, Any]] = answer["results"] if isinstance(answer, dict) else answer
    return found


def texts(answer: Any) -> list[str]:
    return sorted(row["memory"] for row in rows(answer))


def listed(**options: Any) -> Any:
    of = {"user_id": USER} if VERSIONED and options.get("version") != "v2" else FILTERS
    return client.get_all(**of, **options)


def id_of(text: str) -> str:
    [id] = [row["id"] for row in rows(listed()) if row["memory"] == text]
    return str(id)


def added() -> bool:
    said = [{"role": "user", "content": "I hike in Bern"}, {"role": "user", "content": "I sow beans"}]
    return texts(client.add(said, user_id=USER, app_id="shed", infer=False)) == ["I hike in Bern", "I sow beans"]


def searched(**options: Any) -> bool:
    of = {"user_id": USER} if VERSIONED and options.get("version") != "v2" else FILTERS
    return texts(client.search("Where do I hike?", top_k=1, **of, **options)) == ["I hike in Bern"]


def updated() -> bool:
    client.update(id_of("I sow beans"), "I sow peas")
    return texts(listed()) == ["I hike in Bern", "I sow peas"]


def deleted() -> bool:
    client.delete(id_of("I sow peas"))
    return texts(listed()) == ["I hike in Bern"]


def deleted_entity() -> bool:
    client.delete_users(**{} if VERSION == "0.1.67" else {"user_id": USER})
    return rows(listed()) == []


def deleted_all() -> bool:
    client.add("one", user_id=USER, infer=False)
    client.delete_all(user_id=USER)
    return rows(listed()) == []


CHECKS = {
    "add": added,
    "get_all": lambda: texts(listed()) == ["I hike in Bern", "I sow beans"],
    "a page of get_all": lambda: listed(page=1, page_size=1)["count"] == 2,
    "search": searched,
    "get": lambda: client.get(id_of("I sow beans"))["app_id"] == "shed",
    "update": updated,
    "history": lambda: [change["event"] for change in client.history(id_of("I sow peas"))] == ["ADD", "UPDATE"],
    "users": lambda: USER in {entity["name"] for entity in client.users()["results"]},
    "delete": deleted,
    "delete_users": deleted_entity,
    "delete_all": deleted_all,
}
if VERSIONED:
    CHECKS["get_all, version 2"] = lambda: rows(listed(version="v2")) == []
    CHECKS["search, version 2"] = lambda: added() and searched(version="v2")
run(f"mem0ai {VERSION}", CHECKS, len(CHECKS))
