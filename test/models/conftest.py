"""A small model that is served, and a server of ours that is set up with it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.processes import serving


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
