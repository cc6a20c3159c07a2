"""A coverage-guided fuzzer: JSON text for each model, on and on, in search of a crash.

    python test/long/fuzz_models.py FOLDER [OPTIONS OF libFuzzer]

FOLDER keeps the inputs that reached new code; it starts with valid payloads of every model. An
input's first byte chooses the model, the rest is JSON text. Mutations change bytes or, half of the
time, the value that the text means. What comes out has to be an instance, which then is what it
looks like, or a `SchemaValidationError`; anything else ends the run and is kept beside FOLDER.
"""

from __future__ import annotations

import json
import pickle
import random
import sys
from pathlib import Path
from typing import Any

import atheris  # type: ignore[import-not-found]

sys.path.insert(0, str(Path(__file__).parents[1]))

with atheris.instrument_imports(include=["humanloop.schemas"]):
    from schemas.payloads import SCHEMAS, full, minimal

    from humanloop import model, schemas

MODELS = [getattr(model, name) for name in sorted(SCHEMAS)]
NUMBERS = ("0", "-0", "1.0", "1e0", "1e999999999", "-1E-999999999", "9" * 500, "0.1", "1" * 40)
TEXTS = ("", "0", "9", "-", ":", "Z", "z", "t", "+", "é", "\ud800", "💩", "\u0661", "\n", "a" * 99)
LEAVES = (None, True, False, "", "2024-02-29T00:00:00Z", "\ud800", "💩", 0, 1.5, [], {}, [[[]]])


def test_one_input(data: bytes) -> None:
    if not data:
        return
    cls: Any = MODELS[data[0] % len(MODELS)]
    try:
        made = cls.from_json(data[1:])
    except schemas.SchemaValidationError as error:
        str(error).encode()
        repr(error)
        if not error.errors:
            raise AssertionError("a refusal without a reason") from None
        return
    text = schemas.to_json(made)
    again = cls.from_json(text)
    assert again == made
    assert type(again) is type(made)
    assert hash(again) == hash(made)
    assert schemas.to_json(again) == text
    repr(made)
    schemas.to_primitive(made)
    copied = pickle.loads(pickle.dumps(made))
    assert copied == made
    assert type(copied) is type(made)


def mutate(data: bytes, size: int, seed: int) -> bytes:
    """An input that differs from `data` a little, in its bytes or in its meaning."""
    chance = random.Random(seed)
    try:
        value = json.loads(data[1:])
    except (ValueError, RecursionError):
        value = None
    if value is None or chance.random() < 0.5:
        return atheris.Mutate(data, size)  # type: ignore[no-any-return]
    text = json.dumps(_changed(value, chance))
    if chance.random() < 0.2:
        text = text.replace("1.5", chance.choice(NUMBERS))
    first = chance.randrange(256) if chance.random() < 0.1 else data[0]
    return (bytes([first]) + text.encode())[:size]


def _changed(value: Any, chance: random.Random) -> Any:
    """`value` with one part of it replaced, left out, said twice or put elsewhere."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        key = chance.choice(list(value))
        part = value.pop(key)
        kind = chance.randrange(8)
        if kind == 0:
            return value
        if kind == 1:
            return {**value, key + "x": part}
        if kind == 2:
            return {**value, key: part, chance.choice(list(SCHEMAS)): part}
        return {**value, key: _changed(part, chance)}
    if isinstance(value, list) and value and chance.random() < 0.9:
        index = chance.randrange(len(value))
        if chance.random() < 0.3:
            return value + value[index:]
        return [*value[:index], _changed(value[index], chance), *value[index + 1 :]]
    if isinstance(value, str) and chance.random() < 0.5:
        start = chance.randrange(len(value) + 1)
        end = start + chance.randrange(3)
        return value[:start] + chance.choice(TEXTS) + value[end:]
    return chance.choice((*LEAVES, [value], {"a": value}))


def seed_inputs(folder: Path) -> None:
    """Writes the valid payloads of every model that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(sorted(SCHEMAS)):
        payloads = [make(SCHEMAS[name], branch) for make in (minimal, full) for branch in (0, 1)]
        for index, payload in enumerate(payloads):
            content = bytes([number]) + json.dumps(payload).encode()
            (folder / f"{name}-{index}").write_bytes(content)


if __name__ == "__main__":
    corpus = Path(sys.argv[1])
    seed_inputs(corpus)
    crashes = f"-artifact_prefix={corpus.parent}/crash-"
    options = ["-timeout=10", "-rss_limit_mb=1024", "-max_len=16384", crashes, *sys.argv[2:]]
    atheris.Setup([sys.argv[0], str(corpus), *options], test_one_input, custom_mutator=mutate)
    atheris.Fuzz()
