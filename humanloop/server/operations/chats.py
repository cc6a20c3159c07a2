"""Chats: the next message of a conversation, generated and logged.

The model reads the config's chat template, with the inputs filled in, and then the messages of the
request, which are taken as they are. A chat goes to the chat endpoint, whatever a config says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from humanloop.server.errors import Location
from humanloop.server.generation import templates
from humanloop.server.generation.generations import Generation
from humanloop.server.operations import prompts
from humanloop.server.operations.calls import Call


def _text(
    parameters: Mapping[str, Any], body: Mapping[str, Any], _place: Location
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


_CHAT = prompts.Task("chat", _text, piece_keys=(), sample_keys=("inputs", "messages"))


def create(call: Call) -> Generation:
    """Chat with a config given in the request."""
    return prompts.begin(call, _CHAT, prompts.given)


def create_deployed(call: Call) -> Generation:
    """Chat with what is active for the project."""
    return prompts.begin(call, _CHAT, prompts.deployed)


def create_experiment(call: Call) -> Generation:
    """Chat with configs drawn from an experiment."""
    return prompts.begin(call, _CHAT, prompts.sampled)


def create_model_config(call: Call) -> Generation:
    """Chat with a registered config."""
    return prompts.begin(call, _CHAT, prompts.registered)
