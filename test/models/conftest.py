"""A small model that is served, and a server of ours that is set up with it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.processes import serving

RULES = """
rules:
  - {name: busy, when: {model_matches: "busy*"}, respond: {status: 429, error: "Slow down"}}
  - {name: key, when: {model_matches: "locked*"}, respond: {status: 401, error: "No such key"}}
  - name: tool
    when: {model_matches: "tool*"}
    respond: {content: "", tool_calls: [{name: get_weather, arguments: {city: Oslo}}]}
  - {name: hello, when: {messages_contain: Hi}, respond: {content: "Hello from a fake model."}}
"""


@pytest.fixture(scope="session")
def fake_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of fakellm, which speaks both wires."""
    pytest.importorskip("fakellm")
    rules = tmp_path_factory.mktemp("fakellm") / "rules.yaml"
    rules.write_text(RULES)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "fakellm.server:app", "--port", str(port)]
    with subprocess.Popen(
        command,
        env={**os.environ, "FAKELLM_CONFIG": str(rules)},
        cwd=rules.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        while "running on" not in (line := process.stderr.readline()):
            assert line, "fakellm did not start"
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def model_url() -> Iterator[str]:
    """The address of llama.cpp's server with a small model."""
    pytest.importorskip("xllamacpp")
    command = [sys.executable, str(Path(__file__).with_name("llama.py"))]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), address
        try:
            yield address
        finally:
            process.stdin.close()
            process.wait(20)


@pytest.fixture(scope="session")
def serve_url(model_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`humanloop serve --provider local=...`, with its variables in the environment."""
    providers = ("--provider", f"local={model_url}/v1", "--provider", f"anthropic={model_url}")
    with (
        serving(tmp_path_factory.mktemp("serve"), "--api-key", "hl_key", *providers) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        assert f"local  {model_url}/v1\n" in server.printed
        patch.setitem(os.environ, "HUMANLOOP_BASE_URL", server.url)
        patch.setitem(os.environ, "HUMANLOOP_API_KEY", "hl_key")
        yield server.url
