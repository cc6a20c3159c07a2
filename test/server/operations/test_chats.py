"""Chats and completions: which config they take, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from humanloop.model import ChatResponse, CompletionResponse, LogResponse

from ..api import Api
from ..chatting import (
    HI,
    Experiment,
    chat,
    complete,
    config,
    output,
    records,
    sent,
)


class TestOperations:
    """Which config each of the eight operations takes."""

    @pytest.mark.parametrize("project_key", ["project", "project_id"])
    def test_chat(self, api: Api, name: str, project: Any, project_key: str) -> None:
        body = chat(name, user="u", metadata={"a": 1}, source="tests", inputs={"x": 1})
        del body["project"]
        body[project_key] = {"project": name, "project_id": project["id"]}[project_key]
        answer = ChatResponse(api.ok("POST", "/chat", body)).to_primitive()
        [record] = records(api, name)
        LogResponse(record)
        assert answer == {
            "data": [
                {
                    "id": record["id"],
                    "index": 0,
                    "output": "Mock answer to: Hi",
                    "raw_output": "Mock answer to: Hi",
                    "model_config_id": record["config"]["id"],
                    "finish_reason": "stop",
                    "inputs": {"x": 1},
                    **HI,
                }
            ],
            "provider_responses": [record["provider_response"]],
            "project_id": project["id"],
            "num_samples": 1,
            "usage": {"prompt_tokens": 1, "generation_tokens": 4, "total_tokens": 5},
            "user": "u",
            "metadata": {"a": 1},
        }
        assert record.pop("provider_latency") >= 0
        kept = {"inputs", "messages", "user", "metadata", "source", "finish_reason"}
        kept |= {"output", "raw_output", "provider_response"}
        assert {key: record[key] for key in kept} == {
            "inputs": {"x": 1},
            "output": "Mock answer to: Hi",
            "raw_output": "Mock answer to: Hi",
            "finish_reason": "stop",
            "user": "u",
            "metadata": {"a": 1},
            "source": "tests",
            "provider_response": answer["provider_responses"][0],
            **HI,
        }
        assert not record.keys() & {"error", "trial_id", "session_id", "parent_id"}

    def test_completion(self, api: Api, name: str) -> None:
        body = complete(name, "Once {{when}}", inputs={"when": "upon "}) | {"suffix": "!"}
        answer = CompletionResponse(api.ok("POST", "/completion", body)).to_primitive()
        [record] = records(api, name)
        [data] = answer["data"]
        assert data.pop("model_config_id") == record["config"]["id"]
        assert data == {
            "id": record["id"],
            "index": 0,
            "output": "Mock completion of: Once upon",
            "raw_output": "Mock completion of: Once upon ",
            "finish_reason": "stop",
            "inputs": {"when": "upon "},
        }
        assert answer["suffix"] == sent(answer)["suffix"] == "!"
        assert sent(answer)["prompt"] == "Once upon "
        assert record["raw_output"] == "Mock completion of: Once upon "
        assert record["output"] == "Mock completion of: Once upon"

    def test_the_config_is_registered_and_becomes_active(self, api: Api, name: str) -> None:
        one, two = (api.ok("POST", "/chat", chat(name)) for _ in range(2))
        path = f"/projects/{one['project_id']}"
        [only] = api.ok("GET", f"{path}/configs")
        assert only["config"]["endpoint"] == "chat"
        assert only["num_datapoints"] == 2
        assert {only["config"]["id"]} == {each["data"][0]["model_config_id"] for each in (one, two)}
        assert api.ok("GET", f"{path}/active-config")["config"] == only["config"]

    @pytest.mark.parametrize(
        ("path", "messages", "said"),
        [
            ("chat", HI, "Mock answer to: Hi"),
            ("completion", {}, "Mock answer to: On tea:"),
        ],
    )
    def test_deployed_and_by_id(
        self, api: Api, name: str, deployed: Any, path: str, messages: Any, said: str
    ) -> None:
        config_id = deployed["config"]["id"]
        body = {"project": name, "inputs": {"topic": "tea"}, **messages}
        by_id = api.ok("POST", f"/{path}-model-config", {**body, "model_config_id": config_id})
        active = api.ok("POST", f"/{path}-deployed", body)
        named = api.ok("POST", f"/{path}-deployed", {**body, "environment": "production"})
        for answer in (by_id, active, named):
            assert output(answer) == said
            assert answer["data"][0]["model_config_id"] == config_id
        assert len(records(api, name)) == 3

    @pytest.mark.parametrize(("path", "messages"), [("chat", HI), ("completion", {})])
    @pytest.mark.parametrize("way", ["experiment", "deployed"])
    def test_an_experiment_draws_for_each_sample(
        self, api: Api, name: str, path: str, messages: Any, way: str
    ) -> None:
        experiment = Experiment(api, name)
        body = {"project": name, "num_samples": 12, **messages}
        if way == "experiment":
            body["experiment_id"] = experiment.id
        answer = api.ok("POST", f"/{path}-{way}", body)
        logged = records(api, name)
        assert [each["id"] for each in answer["data"]] == [each["id"] for each in logged]
        assert len({each["trial_id"] for each in logged}) == 12
        drawn = [each["model_config_id"] for each in answer["data"]]
        assert drawn == [each["config"]["id"] for each in logged]
        assert set(drawn) == set(experiment.configs)
        [now] = api.ok("GET", experiment.path)
        assert now["status"] == "In progress"

    def test_only_active_configs_are_drawn(self, api: Api, name: str) -> None:
        experiment = Experiment(api, name)
        gone, left = experiment.configs
        path = f"/experiments/{experiment.id}"
        api.ok("PATCH", path, {"config_ids_to_deregister": [gone]})
        body = {"project": name, "experiment_id": experiment.id, "num_samples": 10, **HI}
        answer = api.ok("POST", "/chat-experiment", body)
        assert {each["model_config_id"] for each in answer["data"]} == {left}
        api.ok("PATCH", path, {"config_ids_to_deregister": [left]})
        assert api.call("POST", "/chat-experiment", body).status == 404
        assert len(records(api, name)) == 10

    @pytest.mark.parametrize("path", ["/chat-deployed", "/completion-deployed"])
    def test_nothing_deployed_is_404(self, api: Api, name: str, path: str) -> None:
        body = {"project": name, **(HI if "chat" in path else {})}
        answer = api.call("POST", path, body)
        assert answer.status == 404
        assert "no active config in the environment 'production'" in answer.body["detail"]
        assert api.ok("GET", f"/projects?filter={name.replace(' ', '%20')}")["total"] == 0

    def test_tools_and_parameters_go_to_the_provider(self, api: Api, name: str) -> None:
        tool = {"name": "t", "description": "d", "parameters": {"type": "object"}}
        keys = config(tools=[tool], max_tokens=9, stop=["x"], temperature=0.5, other={"seed": 7})
        asked = sent(api.ok("POST", "/chat", {"project": name, "model_config": keys, **HI}))
        assert asked["tools"] == [tool]
        wanted = {"max_tokens": 9, "stop": ["x"], "temperature": 0.5, "seed": 7}
        assert {key: asked[key] for key in wanted} == wanted
        assert "top_p" not in asked

    def test_parameters_that_are_not_set_are_not_sent(self, api: Api, name: str) -> None:
        messages = {"model": "m", **HI}
        assert sent(api.ok("POST", "/chat", chat(name))) == messages
        keys = config(max_tokens=-1, temperature=1, presence_penalty=0)
        body = {"project": name, "model_config": keys, **HI}
        explicit = sent(api.ok("POST", "/chat", body))
        assert explicit == {**messages, "temperature": 1, "presence_penalty": 0}
        del body["model_config"]
        assert sent(api.ok("POST", "/chat-deployed", body)) == messages


class TestRefusals:
    """What is refused before anything is stored, and where."""

    @pytest.mark.parametrize(
        ("path", "keys", "place"),
        [
            ("/chat", {"num_samples": 0}, "num_samples"),
            ("/chat", {"num_samples": -1}, "num_samples"),
            ("/chat", {"num_samples": 101}, "num_samples"),
            ("/chat", {"project": ""}, "project"),
            ("/chat", {"project_id": "pr_x"}, "project_id"),
            ("/chat", {"session_id": "sesh_x"}, "session_id"),
            (
                "/chat",
                {"session_id": "x", "session_reference_id": "x"},
                "session_reference_id",
            ),
            ("/chat", {"parent_id": "data_x"}, "parent_id"),
            ("/chat", {"parent_reference_id": "x"}, "parent_reference_id"),
            ("/chat", {"model_config": {"model": "gpt-4"}}, "model_config"),
            ("/chat", {"model_config": config(provider="anthropic")}, "model_config"),
            (
                "/completion",
                {"model_config": {"model": "x", "prompt_template": ""}},
                "model_config",
            ),
            ("/chat-experiment", {"experiment_id": "exp_x"}, "experiment_id"),
            ("/completion-experiment", {"experiment_id": "exp_x"}, "experiment_id"),
            ("/chat-model-config", {"model_config_id": "config_x"}, "model_config_id"),
            ("/completion-model-config", {"model_config_id": "config_x"}, "model_config_id"),
            ("/chat-deployed", {"environment": "mars"}, "environment"),
        ],
    )
    @pytest.mark.parametrize("stream", [False, True])
    def test_it_is_refused_at_its_place(
        self, api: Api, name: str, path: str, keys: dict[str, Any], place: str, stream: bool
    ) -> None:
        base = chat(name) if path == "/chat" else {"project": name}
        if path.startswith("/chat-"):
            base |= HI
        body = {**base, **keys, "stream": stream}
        assert api.places("POST", path, body) == [["body", place]]
        assert api.ok("GET", f"/projects?filter={name.replace(' ', '%20')}")["total"] == 0

    def test_a_huge_number_of_samples_is_refused_at_once(self, api: Api, name: str) -> None:
        data = json.dumps(chat(name, num_samples=7)).replace("7", "1e999999999").encode()
        answer = api.send("POST", "/chat", data, content_type="application/json")
        assert answer.places == [["body", "num_samples"]]

    def test_a_project_is_needed(self, api: Api) -> None:
        body = {"model_config": config(), **HI}
        assert api.places("POST", "/chat", body) == [["body", "project"]]

    def test_a_provider_that_the_server_lacks_is_told(self, api: Api, name: str) -> None:
        answer = api.call("POST", "/chat", {**chat(name), "model_config": {"model": "gpt-4"}})
        [problem] = answer.body["detail"]
        assert problem["msg"] == (
            "this server has no provider 'openai': start it with `--provider openai`,"
            " or use provider 'mock'"
        )

    def test_what_belongs_to_another_project_is_refused(self, api: Api, name: str) -> None:
        experiment = Experiment(api, f"{name} b")
        body = {"project": name, **HI}
        by_id = {**body, "model_config_id": experiment.configs[0]}
        place = ["body", "model_config_id"]
        assert api.places("POST", "/chat-model-config", by_id) == [place]
        drawn = {**body, "experiment_id": experiment.id}
        assert api.places("POST", "/chat-experiment", drawn) == [["body", "experiment_id"]]

    def test_only_a_model_config_generates(self, api: Api, name: str) -> None:
        api.log(name, config={"type": "generic"})
        answer = api.call("POST", "/chat-deployed", {"project": name, **HI})
        assert answer.places == [["body", "project"]]
        assert "not a model config but of the type 'generic'" in answer.text

    def test_a_completion_needs_a_prompt_template(self, api: Api, name: str) -> None:
        api.ok("POST", "/chat", chat(name))
        answer = api.call("POST", "/completion-deployed", {"project": name})
        assert answer.places == [["body", "project"]]
        assert "prompt_template" in answer.text


class TestSessions:
    """Sessions and parents, as for logs."""

    def test_samples_share_the_session_and_the_parent(self, api: Api, name: str) -> None:
        parent = api.log(name, session_reference_id=f"{name} s", reference_id=f"{name} p")
        body = chat(name, num_samples=2, parent_reference_id=f"{name} p")
        api.ok("POST", "/chat", body)
        for record in records(api, name)[1:]:
            assert record["session_id"] == parent["session_id"]
            assert record["parent_id"] == parent["id"]

    def test_the_first_use_of_a_reference_creates_the_session(self, api: Api, name: str) -> None:
        body = chat(name, num_samples=2, session_reference_id=f"{name} s")
        api.ok("POST", "/chat", body)
        api.ok("POST", "/chat", body)
        [session_id] = {record["session_id"] for record in records(api, name)}
        session = api.ok("GET", f"/sessions/{session_id}")
        assert session["datapoints_count"] == 4
        assert session["last_output"] == "Mock answer 2 to: Hi"

    def test_a_child_in_another_session_is_refused(self, api: Api, name: str) -> None:
        parent = api.log(name, session_reference_id=f"{name} s")
        session_id = api.ok("POST", "/sessions")["id"]
        body = chat(name, parent_id=parent["id"], session_id=session_id)
        assert api.places("POST", "/chat", body) == [["body", "session_id"]]
