"""Claude's memory tool with SomaMemory.

The commands are scripted here; a model would send them through `tool_runner`.
"""

from somamemory_client import Client
from somamemory_client.adapters.anthropic import SomaMemoryTool

COMMANDS = (
    {"command": "create", "path": "/memories/ada.md", "file_text": "Ada is a vegetarian.\n"},
    {"command": "insert", "path": "/memories/ada.md", "insert_line": 1, "insert_text": "She cooks on Sundays."},
    {"command": "view", "path": "/memories/ada.md"},
)


def main(client: Client) -> list[str]:
    tool = SomaMemoryTool(client, "users/ada/files")
    # With a model: anthropic.Anthropic().beta.messages.tool_runner(model=…, messages=…, max_tokens=…, tools=[tool])
    return [str(tool.call(command)) for command in COMMANDS]


if __name__ == "__main__":
    with Client() as client:
        for line in main(client):
            print(line)
