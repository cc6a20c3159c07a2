"""The measured payloads: drawn from a seed, with as many shapes as real data has.

Every contestant draws the same ones, and gets each as a fresh object tree, so that nothing can be
recognized by identity. Optional keys are present at random, configs are of four kinds, and
free-form data is of mixed depth.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any

__all__ = ["FREE_KEYS", "Maker", "bad", "batch", "draw", "project"]

Payload = dict[str, Any]

FREE_KEYS = {"inputs", "metadata", "provider_response", "other", "parameters", "setup_schema"}
"""The keys whose values are not described further by any schema."""

TIMES = {"created_at", "updated_at", "last_used"}
KINDS = ("model", "model", "tool", "agent", "generic")
PROVIDERS = ("openai", "openai_azure", "anthropic", "cohere", "replicate")
WORDS = ["reset", "button", "holds", "prompt", "ten", "seconds", "answers", "naïve", "fast"]
TEXT = " ".join(Random(1).choices(WORDS, k=2000))


class Maker:
    """A generator of payloads: their shapes from one seed, their values from another.

    plain: only data that the original accepts, which is model configs without a name.
    """

    def __init__(self, shapes: int, values: int, plain: bool = False) -> None:
        self.random = Random(shapes)
        self.values = Random(values)
        self.plain = plain

    def some(self, options: Mapping[str, Callable[[], Any]], likely: float = 0.6) -> Payload:
        return {key: make() for key, make in options.items() if self.random.random() < likely}

    def id(self, prefix: str = "data") -> str:
        return f"{prefix}_{self.values.getrandbits(96):024x}"

    def text(self, longest: int = 300) -> str:
        start = int(self.values.random() * 9000)
        return TEXT[start : start + 1 + int(self.values.random() * longest)]

    def name(self) -> str:
        return self.text(20)

    def number(self) -> float:
        return round(self.values.uniform(0, 30), self.values.randint(1, 6))

    def integer(self) -> int:
        return self.values.randint(0, 5000)

    def chance(self) -> bool:
        return self.values.random() < 0.5

    def time(self) -> str:
        draw = self.values.randint
        fraction = f".{draw(0, 999_999):06}" if self.chance() else ""
        day = f"2024-{draw(1, 12):02}-{draw(1, 28):02}"
        return f"{day}T{draw(0, 23):02}:{draw(0, 59):02}:{draw(0, 59):02}{fraction}Z"

    def many(self, make: Callable[[], Any], most: int) -> list[Any]:
        return [make() for _ in range(self.random.randint(0, most))]

    def free(self, depth: int = 3) -> Any:
        """Return data that no schema describes."""
        kind = self.random.randrange(8 if depth else 6)
        if kind == 6:
            return self.many(lambda: self.free(depth - 1), 4)
        if kind == 7:
            return self.free_object(depth - 1)
        one: tuple[Callable[[], Any], ...]
        one = (self.name, self.name, self.number, self.integer, self.chance, lambda: None)
        return one[kind]()

    def free_object(self, depth: int = 3) -> Payload:
        keys = self.random.sample(WORDS, self.random.randint(0, 6))
        return {key: self.free(depth) for key in keys}

    def message(self) -> Payload:
        role = self.values.choice(("user", "assistant", "system", "tool"))
        call = {"name": "get_weather", "arguments": '{"city": "Oslo"}'}
        rest = {"content": self.text, "name": self.name, "tool_call": lambda: {**call}}
        return {"role": role, **self.some(rest, 0.4)}

    def feedback(self) -> Payload:
        value = self.random.choice((self.name, self.number))()
        kind = self.values.choice(("rating", "action", "comment", "toxicity"))
        rest = {"data_id": self.id, "user": self.name, "created_at": self.time}
        return {"type": kind, "value": value, **self.some(rest)}

    def settings(self) -> Payload:
        """Return the keys that models' configs may have, in requests and in responses."""
        pick = self.random.choice
        options: dict[str, Callable[[], Any]] = {
            "description": self.text,
            "provider": lambda: self.values.choice(PROVIDERS),
            "max_tokens": self.integer,
            "temperature": self.number,
            "top_p": self.number,
            "stop": lambda: pick((self.name(), [self.name(), self.name()])),
            "presence_penalty": self.number,
            "frequency_penalty": self.number,
            "other": lambda: self.free_object(1),
            "endpoint": lambda: pick(("complete", "chat")),
            "prompt_template": self.text,
            "chat_template": lambda: self.many(self.message, 3),
        }
        if not self.plain:
            options["name"] = self.name
        return {"model": pick(("gpt-4", "gpt-3.5-turbo", "claude-2")), **self.some(options, 0.5)}

    def tool(self) -> Payload:
        options = {"description": self.text, "parameters": self.free_object, "source": self.text}
        return {"type": "tool", "name": self.name(), **self.some(options)}

    def config(self) -> Payload:
        kind = "model" if self.plain else self.random.choice(KINDS)
        if kind == "model":
            return {"id": self.id("config"), "type": kind, **self.settings()}
        if kind == "tool":
            return {"id": self.id("config"), **self.tool(), "is_preset": self.chance()}
        base: Payload = {"id": self.id("config"), "type": kind, "name": self.name()}
        if kind == "agent":
            tools = self.many(self.tool, 2)
            base |= {"agent_class": "react", "model_config": self.settings(), "tools": tools}
        return base | self.some({"description": self.text, "other": self.free_object})

    def times(self, *keys: str) -> Payload:
        return {key: self.time() for key in ("created_at", "updated_at", *keys)}

    def project_config(self) -> Payload:
        base = {"project_id": self.id("pr"), "project_name": self.name(), "config": self.config()}
        stats = {"feedback_type_id": 1, "feedback_type": "rating", "feedback_value": "good"}
        options: dict[str, Callable[[], Any]] = {
            "feedback_stats": lambda: [{**stats, "feedback_count": self.integer()}],
            "num_datapoints": self.integer,
            "experiment_id": self.id,
        }
        return base | self.times("last_used") | self.some(options)

    def log(self) -> Payload:
        pick = self.random.choice
        several = lambda: self.many(self.feedback, 3)  # noqa: E731
        options: dict[str, Callable[[], Any]] = {
            "project": self.name,
            "project_id": self.id,
            "session_id": self.id,
            "session_reference_id": self.id,
            "parent_id": self.id,
            "parent_reference_id": self.id,
            "inputs": lambda: {key: self.text() for key in self.random.sample(WORDS, 3)},
            "source": self.name,
            "metadata": self.free_object,
            "reference_id": self.id,
            "trial_id": self.id,
            "messages": lambda: self.many(self.message, 4),
            "output": lambda: self.text(1000),
            "feedback": several if self.plain else lambda: pick((self.feedback, several))(),
            "created_at": self.time,
            "error": self.text,
            "duration": self.number,
            "model_config": self.project_config,
            "user": self.name,
            "provider_response": self.free_object,
            "provider_latency": self.number,
            "raw_output": lambda: self.text(1000),
            "finish_reason": lambda: "stop",
        }
        return {"config": self.config(), "id": self.id(), **self.some(options)}

    def new_log(self) -> Payload:
        """Return a log whose keys no other log has."""
        return {**self.log(), f"key_{self.random.getrandbits(64)}": self.name()}

    def page(self, size: int = 1000) -> Payload:
        """Return a page of logs, of 200 shapes."""
        logs = [self.log() for _ in range(min(size, 200))]
        records = [{**logs[n % len(logs)], "id": self.id()} for n in range(size)]
        return {"records": records, "page": 0, "size": size, "total": size}

    def experiment(self) -> Payload:
        metric: Payload = {key: self.name() for key in ("description", "id", "name", "code")}
        metric |= {"default": True, "active": self.chance(), **self.times()}
        base = {
            "id": self.id("exp"),
            "project_id": self.id("pr"),
            "name": self.name(),
            "status": self.values.choice(("Initialized", "In progress")),
            "metric": metric,
            "positive_labels": [{"type": "rating", "value": "good"}] * self.random.randint(1, 3),
        }
        return base | self.times() | self.some({"configs": lambda: self.many(self.trial, 2)}, 0.3)

    def trial(self) -> Payload:
        base = {"trials_count": 3, "active": True, "id": self.id(), "display_name": self.name()}
        means = {"mean": self.number, "spread": self.number}
        return base | self.times() | {"config": self.config(), **self.some(means)}


def draw(kind: str, count: int, shapes: int = 0, values: int = 0) -> list[Payload]:
    """Return `count` payloads.

    kind: experiment, log, new_log or page, optionally with `plain` before it.
    """
    words = kind.split()
    maker = Maker(shapes, values, plain="plain" in words)
    make: Callable[[], Payload] = getattr(maker, words[-1])
    return [make() for _ in range(count)]


def batch() -> list[Payload]:
    """Return 1,000 logs to send."""
    maker = Maker(7, 7, plain=True)
    keys = ("project", "inputs", "source", "metadata", "messages", "output", "created_at")
    logs = [maker.log() for _ in range(200)]
    for log in logs:
        config = {"type": "model", **maker.settings()}
        log_keys = {key: log[key] for key in keys if key in log}
        log.clear()
        log.update(log_keys, config=config)
    return [{**logs[n % 200], "reference_id": maker.id()} for n in range(1000)]


def project() -> Payload:
    """Return a ProjectResponse that the original accepts, too."""
    maker = Maker(8, 8, plain=True)
    base = {"id": "pr_1", "name": "support", "users": [], "data_count": 12, "team_id": "team_1"}
    kind = {"type": "rating", "values": [{"value": "good", "sentiment": "positive"}]}
    config = maker.project_config()
    return {**base, "feedback_types": [kind], "active_config": config, **maker.times()}


def bad(payload: Payload) -> Iterator[Payload]:
    """Yield copies that are mostly invalid: each typed value replaced or removed, one at a time.

    No date-time becomes a number: pydantic reads those as seconds since 1970.
    """
    text = json.dumps(payload)

    def places(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
        items = enumerate(value) if isinstance(value, list) else value.items()
        for key, item in items:
            yield (*path, key)
            if isinstance(item, dict | list) and key not in FREE_KEYS:
                yield from places(item, (*path, key))

    wrongs: tuple[Any, ...] = (None, True, 0.5, "?", [5], {}, ...)
    for *path, last in places(payload, ()):
        for wrong in wrongs:
            tree = parent = json.loads(text)
            for key in path:
                parent = parent[key]
            if wrong is ...:
                del parent[last]
            elif wrong == 0.5 and last in TIMES:
                continue
            else:
                parent[last] = wrong
            yield tree
