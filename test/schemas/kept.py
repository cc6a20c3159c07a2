"""Run by itself: what the runtime still holds after many objects that are gone."""

from __future__ import annotations

import gc
import sys
import types

from humanloop.model import ChatMessage, LogResponse
from humanloop.schemas import AnyTypeSchema, SchemaValidationError, schema_from_openapi

SECRET = "s3cr3t"
Map = schema_from_openapi({"type": "object", "additionalProperties": {"type": "string"}})


def use(number: int) -> None:
    own = f"{SECRET} {number}"
    config = {"id": own, "type": "model", "model": own, "other": {own: own, "n": number / 7}}
    for _ in range(4):
        LogResponse({"id": own, "config": config, "metadata": {own: [own]}})
        LogResponse.from_json(f'{{"id": "{own}", "config": {{"id": "1", "type": "x"}}}}')


def attempt(number: int) -> None:
    try:
        use(number)
    except SchemaValidationError as error:
        str(error)
    own = f"{SECRET} {number}"
    for _ in range(4):
        AnyTypeSchema({own: [own, {own: number}]}).to_json()
        Map({own: own}).to_json()
        ChatMessage({"role": "user", "content": own, own: own})


def held() -> list[str]:
    """The strings of ours that something but this module still refers to."""
    gc.collect()
    found: set[str] = set()
    seen: set[int] = set()
    todo: list[object] = [m for n, m in list(sys.modules.items()) if n.startswith("humanloop")]
    while todo:
        thing = todo.pop()
        if id(thing) in seen or isinstance(thing, types.FrameType):
            continue
        seen.add(id(thing))
        if isinstance(thing, str) and thing.startswith(f"{SECRET} "):
            found.add(thing)
        todo.extend(gc.get_referents(thing))
    return sorted(found)


for index in range(3000):
    attempt(index)
    if index % 1000 == 0:
        print(index, flush=True)
left = held()
if left:
    sys.exit(f"{len(left)} strings are held: {left[:3]}")
