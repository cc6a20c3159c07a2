"""A real model behind chats, completions, streams, experiments and evaluations."""

from __future__ import annotations

import re
import select
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from humanloop import Humanloop, ServiceUnavailableError
from humanloop.server import EmbeddedServer, Settings

README = Path(__file__).parents[2] / "README.md"
HI: Any = [{"role": "user", "content": "Where is my parcel?"}]
BRIEF: dict[str, Any] = {"model": "smollm2", "max_tokens": 12}


@pytest.fixture
def client(serve_url: str) -> Iterator[Humanloop]:
    with Humanloop() as found:
        yield found


def test_readmes_chat_stream_and_completion(serve_url: str) -> None:
    text = README.read_text("utf-8")
    [code] = re.findall(r"<!-- not run: it needs a model -->\n```python\n(.*?)```", text, re.DOTALL)
    with redirect_stdout(StringIO()) as printed:
        exec(code, {"__name__": "__main__"})
    lines = [line for line in printed.getvalue().splitlines() if line.strip()]
    assert len(lines) >= 3
    assert all(len(line.split()) >= 2 for line in lines[:2])
    assert "Mock" not in printed.getvalue()


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_chat_and_its_stream(client: Humanloop, provider: str) -> None:
    config = {**BRIEF, "provider": provider, "temperature": 0, "other": {"top_k": 1}}
    whole = client.chat(project="real", model_config=config, messages=HI).body
    [data] = whole["data"]
    assert data["output"]
    assert data["finish_reason"] == "length"
    assert whole["usage"]["generation_tokens"] == 12
    with client.chat(project="real", model_config=config, messages=HI, stream=True) as stream:
        events = list(stream)
    assert len(events) > 8
    assert "".join(each["data"][0]["output"] for each in events).strip() == data["output"]
    assert events[-1]["usage"]["generation_tokens"] == 12
    record = next(iter(client.projects.iterate_export(id=whole["project_id"])))
    assert record["output"] == data["output"]
    assert record["provider_request"]["model"] == "smollm2"
    assert record["provider_response"]["usage"]
    assert record["provider_latency"] > 0


def test_a_completion_in_samples(client: Humanloop) -> None:
    config = {**BRIEF, "prompt_template": "Once upon a {{ what }}"}
    answer = client.complete(
        project="real", model_config=config, inputs={"what": "time"}, num_samples=2
    ).body
    assert all(each["output"] for each in answer["data"])
    assert len(answer["data"]) == 2


def test_an_experiment(client: Humanloop) -> None:
    register = client.model_configs.register
    project = "real experiment"
    configs = [
        register(project=project, endpoint="chat", temperature=temperature, **BRIEF).body
        for temperature in (0, 0.9)
    ]
    project_id = configs[0]["project_id"]
    experiment = client.experiments.create(
        project_id=project_id,
        name="cold or warm",
        config_ids=[each["config"]["id"] for each in configs],
        positive_labels=[{"type": "rating", "value": "good"}],
        set_active=True,
    ).body
    for _ in range(4):
        [data] = client.chat_deployed(project=project, messages=HI).body["data"]
        client.feedback(type="rating", value="good", data_id=data["id"])
    [found] = client.experiments.list(project_id=project_id).body
    assert found["id"] == experiment["id"]
    assert sum(each["trials_count"] for each in found["configs"]) == 4


def test_an_evaluation(client: Humanloop) -> None:
    pytest.importorskip("pydantic_monty")
    config = client.model_configs.register(
        project="real evaluation", endpoint="complete", prompt_template="{{ animal }}s", **BRIEF
    ).body
    project_id = config["project_id"]
    testset = client.testsets.create(project_id=project_id, name="animals", description="").body[
        "id"
    ]
    cases = [{"inputs": {"animal": each}} for each in ("Cat", "Dog", "Horse")]
    client.testsets.create_testcase(testset_id=testset, body=cases)
    evaluator = client.evaluators.create(
        name="says something",
        description="",
        code="def says(log):\n    return len(log['output']) > 3\n",
        arguments_type="target_free",
        return_type="boolean",
    ).body["id"]
    evaluation = client.evaluations.create(
        project_id=project_id,
        config_id=config["config"]["id"],
        testset_id=testset,
        evaluator_ids=[evaluator],
    ).body
    ended = client.evaluations.wait(evaluation["id"], timeout=60)
    assert ended["status"] == "completed"
    [aggregate] = ended["evaluator_aggregates"]
    assert aggregate["aggregate_value"] == 1


def test_a_prompt_that_is_too_long_is_one_clear_line(client: Humanloop) -> None:
    messages = [{"role": "user", "content": "parcel " * 5000}]
    with pytest.raises(ServiceUnavailableError) as error:
        client.chat(project="real", model_config=BRIEF, messages=messages)
    assert "The provider 'local' failed: 400 Bad Request: " in str(error.value)
    assert "exceeds the available context size" in str(error.value)


class Relay:
    """Passes bytes on to a server and back, and notes when the server's came."""

    def __init__(self, port: int) -> None:
        self.moments: list[float] = []
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _run(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with client, socket.create_connection(("127.0.0.1", self._port)) as server:
                    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._pass_on(client, server)

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        while True:
            for source in select.select([client, server], [], [])[0]:
                data = source.recv(65536)
                if not data:
                    return
                if source is server and b'"content":"' in data:
                    self.moments.append(time.perf_counter())
                (client if source is server else server).sendall(data)


def test_the_first_token_is_passed_on_within_20_ms(model_url: str) -> None:
    relay = Relay(int(model_url.rpartition(":")[2]))
    settings = Settings(providers=[f"local=http://127.0.0.1:{relay.port}/v1"])
    spent: list[float] = []
    with (
        EmbeddedServer(settings=settings) as server,
        Humanloop(api_key=server.api_key, host=server.url) as client,
    ):
        for _ in range(7):
            relay.moments.clear()
            with client.chat(
                project="fast", model_config=BRIEF, messages=HI, stream=True
            ) as stream:
                next(iter(stream))
                spent.append(time.perf_counter() - relay.moments[0])
    relay.close()
    assert statistics.median(spent) < 0.02, spent
