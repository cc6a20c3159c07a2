"""Payloads made from openapi.yaml: for a schema the smallest valid one, and one with all keys."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

__all__ = ["SCHEMAS", "full", "minimal", "resolved"]

COMPONENTS = "#/components/schemas/"
MOMENT = "2024-02-29T12:30:15.250000+01:00"


@lru_cache
def _document() -> Any:
    text = (Path(__file__).resolve().parents[2] / "openapi.yaml").read_text(encoding="utf-8")
    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))


SCHEMAS: dict[str, Any] = _document()["components"]["schemas"]


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema that `schema` is, or refers to."""
    while "$ref" in schema:
        schema = SCHEMAS[schema["$ref"].removeprefix(COMPONENTS)]
    return schema


def minimal(schema: dict[str, Any], branch: int = 0) -> Any:
    """The required keys only; of a union the branch of that number."""
    return _sample(schema, depth=0, complete=False, branch=branch)


def full(schema: dict[str, Any], branch: int = 0) -> Any:
    """Every declared key (three levels of optional ones), and an undeclared one where allowed."""
    return _sample(schema, depth=0, complete=True, branch=branch)


def _sample(schema: dict[str, Any], depth: int, complete: bool, branch: int) -> Any:
    schema = resolved(schema)
    if "enum" in schema:
        return schema["enum"][branch % len(schema["enum"])]
    for keyword in ("allOf", "anyOf", "oneOf"):
        if keyword in schema:
            choices = schema[keyword]
            chosen = choices[branch % len(choices)]
            made = _sample(chosen, depth, complete, branch)
            return _discriminated(schema, chosen, made)
    kind = schema.get("type")
    if kind == "object":
        return _object(schema, depth, complete, branch)
    if kind == "array":
        wanted = 2 if complete and depth < 4 else 0
        return [_sample(schema["items"], depth + 1, complete, branch) for _ in range(wanted)]
    if schema.get("format") == "date-time":
        return MOMENT
    return {"string": "text", "integer": 7, "number": 0.5, "boolean": True}.get(kind or "")


def _object(schema: dict[str, Any], depth: int, complete: bool, branch: int) -> dict[str, Any]:
    required = schema.get("required", ())
    made = {
        key: _sample(sub, depth + 1, complete, branch)
        for key, sub in schema.get("properties", {}).items()
        if key in required or (complete and depth < 4)
    }
    extra = schema.get("additionalProperties", True)
    if complete and extra is True:
        made["not_declared"] = [1, {"a": None}]
    elif complete and extra:
        made["any"] = _sample(extra, depth + 1, complete, branch)
    return made


def _discriminated(schema: dict[str, Any], chosen: dict[str, Any], made: Any) -> Any:
    """`made` with the discriminator's value that names the chosen branch."""
    if "discriminator" in schema:
        mapping = schema["discriminator"].get("mapping", {})
        for value, ref in mapping.items():
            if ref == chosen["$ref"]:
                made[schema["discriminator"]["propertyName"]] = value
    return made
