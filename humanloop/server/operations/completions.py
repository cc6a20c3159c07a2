"""Completions: text that continues a prompt, generated and logged.

The model gets the config's prompt template with the inputs filled in; a chat model gets it as a
user message.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from humanloop.server.errors import Location, invalid
from humanloop.server.generation import templates
from humanloop.server.operations.prompts import Task


def _text(
    parameters: Mapping[str, Any], body: Mapping[str, Any], location: Location
) -> dict[str, Any]:
    template = parameters.get("prompt_template")
    if template is None:
        raise invalid(location, "the config has no `prompt_template` to complete")
    [prompt] = templates.fill([template], body.get("inputs", {}), ("body", "inputs"))
    if parameters["endpoint"] == "chat":
        return {"messages": [{"role": "user", "content": prompt}]}
    return {"prompt": prompt}


COMPLETION = Task("complete", _text, piece_keys=("inputs",), sample_keys=("inputs",))
