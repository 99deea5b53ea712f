"""What an application does with Langfuse's client, against our server; run by langfuse.rs, which has made the prompts."""

import datetime
import os
import urllib.parse

import httpx
from langfuse import Langfuse
from langfuse.api.commons.errors.not_found_error import NotFoundError
from langfuse.model import ChatPromptClient, TextPromptClient

NAME = "team a/Greeter"
CONFIG = {"model": "gpt-4o-mini", "temperature": 0.2}
client = Langfuse()

# By name: the version with the label production.
prompt = client.get_prompt(NAME)
assert isinstance(prompt, TextPromptClient) and not prompt.is_fallback
assert (prompt.name, prompt.version, prompt.prompt) == (NAME, 1, "Hello {{name}}")
assert (prompt.labels, prompt.tags, prompt.config) == (["production"], ["friendly", "short"], CONFIG)
assert prompt.commit_message is None
assert prompt.variables == ["name"]
assert prompt.compile(name="Ada") == "Hello Ada"

# By label, by version, and the newest.
staging = client.get_prompt(NAME, label="staging")
assert (staging.version, staging.commit_message) == (2, "more polite")
assert staging.labels == ["latest", "staging"]
assert staging.compile(name="Ada") == "Good day, Ada"
assert client.get_prompt(NAME, version=2) == staging
assert client.get_prompt(NAME, label="latest") == staging

# A chat, with a place for the application's own messages.
chat = client.get_prompt("support-chat", type="chat")
assert isinstance(chat, ChatPromptClient)
assert chat.variables == ["language", "question"]
history = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Salut"}]
compiled = chat.compile(language="French", question="Where?", history=history)
assert compiled == [
    {"role": "system", "content": "You answer in French."},
    *history,
    {"role": "user", "content": "Where?"},
], compiled

# What is not there: an error of the client's own, or the application's fallback.
for missing in [{"name": "nobody"}, {"name": NAME, "label": "nowhere"}, {"name": NAME, "version": 9}, {"name": "Retired"}]:
    try:
        client.get_prompt(**missing, max_retries=0)
    except NotFoundError as error:
        assert error.status_code == 404 and error.body["error"] == "LangfuseNotFoundError", error
    else:
        raise AssertionError(f"{missing} was found")
fallback = client.get_prompt("nobody", fallback="Hey {{name}}", max_retries=0)
assert fallback.is_fallback and fallback.compile(name="Ada") == "Hey Ada"

# The list.
listed = client.api.prompts.list()
assert [meta.name for meta in listed.data] == ["support-chat", NAME], listed
assert (listed.meta.page, listed.meta.total_items, listed.meta.total_pages) == (1, 2, 1)
greeter = listed.data[1]
assert (greeter.type, listed.data[0].type) == ("text", "chat")
assert (greeter.versions, greeter.labels) == ([1, 2], ["latest", "production", "staging"])
assert (greeter.tags, greeter.last_config) == (["friendly", "short"], CONFIG)


def names(**filters):
    return [meta.name for meta in client.api.prompts.list(**filters).data]


assert names(name=NAME) == [NAME] and names(name="nobody") == []
assert names(tag="short") == [NAME] and names(tag="long") == []
assert names(label="staging") == [NAME] and names(label="production") == ["support-chat", NAME]
production = client.api.prompts.list(name=NAME, label="production").data[0]
assert (production.versions, production.labels) == ([1], ["production"])
assert client.api.prompts.list(name=NAME, label="latest").data[0].versions == [2]
second = client.api.prompts.list(page=2, limit=1)
assert [meta.name for meta in second.data] == [NAME] and second.meta.total_pages == 2
assert client.api.prompts.list(page=3, limit=1).data == []
an_hour = datetime.timedelta(hours=1)
assert NAME in names(from_updated_at=greeter.last_updated_at)
assert NAME not in names(to_updated_at=greeter.last_updated_at)
assert names(from_updated_at=greeter.last_updated_at + an_hour) == []

assert client.api.health.health().status == "OK"

# The client's cache: a label that moves is seen when the client asks again.
server = httpx.Client(
    base_url=os.environ["LANGFUSE_HOST"] + "/api/v1",
    headers={"Authorization": "Bearer " + os.environ["LANGFUSE_SECRET_KEY"]},
    trust_env=False,
)
card = server.get("/cards", params={"title": NAME}).json()["items"][0]["id"]
moved = server.put(f"/cards/{card}/labels/production", json={"version": 2})
assert moved.status_code == 200, moved.text
fresh = {"min_position": moved.headers["pcs-position"]}
assert server.get("/prompts/" + urllib.parse.quote(NAME, safe=""), params=fresh).json()["version"] == 2
assert client.get_prompt(NAME).version == 1, "the client has it for a minute"
assert client.get_prompt(NAME, cache_ttl_seconds=0).version == 2
assert client.get_prompt(NAME, cache_ttl_seconds=0).labels == ["latest", "production", "staging"]

client.shutdown()
print("all that was asked was answered")
