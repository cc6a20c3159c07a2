"""The way from a chat or a completion request to a Generation.

Everything is settled in one transaction, before any provider is asked. Invariants: if it fails,
nothing is stored; if it succeeds, every sample has its log, still without an output, and everything
that a provider needs is plain data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice, repeat
from typing import Any

from humanloop.server.errors import Location, invalid
from humanloop.server.generation.generations import Generation, Sample
from humanloop.server.generation.providers import Cancellation, ProviderRequest
from humanloop.server.generation.registry import Found, advice
from humanloop.server.operations import arrivals, configs, deployments, experiments, lookups
from humanloop.server.operations.calls import Call, Settings
from humanloop.server.store.tables import Config, Experiment, Project, Trial

MAX_SAMPLES = 100
_BODY: Location = ("body",)
_MODEL_PARAMETERS = (
    "max_tokens",
    "temperature",
    "top_p",
    "stop",
    "presence_penalty",
    "frequency_penalty",
)
_CALL_PARAMETERS = ("user", "logprobs", "suffix")
_TOOL_KEYS = ("name", "description", "parameters")

Draws = Iterator[tuple[Config, Trial | None]]
"""The config of each sample in turn, endless."""


@dataclass(frozen=True)
class Task:
    """The differences between a chat and a completion.

    endpoint: the default endpoint of a config in a request.
    text: makes the model's input, as `messages` or as a `prompt` of a ProviderRequest, from the
        config's parameters and the body; it raises Invalid, at the config's location.
    piece_keys, sample_keys: the body's keys that every piece, and every whole sample, repeats.
    """

    endpoint: str
    text: Callable[[Mapping[str, Any], Mapping[str, Any], Location], dict[str, Any]]
    piece_keys: tuple[str, ...]
    sample_keys: tuple[str, ...]


Choose = Callable[[Call, Task, Project], tuple[Location, Draws]]
"""The choice of configs: the location in the body that names one, and the draws."""


def given(call: Call, task: Task, project: Project) -> tuple[Location, Draws]:
    """Return the config in the request, after registering it in the project."""
    request = {"endpoint": task.endpoint, **call.body["model_config"]}
    config = deployments.register_config(call, project, request)
    return (*_BODY, "model_config"), repeat((config, None))


def registered(call: Call, _task: Task, project: Project) -> tuple[Location, Draws]:
    """Return the project's config that the request names."""
    location = (*_BODY, "model_config_id")
    config = lookups.find_in_project(
        call.session, Config, project, call.body["model_config_id"], location
    )
    configs.use(call.session, config)
    return location, repeat((config, None))


def sampled(call: Call, _task: Task, project: Project) -> tuple[Location, Draws]:
    """Return a draw of the named experiment of the project for each sample."""
    location = (*_BODY, "experiment_id")
    experiment = lookups.find_in_project(
        call.session, Experiment, project, call.body["experiment_id"], location
    )
    return location, _draws(call, experiment)


def deployed(call: Call, _task: Task, project: Project) -> tuple[Location, Draws]:
    """Return the config that is active for the project, or draws of the active experiment."""
    location = (*_BODY, "project_id" if "project_id" in call.body else "project")
    environment = lookups.environment(call, call.body.get("environment"), (*_BODY, "environment"))
    active = deployments.active(call.session, project, environment)
    if isinstance(active, Experiment):
        return location, _draws(call, active)
    configs.use(call.session, active)
    return location, repeat((active, None))


def _draws(call: Call, experiment: Experiment) -> Draws:
    while True:
        trial = experiments.draw(call, experiment)
        yield trial.config, trial


def begin(call: Call, task: Task, choose: Choose) -> Generation:
    """Settle everything, and add a log for each sample."""
    body = call.body
    count = _count(body)
    drafts = [arrivals.Draft(body, _BODY, user=body.get("user")) for _ in range(count)]
    arrival = arrivals.Arrival()
    project = lookups.project_of_body(call, body, _BODY)
    arrival.find_parents(call, drafts)
    location, draws = choose(call, task, project)
    asked: dict[str, tuple[Found, ProviderRequest]] = {}
    samples: list[Sample] = []
    cancellation = Cancellation()
    drawn = list(islice(draws, count))
    left = Counter(config.id for config, _ in drawn)
    for index, (draft, (config, trial)) in enumerate(zip(drafts, drawn, strict=True)):
        if config.id not in asked:
            asked[config.id] = ask(call.settings, task, config, body, location)
        found, request = asked[config.id]
        ids = () if trial is None else (trial.id, trial.experiment_id)
        draft.place = arrivals.Place(project.id, config.id, *ids)
        request = replace(
            request, index=index, count=left[config.id], sent=[], cancellation=cancellation
        )
        left[config.id] -= 1
        owner = call.account.organization_id
        samples.append(Sample(owner, draft.id, config.id, found.name, found.provider, request))
    arrival.write(call, drafts, call.tally)
    call_keys = (*_CALL_PARAMETERS, "metadata")
    return Generation(
        samples,
        stream=body.get("stream", False),
        call={"project_id": project.id, "num_samples": count, **_only(body, call_keys)},
        sample={"inputs": {}, **_only(body, task.sample_keys)},
        piece={key: body.get(key, {}) for key in task.piece_keys},
        cancellation=cancellation,
    )


def _count(body: Mapping[str, Any]) -> int:
    # Compared before it is converted, since 1e999999999 is an integer, too.
    count = body.get("num_samples", 1)
    location = (*_BODY, "num_samples")
    if count < 1:
        raise invalid(location, "num_samples must be at least 1", "minimum")
    if count > MAX_SAMPLES:
        raise invalid(location, f"num_samples must be at most {MAX_SAMPLES}", "maximum")
    return int(count)


def ask(
    settings: Settings, task: Task, config: Config, body: Mapping[str, Any], location: Location
) -> tuple[Found, ProviderRequest]:
    """Return the provider of the config's model, and the request to it.

    body: a chat or completion request; location: the place that names the config in it. Raises
        Invalid.
    """
    found = provider_of(settings, config, location)
    parameters = config.parameters
    given = body.get("model_config", {})
    return found, ProviderRequest(
        model=found.model,
        **task.text(parameters, body, location),
        parameters={**_model_parameters(parameters, given), **_only(body, _CALL_PARAMETERS)},
        other=parameters["other"],
        stream=body.get("stream", False),
        api_keys=strings(body.get("provider_api_keys", {})),
    )


def strings(keys: Mapping[str, Any]) -> dict[str, str]:
    """Return the keys whose values are strings: the schema allows other values beside them."""
    return {name: key for name, key in keys.items() if isinstance(key, str)}


def provider_of(settings: Settings, config: Config, location: Location) -> Found:
    """Return the provider of the config's model; raises Invalid if there is none."""
    if config.type != "model":
        raise invalid(
            location, f"{config.id!r} is not a model config but of the type {config.type!r}"
        )
    name = config.parameters["provider"]
    found = settings.registry.find(name, config.parameters["model"])
    if found is None:
        known = " or ".join(map(repr, settings.registry.names))
        message = (
            f"this server has no provider {name!r}: start it with `{advice(name)}`,"
            f" or use provider {known}"
        )
        raise invalid(location, message)
    return found


def _model_parameters(parameters: Mapping[str, Any], given: Collection[str]) -> dict[str, Any]:
    """Return the parameters to send: those given in a request's config, and all non-defaults.

    Models differ in their own defaults, and some refuse parameters whatever their value.
    """
    defaults = configs.model_defaults()
    found = {
        key: parameters[key]
        for key in _MODEL_PARAMETERS
        if key in parameters and (key in given or parameters[key] != defaults.get(key))
    }
    if found.get("max_tokens") == -1:
        del found["max_tokens"]
    if "tools" in parameters:
        found["tools"] = [_only(tool, _TOOL_KEYS) for tool in parameters["tools"]]
    return found


def _only(values: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: values[key] for key in keys if key in values}
