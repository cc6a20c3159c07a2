"""Chats: the next message of a conversation, generated and logged.

The model gets the config's chat template, with the inputs filled in, and then the messages of the
request, unchanged. A chat goes to the chat endpoint, whatever endpoint a config names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from humanloop.server.errors import Location
from humanloop.server.generation import templates
from humanloop.server.operations.prompts import Task


def _text(
    parameters: Mapping[str, Any], body: Mapping[str, Any], _location: Location
) -> dict[str, Any]:
    template: list[dict[str, Any]] = parameters.get("chat_template", [])
    contents = templates.fill(
        [message.get("content", "") for message in template],
        body.get("inputs", {}),
        ("body", "inputs"),
    )
    filled = [
        {**message, "content": content} if "content" in message else message
        for message, content in zip(template, contents, strict=True)
    ]
    return {"messages": [*filled, *body["messages"]]}


CHAT = Task("chat", _text, piece_keys=(), sample_keys=("inputs", "messages"))
