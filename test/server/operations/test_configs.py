"""Configs: identity, defaults, the four kinds, registration, what is active and deployed."""

from __future__ import annotations

from typing import Any

import pytest

from humanloop.model import (
    ConfigResponse,
    GetModelConfigResponse,
    ProjectConfigResponse,
    ToolConfigResponse,
)

from ..api import Api

TOOL = {"type": "tool", "name": "search", "parameters": {"type": "object"}}
KINDS: dict[str, dict[str, Any]] = {
    "model": {"type": "model", "model": "m", "stop": ["a"], "prompt_template": "Hi {{name}}"},
    "tool": {**TOOL, "source": "code"},
    "generic": {"type": "generic", "other": {"a": [1, None]}},
    "agent": {
        "type": "agent",
        "agent_class": "react",
        "model_config": {"model": "m", "temperature": 0.5},
        "tools": [TOOL],
    },
}


def register(api: Api, project: str, **keys: Any) -> Any:
    """Register a model config."""
    return api.ok("POST", "/model-configs", {"project": project, "model": "m", **keys})


def config_of(api: Api, logged: Any) -> Any:
    """The config of a datapoint."""
    records = api.export(logged["project_id"])["records"]
    return next(each["config"] for each in records if each["id"] == logged["id"])


def test_registering_returns_the_config_with_its_defaults(api: Api, name: str) -> None:
    body = ProjectConfigResponse(register(api, name, description="first"))
    config = body["config"]
    assert config["id"].startswith("config_")
    assert config.to_primitive() == {
        "id": config["id"],
        "type": "model",
        "name": "m",
        "description": "first",
        "model": "m",
        "provider": "openai",
        "endpoint": "complete",
        "max_tokens": -1,
        "temperature": 1,
        "top_p": 1,
        "presence_penalty": 0,
        "frequency_penalty": 0,
        "other": {},
    }
    assert body["project_name"] == name
    assert body["num_datapoints"] == 0
    assert api.ok("GET", f"/model-configs/{config['id']}") == config.to_primitive()


@pytest.mark.parametrize(
    "same",
    [
        {},
        {"name": "other name", "description": "other description"},
        {"temperature": 1.0, "max_tokens": -1, "provider": "openai", "other": {}},
    ],
)
def test_the_same_parameters_are_one_config(api: Api, name: str, same: dict[str, Any]) -> None:
    first, again = register(api, name), register(api, name, **same)
    assert again["config"]["id"] == first["config"]["id"]
    logged = config_of(api, api.log(name, config={"model": "m", "type": "model"}))
    assert logged["id"] == first["config"]["id"]
    assert len(api.ok("GET", f"/projects/{first['project_id']}/configs")) == 1


def test_keys_in_another_order_are_the_same_parameters(api: Api, name: str) -> None:
    first = register(api, name, other={"a": 1, "b": {"c": 2, "d": 3}}, temperature=0.70)
    again = register(api, name, temperature=7e-1, other={"b": {"d": 3.0, "c": 2}, "a": 1})
    assert again["config"]["id"] == first["config"]["id"]


@pytest.mark.parametrize(
    "other",
    [
        {"model": "n"},
        {"temperature": 0.1},
        {"stop": "x"},
        {"other": {"a": 1}},
        {"other": {"a": "1"}},
        {"other": {"a": True}},
    ],
)
def test_other_parameters_are_another_config(api: Api, name: str, other: dict[str, Any]) -> None:
    assert register(api, name, **other)["config"]["id"] != register(api, name)["config"]["id"]


def test_numbers_that_differ_in_the_last_digit_are_two_configs(api: Api, name: str) -> None:
    texts = ["0.1000000000000000000000000000000001", "0.1", "1e-400", "0"]
    template = '{"project": "%s", "model": "m", "other": {"x": %s}}'
    answers = [
        api.send(
            "POST",
            "/model-configs",
            (template % (name, text)).encode(),
            content_type="application/json",
        )
        for text in texts
    ]
    assert len({answer.body["config"]["id"] for answer in answers}) == len(texts)
    assert texts[0] in answers[0].text


def test_two_projects_have_their_own_configs(api: Api, name: str) -> None:
    one, two = register(api, name), register(api, f"{name} two")
    assert one["config"]["id"] != two["config"]["id"]


def test_a_later_name_replaces_the_default_one(api: Api, name: str) -> None:
    register(api, name)
    assert register(api, name, name="mine")["config"]["name"] == "mine"
    assert register(api, name)["config"]["name"] == "mine"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_config_comes_back_as_it_was_logged(api: Api, name: str, kind: str) -> None:
    config = ConfigResponse(config_of(api, api.log(name, config=KINDS[kind])))
    assert config["id"].startswith("config_")
    assert config["type"] == kind
    assert config["name"]
    for key, value in KINDS[kind].items():
        if key != "model_config":
            assert config.to_primitive()[key] == value
    if kind == "agent":
        assert config["model_config"]["temperature"] == 0.5
        assert config["model_config"]["provider"] == "openai"


def test_tools_of_a_model_config_have_ids_of_their_own(api: Api, name: str) -> None:
    tools = [{"name": "search", "parameters": {"type": "object"}}, {"name": "other"}]
    body = register(api, name, tools=tools)
    search, other = body["config"]["tool_configs"]
    assert search["type"] == other["type"] == "tool"
    assert search["id"] != other["id"]
    assert len(api.ok("GET", f"/projects/{body['project_id']}/configs")) == 1
    assert config_of(api, api.log(name, config=TOOL))["id"] == search["id"]
    assert len(api.ok("GET", f"/projects/{body['project_id']}/configs")) == 2


def test_what_the_api_does_not_know_of_a_tool_is_not_kept(api: Api, name: str) -> None:
    strange = {"id": 7, "signature": 5, "is_preset": "x", "setup_schema": 1, "colour": "red"}
    logged = api.log(name, config={**TOOL, **strange})
    config = config_of(api, logged)
    ToolConfigResponse(config)
    assert config.keys() == {"id", *TOOL}
    [tool] = register(api, name, tools=[{**TOOL, **strange}])["config"]["tool_configs"]
    assert tool == config


def test_tools_of_other_names_are_other_configs(api: Api, name: str) -> None:
    one = config_of(api, api.log(name, config=TOOL))
    two = config_of(api, api.log(name, config={**TOOL, "name": "fetch"}))
    assert one["id"] != two["id"]


def test_configs_are_listed_newest_first_with_their_counts(api: Api, name: str) -> None:
    logged = api.log(name, feedback=[{"type": "rating", "value": "good"}])
    api.log(name, feedback=[{"type": "rating", "value": "good"}, {"type": "comment", "value": "x"}])
    register(api, name, temperature=0)
    newest, oldest = api.ok("GET", f"/projects/{logged['project_id']}/configs")
    assert newest["config"]["temperature"] == 0
    assert (newest["num_datapoints"], oldest["num_datapoints"]) == (0, 2)
    [stat] = oldest["feedback_stats"]
    assert isinstance(stat.pop("feedback_type_id"), int)
    assert stat == {"feedback_type": "rating", "feedback_value": "good", "feedback_count": 2}


@pytest.mark.parametrize("config_id", ["config_unknown", None])
def test_what_is_no_model_config_is_404(api: Api, name: str, config_id: str | None) -> None:
    found = config_id or config_of(api, api.log(name, config=TOOL))["id"]
    assert api.call("GET", f"/model-configs/{found}").status == 404


def test_registering_into_an_unknown_experiment_leaves_nothing(api: Api, name: str) -> None:
    body = {"project": name, "model": "m", "experiment": "none"}
    assert api.places("POST", "/model-configs", body) == [["body", "experiment"]]
    assert api.ok("GET", f"/projects?filter={name.replace(' ', '%20')}")["total"] == 0


def test_registering_needs_a_project(api: Api, project: Any) -> None:
    post = ("POST", "/model-configs")
    assert api.places(*post, {"model": "m"}) == [["body", "project"]]
    assert api.places(*post, {"model": "m", "project_id": "pr_x"}) == [["body", "project_id"]]
    both = {"model": "m", "project_id": project["id"], "project": "another name"}
    assert api.places(*post, both) == [["body", "project"]]
    by_id = {"model": "m", "project_id": project["id"], "project": project["name"]}
    assert api.ok(*post, by_id)["project_id"] == project["id"]


class TestActive:
    """What is active: one config or one experiment, never both."""

    @pytest.fixture
    @staticmethod
    def ids(api: Api, name: str) -> dict[str, str]:
        """A project with two configs and an experiment."""
        first = register(api, name)
        second = register(api, name, temperature=0)
        labels = [{"type": "rating", "value": "good"}]
        body = {"name": "e", "positive_labels": labels, "config_ids": [second["config"]["id"]]}
        path = f"/projects/{first['project_id']}"
        experiment = api.ok("POST", f"{path}/experiments", body)
        return {
            "path": path,
            "first": first["config"]["id"],
            "second": second["config"]["id"],
            "experiment": experiment["id"],
        }

    def test_the_first_registered_config_becomes_active(
        self, api: Api, ids: dict[str, str]
    ) -> None:
        active = GetModelConfigResponse(api.ok("GET", f"{ids['path']}/active-config"))
        assert active["config"]["id"] == ids["first"]
        assert "trial_id" not in active
        project = api.ok("GET", ids["path"])
        assert project["active_config"]["config"]["id"] == ids["first"]

    def test_the_first_logged_config_becomes_active(self, api: Api, name: str) -> None:
        logged = api.log(name)
        active = api.ok("GET", f"/projects/{logged['project_id']}/active-config")
        assert active["config"]["id"] == config_of(api, logged)["id"]

    def test_no_active_config_is_404(self, api: Api, project: Any) -> None:
        assert api.call("GET", f"/projects/{project['id']}/active-config").status == 404

    def test_an_active_experiment_takes_the_config_s_place(
        self, api: Api, ids: dict[str, str]
    ) -> None:
        project = api.ok("PATCH", ids["path"], {"active_experiment_id": ids["experiment"]})
        assert project["active_experiment"]["id"] == ids["experiment"]
        assert "active_config" not in project
        active = GetModelConfigResponse(api.ok("GET", f"{ids['path']}/active-config"))
        assert active["experiment_id"] == ids["experiment"]
        assert active["trial_id"].startswith("trial_")
        assert active["config"]["id"] == ids["second"]

    def test_a_config_takes_the_experiment_s_place(self, api: Api, ids: dict[str, str]) -> None:
        api.ok("PATCH", ids["path"], {"active_experiment_id": ids["experiment"]})
        project = api.ok("PATCH", ids["path"], {"active_config_id": ids["second"]})
        assert project["active_config"]["config"]["id"] == ids["second"]
        assert "active_experiment" not in project

    def test_both_at_once_are_refused(self, api: Api, ids: dict[str, str]) -> None:
        body = {"active_config_id": ids["first"], "active_experiment_id": ids["experiment"]}
        assert api.places("PATCH", ids["path"], body) == [["body", "active_experiment_id"]]

    @pytest.mark.parametrize("key", ["active_config_id", "active_experiment_id"])
    def test_unknown_ids_are_refused_and_change_nothing(
        self, api: Api, ids: dict[str, str], key: str
    ) -> None:
        body = {"name": "changed", key: "unknown"}
        assert api.places("PATCH", ids["path"], body) == [["body", key]]
        assert api.ok("GET", ids["path"])["name"] != "changed"

    def test_a_config_of_another_project_is_refused(
        self, api: Api, ids: dict[str, str], name: str
    ) -> None:
        other = register(api, f"{name} other")["config"]["id"]
        assert api.places("PATCH", ids["path"], {"active_config_id": other}) == [
            ["body", "active_config_id"]
        ]

    def test_deactivating_twice_does_nothing(self, api: Api, ids: dict[str, str]) -> None:
        for _ in range(2):
            project = api.ok("DELETE", f"{ids['path']}/active-config")
            assert "active_config" not in project
        assert api.call("GET", f"{ids['path']}/active-config").status == 404

    def test_the_two_deactivations_touch_only_their_own(
        self, api: Api, ids: dict[str, str]
    ) -> None:
        project = api.ok("DELETE", f"{ids['path']}/active-experiment")
        assert project["active_config"]["config"]["id"] == ids["first"]
        api.ok("PATCH", ids["path"], {"active_experiment_id": ids["experiment"]})
        project = api.ok("DELETE", f"{ids['path']}/active-config")
        assert project["active_experiment"]["id"] == ids["experiment"]
        assert "active_experiment" not in api.ok("DELETE", f"{ids['path']}/active-experiment")

    def test_a_later_config_does_not_become_active_by_itself(
        self, api: Api, ids: dict[str, str], name: str
    ) -> None:
        api.ok("DELETE", f"{ids['path']}/active-config")
        register(api, name, temperature=0.3)
        assert api.call("GET", f"{ids['path']}/active-config").status == 404

    def test_the_environment_can_be_named(self, api: Api, ids: dict[str, str]) -> None:
        path = f"{ids['path']}/active-config?environment="
        assert api.ok("GET", path + "production")["config"]["id"] == ids["first"]
        assert api.call("GET", path + "staging").status == 404
        assert api.call("DELETE", path + "staging").status == 404

    def test_deploying(self, api: Api, ids: dict[str, str]) -> None:
        [deployed] = api.ok("GET", f"{ids['path']}/deployed-configs")
        assert deployed["environment_name"] == "production"
        assert deployed["environment_tag"] == "default"
        assert deployed["environment_id"].startswith("env_")
        assert deployed["model_config_id"] == ids["first"]
        body = {
            "experiment_id": ids["experiment"],
            "environments": [{"id": deployed["environment_id"]}],
        }
        [changed] = api.ok("PATCH", f"{ids['path']}/deploy-config", body)
        assert changed["experiment_id"] == ids["experiment"]
        assert changed["experiment_name"] == "e"
        assert "model_config_id" not in changed
        [changed] = api.ok("PATCH", f"{ids['path']}/deploy-config", {"config_id": ids["second"]})
        assert changed["model_config_id"] == ids["second"]
        path = f"{ids['path']}/deployed-config/{deployed['environment_id']}"
        for _ in range(2):
            assert "model_config_id" not in api.ok("DELETE", path)
        [empty] = api.ok("GET", f"{ids['path']}/deployed-configs")
        assert "model_config_id" not in empty
        assert api.call("DELETE", f"{ids['path']}/deployed-config/env_unknown").status == 404

    def test_what_can_t_be_deployed(self, api: Api, ids: dict[str, str]) -> None:
        path = f"{ids['path']}/deploy-config"
        assert api.places("PATCH", path, {}) == [["body", "config_id"]]
        unknown = {"config_id": ids["first"], "environments": [{"id": "env_x"}]}
        assert api.places("PATCH", path, unknown) == [["body", "environments", 0, "id"]]
        both = {"config_id": ids["first"], "experiment_id": ids["experiment"]}
        assert api.places("PATCH", path, both) == [["body", "experiment_id"]]
