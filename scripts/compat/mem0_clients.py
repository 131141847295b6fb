"""Check every method of mem0's Python clients, synchronous and asynchronous. Runs in the client's environment.

SOMA_DOCS: the path to a document whose Python blocks are run as well.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import re
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from typing import Any

from checks import KEY, URL, raises, run
from mem0 import AsyncMemoryClient, MemoryClient
from mem0.exceptions import MemoryNotFoundError, ValidationError

UNSUPPORTED = "is not supported by SomaMemory"
loop = asyncio.new_event_loop()


class Checks:
    """The checks of one client. They must run in order, because later checks use what earlier ones have stored."""

    def __init__(self, client: Any, name: str) -> None:
        self.client, self.user = client, f"{name}-user"
        self.ids: list[str] = []

    def do(self, method: str, *args: Any, **options: Any) -> Any:
        target = self.client
        for part in method.split("."):
            target = getattr(target, part)
        result = target(*args, **options)
        return loop.run_until_complete(result) if inspect.isawaitable(result) else result

    def texts(self, **filters: Any) -> list[str]:
        return sorted(
            memory["memory"] for memory in self.do("get_all", filters={"user_id": self.user, **filters})["results"]
        )

    def add(self) -> bool:
        said = [{"role": "user", "content": "I hike in Bern"}, {"role": "assistant", "content": "Noted"}]
        added = self.do("add", said, user_id=self.user, metadata={"kind": "hobby", "level": 3})
        return bool(added["event_id"]) and added["status"] == "SUCCEEDED"

    def add_verbatim(self) -> bool:
        owners = {"user_id": self.user, "agent_id": "vet", "app_id": "pets", "run_id": "r1"}
        added = self.do("add", "My cat is called Mia", infer=False, **owners)
        self.ids = [added["results"][0]["id"]]
        return bool(
            added["results"][0] == {"id": self.ids[0], "data": {"memory": "My cat is called Mia"}, "event": "ADD"}
        )

    def get(self) -> bool:
        memory = self.do("get", self.ids[0])
        return (memory["memory"], memory["app_id"], memory["run_id"]) == ("My cat is called Mia", "pets", "r1")

    def get_all(self) -> bool:
        if self.do("get_all", filters={"user_id": "nobody"})["results"]:
            return False
        return self.texts() == ["I hike in Bern", "My cat is called Mia", "Noted"]

    def pages(self) -> bool:
        page = self.do("get_all", filters={"user_id": self.user}, page=2, page_size=2)
        return (
            len(page["results"]) == 1 and page["count"] == 3 and page["next"] is None and "page=1" in page["previous"]
        )

    def filters(self) -> bool:
        wanted: list[tuple[dict[str, Any], int]] = [
            ({"app_id": "*"}, 1), ({"app_id": {"ne": "pets"}}, 0), ({"run_id": {"in": ["r1", "r2"]}}, 1),
            ({"NOT": {"app_id": "pets"}}, 2), ({"OR": [{"agent_id": "vet"}, {"metadata": {"kind": "hobby"}}]}, 3),
            ({"metadata": {"level": 3}}, 2), ({"metadata": {"kind": {"contains": "obb"}}}, 2),
            ({"metadata": {"kind": {"ne": "hobby"}}}, 0), ({"keywords": {"icontains": "HIKE"}}, 1),
            ({"keywords": {"contains": "HIKE"}}, 0), ({"created_at": {"gte": "2024-01-01"}}, 3),
            ({"updated_at": {"lt": "2024-01-01T00:00:00Z"}}, 0), ({"categories": {"in": ["food"]}}, 0),
            ({"memory_ids": self.ids}, 1), ({"AND": [{"agent_id": "vet"}, {"AND": [{"app_id": "pets"}]}]}, 1),
            ({"agent_id": "*", "run_id": "*"}, 1), ({"agent_id": {"eq": "vet"}}, 1), ({"run_id": {"ne": "r2"}}, 1),
            ({"created_at": {"gt": "2024-01-01", "lte": "2999-01-01"}}, 3), ({"text": {"contains": "Mia"}}, 1),
            ({"AND": [{"NOT": [{"agent_id": "vet"}, {"keywords": {"contains": "Noted"}}]}]}, 1),
            ({"OR": [{"app_id": "other"}, {"run_id": "other"}]}, 0), ({"memory_ids": {"in": self.ids}}, 1),
            ({"metadata": {"level": {"eq": 4}}}, 0),
        ]  # fmt: skip
        for filters, count in wanted:
            within = {"AND": [{"user_id": self.user}, filters]}
            if len(self.texts(**filters)) != count or len(self.do("search", "Bern", filters=within)["results"]) > count:
                return False
        return True

    def search(self) -> bool:
        found = self.do("search", "What is the name of my cat?", filters={"user_id": self.user})["results"]
        return bool(found[0]["id"] == self.ids[0] and 0 < found[0]["score"] <= 1)

    def search_options(self) -> bool:
        queries = ("cat", "hike", "Bern", "Mia", "noted", "a city in Switzerland", "Moritz", "pets", "hobbies", "who?")
        for query in queries:
            wanted = {"OR": [{"user_id": self.user}, {"agent_id": "nobody"}]}
            if len(self.do("search", query, filters=wanted, top_k=2, rerank=True)["results"]) > 2:
                return False
        return self.do("search", "x", filters={"user_id": "nobody"}, threshold=0.5)["results"] == []

    def update(self) -> bool:
        changed = self.do("update", self.ids[0], text="My cat is called Moritz", metadata={"name": "Moritz"})
        return bool(changed["memory"] == "My cat is called Moritz" and changed["metadata"] == {"name": "Moritz"})

    def expiry(self) -> bool:
        days = [self.do("update", self.ids[0], expiration_date=day)["expiration_date"] for day in ("2999-12-31", None)]
        return days == ["2999-12-31", None]

    def history(self) -> bool:
        changes = self.do("history", self.ids[0])
        return changes[0]["event"] == "ADD" and changes[1]["old_memory"] == "My cat is called Mia"

    def users(self) -> bool:
        named = {(entity["type"], entity["name"]) for entity in self.do("users")["results"]}
        return {("user", self.user), ("agent", "vet"), ("app", "pets"), ("run", "r1")} <= named

    def batch_update(self) -> bool:
        self.ids = [memory["id"] for memory in self.do("get_all", filters={"user_id": self.user})["results"]]
        items = [{"memory_id": id, "text": f"number {number}"} for number, id in enumerate(self.ids)]
        self.do("batch_update", items)
        return self.texts() == ["number 0", "number 1", "number 2"]

    def batch_delete(self) -> bool:
        self.do("batch_delete", [{"memory_id": self.ids[0]}])
        return self.texts() == ["number 1", "number 2"]

    def delete(self) -> bool:
        self.do("delete", self.ids[1])
        return raises(MemoryNotFoundError, lambda: self.do("get", self.ids[1]))

    def invalid_id(self) -> bool:
        return raises(ValidationError, lambda: self.do("get", "no-uuid"))

    def invalid_filters(self) -> bool:
        wrong = (
            {},
            {"bogus": 1},
            {"user_id": {"gt": 1}},
            {"metadata": {"a": 1}},
            {"user_id": "x", "memory_ids": ["1"]},
        )
        return all(raises(ValidationError, partial(self.do, "get_all", filters=filters)) for filters in wrong)

    def delete_all(self) -> bool:
        self.do("delete_all", user_id=self.user)
        return self.texts() == []

    def delete_users(self) -> bool:
        self.do("add", "one", user_id=self.user, infer=False)
        return bool(self.do("delete_users", user_id=self.user)["message"] == "Entity deleted successfully.")

    def reset(self) -> bool:
        self.do("add", "one", user_id=self.user, agent_id="of/every kind", infer=False)
        return "successful" in self.do("reset")["message"]

    def refuses(self, method: str, *args: Any, **options: Any) -> Callable[[], bool]:
        def check() -> bool:
            try:
                self.do(method, *args, **options)
            except Exception as error:  # noqa: BLE001 - the methods raise different errors for the same status
                return UNSUPPORTED in str(error)
            return False

        return check

    def all(self) -> dict[str, Callable[[], bool]]:
        steps = (
            self.add, self.add_verbatim, self.get, self.get_all, self.pages, self.filters, self.search,
            self.search_options, self.update, self.expiry, self.history, self.users, self.batch_update,
            self.batch_delete, self.delete, self.invalid_id, self.invalid_filters, self.delete_all, self.delete_users,
            self.reset,
        )  # fmt: skip
        return {step.__name__: step for step in steps} | {
            "create_memory_export": self.refuses("create_memory_export", "{}", filters={"user_id": "x"}),
            "get_memory_export": self.refuses("get_memory_export", user_id="x"),
            "get_summary": self.refuses("get_summary", {"user_id": "x"}),
            "get_project": self.refuses("get_project", ["custom_instructions", "custom_categories"]),
            "update_project": self.refuses("update_project", custom_instructions="x"),
            "project.get": self.refuses("project.get"),
            "project.get_members": self.refuses("project.get_members"),
            "get_webhooks": self.refuses("get_webhooks", "p"),
            "create_webhook": self.refuses("create_webhook", "http://x", "n", "p", ["memory_add"]),
            "update_webhook": self.refuses("update_webhook", 1, name="x"),
            "delete_webhook": self.refuses("delete_webhook", 1),
            "feedback": self.refuses("feedback", "0c1c1f0e-0000-4000-8000-000000000001", "POSITIVE"),
        }


def document(path: str) -> dict[str, Callable[[], bool]]:
    """Return a check for each Python block in a document. Each block uses the server and the key of this run."""
    with open(path) as file:
        blocks = re.findall(r"^```python\n(.*?)^```$", file.read(), re.MULTILINE | re.DOTALL)

    def check(block: str) -> bool:
        local = block.replace("MemoryClient()", f'MemoryClient(host="{URL}", api_key="{KEY}")')
        local = local.replace("http://127.0.0.1:9595/mem0", URL)
        os.environ["MEM0_KEY"] = KEY
        os.chdir(tempfile.mkdtemp())  # because the block writes a file
        exec(local, {})  # noqa: S102
        return True

    return {f"block {number}": lambda block=block: check(block) for number, block in enumerate(blocks, 1)}


if __name__ == "__main__":
    which = sys.argv[1]
    if which == "sync":
        checks = Checks(MemoryClient(api_key=KEY, host=URL), which).all()
        checks["wrong key"] = lambda: raises(ValueError, lambda: MemoryClient(api_key="wrong", host=URL))
    elif which == "async":
        checks = Checks(AsyncMemoryClient(api_key=KEY, host=URL), which).all()
    else:
        checks = document(os.environ["SOMA_DOCS"])
    run(f"mem0ai, {which}", checks, len(checks))
