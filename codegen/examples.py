"""The calls in the documentation, made from the examples in openapi.yaml.

Invariants: an example's arguments are arguments of its method, and fit their schemas if the
examples in openapi.yaml do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from codegen import names
from codegen.spec import Node, Spec

__all__ = ["Example", "examples"]

# The examples print one body, so they don't ask for a stream.
NOT_SHOWN = {"stream"}

ID_LENGTH = 21  # characters after the prefix of an ID
SOME_ID = "FnVjh7XxeUpEHicLzXKhc"


@dataclass(frozen=True)
class Example:
    """One call: a caption, used if an operation has several examples, and its arguments."""

    caption: str
    arguments: Mapping[str, Any]


def examples(spec: Spec, parameters: Sequence[Node], media_type: Node | None) -> list[Example]:
    """Return an operation's examples: one, and a second one if its body may also be an array."""
    always = {
        names.argument_name(parameter["name"]): _value(spec, parameter)
        for parameter in sorted(parameters, key=lambda parameter: not parameter.get("required"))
        if parameter.get("required") or "default" in parameter["schema"]
    }
    bodies = list(_bodies(media_type or {}))
    first = bodies[:1]
    array = [body for body in bodies[1:] if isinstance(body[1], list)][:1]
    found = [Example(caption, {**always, **_arguments(body)}) for caption, body in first + array]
    return found or [Example("", always)]


def _bodies(media_type: Node) -> Iterator[tuple[str, Any]]:
    if "example" in media_type:
        yield "", media_type["example"]
    for example in media_type.get("examples", {}).values():
        yield example.get("summary", ""), example["value"]


def _arguments(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        return {"body": body}
    keys = cast("dict[str, Any]", body)
    return {names.argument_name(key): keys[key] for key in keys if key not in NOT_SHOWN}


def _value(spec: Spec, parameter: Node) -> Any:
    """Return a value for a parameter: its example, its default, or one from elsewhere in the API.

    IDs are recognised by their prefix, other values by the parameter's name.
    """
    schema, name = parameter["schema"], parameter["name"]
    for place, key in ((parameter, "example"), (schema, "example"), (schema, "default")):
        if key in place:
            return place[key]
    kind = re.search(r"Starts with `(\w+_)`", parameter.get("description", ""))
    known = rf"'({kind[1]}\w{{{ID_LENGTH}}})'" if kind else rf"'{name}': '([^']*)'"
    found = re.search(known, spec.text)
    return found[1] if found else f"{kind[1] if kind else 'some_'}{SOME_ID}"
