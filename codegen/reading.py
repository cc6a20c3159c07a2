"""OpenAPI documents read from YAML or JSON, by the rules of JSON (OpenAPI 3.0.3, section 4.3).

Keys are unique strings; there are no dates.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import yaml

from codegen.checks import checked
from codegen.spec import Node, Spec, SpecError

__all__ = ["load"]


def _construct_mapping(loader: Any, node: Any, deep: bool = False) -> dict[str, Any]:
    """Return an object of YAML, whose keys are strings as written."""
    keys = Counter(key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge")
    if doubled := [key for key, count in keys.items() if count > 1]:
        line = node.start_mark.line + 1
        raise SpecError(f"the object in line {line} has the key {doubled[0]!r} twice")
    loader.flatten_mapping(node)
    return {str(key.value): loader.construct_object(value, deep=deep) for key, value in node.value}


# Reads YAML by the rules of JSON: `on` and `2020-01-01` are strings, and so is each key.
_Loader: Any = type(
    "_Loader",
    (getattr(yaml, "CSafeLoader", yaml.SafeLoader),),
    {"construct_mapping": _construct_mapping, "yaml_implicit_resolvers": {}},
)
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"-?(0|[1-9][0-9]*)", "-0123456789"),
    ("float", r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?", "-0123456789"),
    ("merge", "<<", "<"),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), list(_first)
    )


def load(path: Path, *, leave_out: bool = False) -> Spec:
    """Read and check the document at `path`, which is YAML or JSON.

    leave_out: omit the operations that the generator does not support.

    Raises SpecError if it is not an OpenAPI 3.0 document, or contains something unsupported.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        is_json = path.suffix == ".json" or text.lstrip().startswith("{")
        document: Any = (
            json.loads(text, object_pairs_hook=_once)
            if is_json
            else yaml.load(text, Loader=_Loader)
        )
        # ValueError: not a tree of JSON values, or not Unicode text.
        json.dumps(document, allow_nan=False, ensure_ascii=False).encode()
    except (OSError, yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise SpecError(f"{path.name} can't be read: {error}") from None
    if not isinstance(document, Mapping):
        raise SpecError(f"{path.name} is not an OpenAPI document: expected an object")
    version = cast(Node, document).get("openapi")
    if not re.match(r"3\.0\.\d", str(version)):
        came = f"'swagger: {document['swagger']}'" if "swagger" in document else f"{version!r}"
        raise SpecError(f"openapi: expected version 3.0, such as '3.0.3', got {came}")
    return checked(Spec(cast(Node, document), path.name), leave_out=leave_out)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON; raises SpecError for a repeated key."""
    found = dict(pairs)
    if len(found) < len(pairs):
        doubled = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise SpecError(f"an object has the key {doubled!r} twice")
    return found
