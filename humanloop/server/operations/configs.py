"""Configs: their identity, their registration and their form in responses.

A config is its type and parameters: equal ones in a project are one config, whatever its name and
description, and 1, 1.0 and 1e0 are the same number. A tool's name and description are part of its
identity, since the model reads them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, contains_eager
from sqlalchemy.orm.attributes import set_committed_value

from humanloop import schemas
from humanloop.model import (
    AgentConfigRequest,
    GenericConfigRequest,
    ModelConfigRequest,
    ToolConfigRequest,
)
from humanloop.server.operations.calls import chunks, plain
from humanloop.server.store import tallies, turns
from humanloop.server.store.json_text import Json
from humanloop.server.store.tables import Config, FeedbackKind, LabelCount, Project
from humanloop.server.store.times import now

_SHORT = 4096  # requests up to this many characters have their digests cached
_REQUESTS = {
    "agent": AgentConfigRequest,
    "generic": GenericConfigRequest,
    "model": ModelConfigRequest,
    "tool": ToolConfigRequest,
}


def register(session: Session, project: Project, request: Mapping[str, Any]) -> Config:
    """Return the project's config with the requested parameters, new or known, marked as used now.

    A given name or description replaces that of a known config.
    """
    config = _find_or_add(session, project, request, {})
    name, description = request.get("name"), request.get("description")
    if name not in {None, config.name} or description not in {None, config.description}:
        turns.be_alone(session)
        config.name = name or config.name
        config.description = description if description is not None else config.description
        config.updated_at = now()
    use(session, config)
    return config


def restore(
    session: Session, project: Project, described: Mapping[str, Any], times: Mapping[str, datetime]
) -> Config:
    """Return the project's config that a ConfigResponse describes, new or known.

    A new config and its tools get the ids in the description, if these are free.

    times: `created_at`, `updated_at` and `last_used` of a new config; `last_used` also applies to a
        known one if it is later.
    """
    request = request_of(described)
    known = _find(session, project, identity(request))
    config = known or _add(session, project, request, _ids_of(described))
    if known is None:
        config.created_at, config.updated_at = times["created_at"], times["updated_at"]
    if config.last_used is None or config.last_used < times["last_used"]:
        config.last_used = times["last_used"]
    return config


def request_of(described: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request to which a ConfigResponse is the answer."""
    request = {key: value for key, value in described.items() if key not in {"id", "tool_configs"}}
    if "tool_configs" in described:
        request["tools"] = [
            {key: value for key, value in tool.items() if key not in {"id", "type"}}
            for tool in described["tool_configs"]
        ]
    return request


def _ids_of(described: Mapping[str, Any]) -> dict[str, str]:
    """Return the ids of the configs in a ConfigResponse, by digest."""
    ids = {identity(request_of(each)): each["id"] for each in described.get("tool_configs", ())}
    return {**ids, identity(request_of(described)): described["id"]}


def use(session: Session, config: Config) -> None:
    """Note that a config is used now.

    Other transactions may write meanwhile, so the row is locked only at the end, in the order of
    `tallies`.
    """
    moment = now()
    if turns.is_alone(session):
        config.last_used = moment
    else:
        tallies.of(session).use_config(config.organization_id, config.id)
        set_committed_value(config, "last_used", moment)


def has_any(session: Session, project: Project) -> bool:
    """Return whether any config was ever registered or used in the project."""
    used = of_project(project).where(Config.last_used.is_not(None))
    return session.scalar(used.limit(1)) is not None


def of_project(project: Project) -> Select[Config]:
    """Return the statement for all configs of a project."""
    return select(Config).where(
        Config.organization_id == project.organization_id, Config.project_id == project.id
    )


def identity(request: Mapping[str, Any]) -> str:
    """Return the digest by which a project recognises a config request."""
    text = schemas.to_json(request)
    return _known_identity(text) if len(text) <= _SHORT else _identity(request)


@lru_cache(maxsize=1024)
def _known_identity(text: str) -> str:
    return _identity(schemas.loads(text))


def _identity(request: Mapping[str, Any]) -> str:
    kind = request.get("type", "model")
    named = ("name", "description") if kind == "tool" else ()
    parts = {"type": kind, "parameters": _parameters(request)}
    parts |= {key: request[key] for key in named if key in request}
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()


def canonical_json(value: Json) -> str:
    """Return JSON text that is the same for equal values: sorted keys, one form of each number."""
    if isinstance(value, dict):
        items = sorted(value.items())
        return "{" + ",".join(f"{schemas.to_json(k)}:{canonical_json(v)}" for k, v in items) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical_json, value)) + "]"
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return _canonical_number(Decimal(value))
    return schemas.to_json(value)


def _canonical_number(number: Decimal) -> str:
    # Decimal.normalize() would round to the context's precision.
    sign, digits, exponent = number.as_tuple()
    text = "".join(map(str, digits)).lstrip("0")
    significant = text.rstrip("0")
    if not significant:
        return "0"
    scale = int(exponent) + len(text) - len(significant)
    return f"{'-' if sign else ''}{significant}e{scale}"


def _parameters(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that form the config's identity, without keys unknown to the API."""
    kind = request.get("type", "model")
    known = _REQUESTS[kind].__openapi__["properties"].keys() - {"type", "name", "description"}
    given = {key: value for key, value in request.items() if key in known}
    if kind == "model":
        return {**model_defaults(), **given}
    if kind == "agent":
        return {**given, "model_config": {**model_defaults(), **given["model_config"]}}
    return given


def model_defaults() -> dict[str, Any]:
    """Return the defaults of a model config."""
    properties = ModelConfigRequest.__openapi__["properties"]
    return {key: each["default"] for key, each in properties.items() if "default" in each}


def _find(session: Session, project: Project, digest: str) -> Config | None:
    return session.scalar(of_project(project).where(Config.digest == digest))


def _find_or_add(
    session: Session, project: Project, request: Mapping[str, Any], ids: Mapping[str, str]
) -> Config:
    return _find(session, project, identity(request)) or _add(session, project, request, ids)


def _add(
    session: Session, project: Project, request: Mapping[str, Any], ids: Mapping[str, str]
) -> Config:
    """Add a config, and the new tool configs in it.

    ids: by digest, the ids for new configs, if no other config has them.
    """
    digest = identity(request)
    turns.be_alone(session)
    kind = request.get("type", "model")
    parameters = _parameters(request)
    if kind == "model" and "tools" in parameters:
        tools: list[Config] = [
            _find_or_add(session, project, {**tool, "type": "tool"}, ids)
            for tool in parameters["tools"]
        ]
        parameters = {**parameters, "tools": [describe(tool) for tool in tools]}
    wanted = ids.get(digest)
    key = (project.organization_id, wanted)
    is_free = wanted is not None and session.get(Config, key) is None
    config = Config(
        **({"id": wanted} if is_free else {}),
        organization_id=project.organization_id,
        project=project,
        type=kind,
        digest=digest,
        name=request.get("name") or _default_name(kind, parameters),
        description=request.get("description"),
        parameters=parameters,
    )
    session.add(config)
    session.flush()
    return config


def _default_name(kind: str, parameters: Mapping[str, Any]) -> str:
    if kind == "model":
        return str(parameters["model"])
    return str(parameters["agent_class"]) if kind == "agent" else kind


def describe(config: Config) -> dict[str, Any]:
    """Return a ConfigResponse."""
    body = {**config.parameters, **plain(config, "id", "type", "name", "description")}
    if config.type == "model" and "tools" in body:
        body["tool_configs"] = body.pop("tools")
    return body


def describe_in_project(config: Config) -> dict[str, Any]:
    """Return a ProjectConfigResponse without counts."""
    return plain(
        config,
        "project_id",
        "created_at",
        "updated_at",
        project_name=config.project.name,
        last_used=config.last_used or config.created_at,
        config=describe(config),
    )


def describe_with_counts(session: Session, configs: Sequence[Config]) -> list[dict[str, Any]]:
    """Return ProjectConfigResponses with the number of datapoints and of each of their labels."""
    stats: dict[str, list[dict[str, Any]]] = {}
    for some in chunks([config.id for config in configs]):
        statement = (
            select(LabelCount)
            .join(LabelCount.feedback_type)
            .options(contains_eager(LabelCount.feedback_type))
            .where(
                LabelCount.organization_id == configs[0].organization_id,
                LabelCount.config_id.in_(some),
                LabelCount.datapoints > 0,
            )
            .order_by(LabelCount.config_id, FeedbackKind.row, LabelCount.value)
        )
        for count in session.scalars(statement):
            stats.setdefault(count.config_id, []).append(_describe_count(count))
    return [
        {
            **describe_in_project(config),
            "num_datapoints": config.datapoints,
            "feedback_stats": stats.get(config.id, []),
        }
        for config in configs
    ]


def _describe_count(count: LabelCount) -> dict[str, Any]:
    return {
        "feedback_type_id": count.feedback_type_id,
        "feedback_type": count.feedback_type.type,
        "feedback_value": count.value,
        "feedback_count": count.datapoints,
    }
