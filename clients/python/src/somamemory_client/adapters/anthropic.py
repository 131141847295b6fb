"""Claude's memory tool (`memory_20250818`): `SomaMemoryTool` and `AsyncSomaMemoryTool`.

    tools = [SomaMemoryTool(Client(), "users/ada/files")]
    client.beta.messages.tool_runner(model=…, messages=…, tools=tools)

Each file is a memory. Its key is the path under `/memories`, and its text can be searched. The results have the same
wording as those of Anthropic's tool for local files. A change to a file is stored only if the file has not changed
since it was read.
"""

from __future__ import annotations

from anthropic.lib.tools import BetaAbstractMemoryTool, BetaAsyncAbstractMemoryTool, ToolError
from anthropic.types.beta import (
    BetaCacheControlEphemeralParam,
    BetaMemoryTool20250818CreateCommand,
    BetaMemoryTool20250818DeleteCommand,
    BetaMemoryTool20250818InsertCommand,
    BetaMemoryTool20250818RenameCommand,
    BetaMemoryTool20250818StrReplaceCommand,
    BetaMemoryTool20250818ViewCommand,
)

from somamemory_client import AsyncClient, Client, InvalidArgument, InvalidInput, PayloadTooLarge
from somamemory_client.adapters._calls import Calls, run, run_async
from somamemory_client.adapters._memory_files import Files, Refused

_REFUSALS = (Refused, InvalidArgument, InvalidInput, PayloadTooLarge)


class SomaMemoryTool(BetaAbstractMemoryTool):
    """Claude's memory tool, with the synchronous client.

    namespace: the namespace that contains the files. Use a separate namespace per user, because files have no user id.
    """

    def __init__(
        self, client: Client, namespace: str, *, cache_control: BetaCacheControlEphemeralParam | None = None
    ) -> None:
        super().__init__(cache_control=cache_control)
        self._client = client
        self._files = Files(namespace)

    def view(self, command: BetaMemoryTool20250818ViewCommand) -> str:
        return self._run(self._files.view(command.path, command.view_range))

    def create(self, command: BetaMemoryTool20250818CreateCommand) -> str:
        return self._run(self._files.create(command.path, command.file_text))

    def str_replace(self, command: BetaMemoryTool20250818StrReplaceCommand) -> str:
        return self._run(self._files.str_replace(command.path, command.old_str, command.new_str))

    def insert(self, command: BetaMemoryTool20250818InsertCommand) -> str:
        return self._run(self._files.insert(command.path, command.insert_line, command.insert_text))

    def delete(self, command: BetaMemoryTool20250818DeleteCommand) -> str:
        return self._run(self._files.delete(command.path))

    def rename(self, command: BetaMemoryTool20250818RenameCommand) -> str:
        return self._run(self._files.rename(command.old_path, command.new_path))

    def _run(self, calls: Calls[str]) -> str:
        try:
            return run(self._client, calls)
        except _REFUSALS as error:
            raise ToolError(str(error)) from error


class AsyncSomaMemoryTool(BetaAsyncAbstractMemoryTool):
    """Claude's memory tool, with the asynchronous client. See SomaMemoryTool."""

    def __init__(
        self, client: AsyncClient, namespace: str, *, cache_control: BetaCacheControlEphemeralParam | None = None
    ) -> None:
        super().__init__(cache_control=cache_control)
        self._client = client
        self._files = Files(namespace)

    async def view(self, command: BetaMemoryTool20250818ViewCommand) -> str:
        return await self._run(self._files.view(command.path, command.view_range))

    async def create(self, command: BetaMemoryTool20250818CreateCommand) -> str:
        return await self._run(self._files.create(command.path, command.file_text))

    async def str_replace(self, command: BetaMemoryTool20250818StrReplaceCommand) -> str:
        return await self._run(self._files.str_replace(command.path, command.old_str, command.new_str))

    async def insert(self, command: BetaMemoryTool20250818InsertCommand) -> str:
        return await self._run(self._files.insert(command.path, command.insert_line, command.insert_text))

    async def delete(self, command: BetaMemoryTool20250818DeleteCommand) -> str:
        return await self._run(self._files.delete(command.path))

    async def rename(self, command: BetaMemoryTool20250818RenameCommand) -> str:
        return await self._run(self._files.rename(command.old_path, command.new_path))

    async def _run(self, calls: Calls[str]) -> str:
        try:
            return await run_async(self._client, calls)
        except _REFUSALS as error:
            raise ToolError(str(error)) from error
