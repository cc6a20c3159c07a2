"""What is loaded when: `import humanloop` and making a client stay cheap."""

from __future__ import annotations

import subprocess
import sys

import pytest

import humanloop


def modules_after(code: str) -> set[str]:
    """The names of all modules that a fresh interpreter has loaded after `code`."""
    script = f"import sys\n{code}\nprint(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True
    )
    return set(run.stdout.split())


def test_importing_the_package_loads_nothing_else() -> None:
    loaded = modules_after("import humanloop; humanloop.__version__; dir(humanloop)")
    assert {n for n in loaded if n.startswith("humanloop.")} == {"humanloop.version"}


@pytest.mark.parametrize(
    "code",
    [
        "from humanloop import Humanloop; repr(Humanloop(api_key='x'))",
        "import humanloop; humanloop.ApiException; humanloop.Configuration(api_key='x')",
    ],
)
def test_a_client_loads_neither_transport_nor_tags_nor_models(code: str) -> None:
    loaded = modules_after(code)
    forbidden = (
        "urllib3",
        "logging",
        "humanloop.api_client",
        "humanloop.schemas",
        "certifi",
        "ssl",
        "http.client",
        "humanloop.model",
        "humanloop.apis.tags",
    )
    assert {name for name in loaded if name.startswith(forbidden)} == set()


def test_a_tag_loads_itself_and_no_model() -> None:
    loaded = modules_after("from humanloop import Humanloop; Humanloop(api_key='x').logs.update")
    assert {name for name in loaded if name.startswith("humanloop.apis.tags.")} == {
        "humanloop.apis.tags.logs_api"
    }
    assert {name for name in loaded if name.startswith(("urllib3", "humanloop.model"))} == set()


def test_no_logging_is_set_up() -> None:
    modules_after(
        "import logging, humanloop; humanloop.Humanloop(api_key='x')\n"
        "logger = logging.getLogger('humanloop')\n"
        "assert (logger.handlers, logger.level, logger.propagate) == ([], 0, True)"
    )


def test_public_names() -> None:
    for name in humanloop.__all__:
        assert getattr(humanloop, name) is not None
        assert name in dir(humanloop)
    with pytest.raises(AttributeError, match="has no attribute 'Humanlop'"):
        humanloop.Humanlop  # type: ignore[attr-defined]  # noqa: B018


def test_the_transport_is_imported_by_its_package_when_asked_for() -> None:
    from humanloop import transport

    assert transport.Urllib3Transport.__module__ == "humanloop.transport.urllib3_transport"
    with pytest.raises(AttributeError, match="has no attribute 'Urllib'"):
        transport.Urllib  # type: ignore[attr-defined]  # noqa: B018


def test_imports_of_0_5_still_work() -> None:
    from humanloop import ApiClient, ApiException, Configuration, Humanloop
    from humanloop.api_client import Api
    from humanloop.apis.tags.logs_api import LogsApi
    from humanloop.exceptions import OpenApiException

    assert issubclass(LogsApi, Api)
    assert issubclass(ApiException, OpenApiException)
    assert Humanloop(Configuration(api_key="k")).logs.api_client.__class__ is ApiClient
