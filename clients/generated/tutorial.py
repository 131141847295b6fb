"""The steps of docs/tutorial.md with a client of openapi-python-client. Takes the URL of a server and a key."""

import sys

from soma_memory_client import AuthenticatedClient
from soma_memory_client.api.conversations import context_assemble, conversations_append, conversations_create
from soma_memory_client.api.memories import memories_get_by_key, memories_list, memories_store
from soma_memory_client.api.search import memories_search
from soma_memory_client.models import ContextBody, ConversationBody, MessagesBody, SearchBody, StoreBody

url, key = sys.argv[1:]
client = AuthenticatedClient(base_url=url, token=key, raise_on_unexpected_status=True)


def store(text, **fields):
    return memories_store.sync(client=client, body=StoreBody.from_dict({"payload": {"text": text}, **fields}))


def search(query, **fields):
    found = memories_search.sync(client=client, body=SearchBody.from_dict({"query": query, **fields}))
    return [hit.payload["text"] for hit in found.memories]


# Step 2: store memories
stored = store("Bob is allergic to peanuts.", user_id="bob")
assert (stored.version, len(stored.coordinate)) == (1, 3)
store("Ada drinks her coffee without sugar.", key="ada/coffee", user_id="ada", importance=5)
store("Ada lives in Bern and cycles to work.", key="ada/home", user_id="ada")

# Step 3: fetch them
fetched = memories_get_by_key.sync("ada/coffee", client=client)
assert fetched.memory.payload["text"] == "Ada drinks her coffee without sugar."
listed = memories_list.sync(client=client, key_prefix="ada")
assert [memory.key for memory in listed.items] == ["ada/coffee", "ada/home"]

# Step 4: search
assert search("What can I offer Ada to drink?", user_id="ada", top_k=2)[0].startswith("Ada drinks her coffee")
assert not any("Bob" in text for text in search("Who is allergic?", user_id="ada"))

# Step 5: record a conversation
messages = [
    {"role": "user", "content": "Ada is coming for breakfast on Sunday. She has stopped eating eggs."},
    {"role": "assistant", "content": "I will plan a breakfast without eggs."},
]
begun = {"label": "Breakfast", "folder": "/home", "user_id": "ada", "messages": messages}
conversation = conversations_create.sync(client=client, body=ConversationBody.from_dict(begun))
more = {"messages": [{"role": "user", "content": "And no peanuts, Bob will be there."}]}
conversations_append.sync(conversation.id, client=client, body=MessagesBody.from_dict(more))

# Step 6: assemble a context
question = ContextBody.from_dict({"query": "What should I cook for Ada on Sunday?", "context_budget": 500})
context = context_assemble.sync(client=client, body=question)
assert any("eggs" in message.content for message in context)

# Step 7: use it in an agent
for said in ["I am a vegetarian now.", "What should I cook on Sunday?"]:
    known = search(said, user_id="ada", top_k=3)
    store(said, user_id="ada")
assert "I am a vegetarian now." in known, known
print("openapi-python-client: all steps of the tutorial")
