"""Templates: how the inputs are filled in."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ..api import Api
from ..chatting import (
    SYSTEM,
    complete,
    config,
    records,
    sent,
)


class TestTemplates:
    """How inputs get into templates."""

    def fill(self, api: Api, name: str, template: str, inputs: Any) -> Any:
        """A prompt template with its variables filled in."""
        body = complete(name, template, inputs=inputs)
        return sent(api.ok("POST", "/completion", body))["prompt"]

    @pytest.mark.parametrize(
        ("template", "inputs", "prompt"),
        [
            ("", {}, ""),
            ("no variable", {"x": "y"}, "no variable"),
            ("{{x}}{{ x }}{{  y}}", {"x": "1", "y": "2"}, "112"),
            ("{{x}}", {"x": "{{y}}", "y": "never"}, "{{y}}"),
            ("{{x}} {{y}}", {"x": "{{y}}", "y": "{{x}}"}, "{{y}} {{x}}"),
            ("{{{x}}}", {"x": "1"}, "{1}"),
            ("{{x}}", {"x": "\\1 \\g<0>"}, "\\1 \\g<0>"),
            ("{{ a b }} {{}} {{ x-y }} {x}", {"x": "1"}, "{{ a b }} {{}} {{ x-y }} {x}"),
            ("{{x}}", {"x": 1.50}, "1.5"),
            ("{{x}}", {"x": True}, "true"),
            ("{{x}}", {"x": [1, "a"]}, '[1,"a"]'),
            ("{{x}}", {"x": {"a": "\u00eb"}}, '{"a":"\u00eb"}'),
            ("{{\u00eb}}", {"\u00eb": "e"}, "e"),
            ("{{user.name}}", {"user.name": "exact", "user": {"name": "path"}}, "exact"),
            ("{{user.name}}", {"user": {"name": "path"}}, "path"),
            ("{{list[1].a}}", {"list": [0, {"a": "b"}]}, "b"),
            ("{{map[key]}}", {"map": {"key": "v"}}, "v"),
            ("{{map.0}}", {"map": {"0": "v"}}, "v"),
        ],
    )
    def test_variables(self, api: Api, name: str, template: str, inputs: Any, prompt: str) -> None:
        assert self.fill(api, name, template, inputs) == prompt

    def test_numbers_keep_their_digits(self, api: Api, name: str) -> None:
        body = json.dumps(complete(name, "{{x}}", inputs={"x": 7})).replace("7", "1.50")
        answer = api.send("POST", "/completion", body.encode(), content_type="application/json")
        assert sent(answer.body)["prompt"] == "1.50"

    @pytest.mark.parametrize("stream", [False, True])
    def test_all_missing_variables_are_named(self, api: Api, name: str, stream: bool) -> None:
        template = "{{a}} {{b}} {{b}} {{list[3]}} {{list.x}} {{text.x}} {{..}} {{c.d}}"
        inputs = {"b2": "", "list": [1], "text": "t", "c": {}}
        body = {**complete(name, template, inputs=inputs), "stream": stream}
        answer = api.call("POST", "/completion", body)
        names = ["a", "b", "list[3]", "list.x", "text.x", "..", "c.d"]
        assert answer.places == [["body", "inputs", each] for each in names]
        assert {each["type"] for each in answer.body["detail"]} == {"required"}
        assert records(api, name) == []

    def test_a_chat_template_goes_before_the_messages(self, api: Api, name: str) -> None:
        template = [
            *SYSTEM,
            {"role": "assistant", "tool_call": {"name": "t"}},
            {"role": "user", "name": "{{ topic }}", "content": "{{ topic }}?"},
        ]
        messages = [{"role": "user", "content": "{{ topic }} stays"}]
        model_config = config(chat_template=template)
        body = {"project": name, "model_config": model_config, "messages": messages}
        answer = api.ok("POST", "/chat", {**body, "inputs": {"topic": "tea"}})
        assert sent(answer)["messages"] == [
            {"role": "system", "content": "Talk of tea."},
            {"role": "assistant", "tool_call": {"name": "t"}},
            {"role": "user", "name": "{{ topic }}", "content": "tea?"},
            {"role": "user", "content": "{{ topic }} stays"},
        ]
        [record] = records(api, name)
        assert record["messages"] == answer["data"][0]["messages"] == messages
        assert api.places("POST", "/chat", body) == [["body", "inputs", "topic"]]

    def test_a_completion_of_a_chat_model_is_one_message(self, api: Api, name: str) -> None:
        body = complete(name, "Say {{x}}", inputs={"x": "it"}, endpoint="chat")
        answer = api.ok("POST", "/completion", body)
        assert sent(answer)["messages"] == [{"role": "user", "content": "Say it"}]
        assert "prompt" not in sent(answer)

    def test_what_grows_too_large_is_refused(self, api: Api, name: str) -> None:
        body = complete(name, "{{x}}" * 60_000, inputs={"x": "long" * 50})
        assert api.places("POST", "/completion", body) == [["body", "inputs"]]
