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


@pytest.mark.parametrize(
    ("statement", "instead"),
    [
        ("import humanloop.models", "use humanloop.model,"),
        ("from humanloop.models import ChatMessage", "use humanloop.model,"),
        ("import humanloop.type", "use humanloop.model,"),
        ("from humanloop.models import chat_message", "use humanloop.model,"),
        ("from humanloop.type.chat_message import ChatMessage", "use humanloop.model,"),
        ("from humanloop import type", "humanloop.type of version 0.5 is gone"),
        ("from humanloop.paths.logs.post import Log", "use the methods of a client"),
        ("from humanloop.apis.paths.projects_id import ProjectsId", "use the methods of a client"),
        ("from humanloop.apis import path_to_api", "use the methods of a client"),
        ("from humanloop.apis.tag_to_api import tag_to_api", "use humanloop.apis.tags"),
        ("from humanloop.apis.tags import TagValues", "use humanloop.apis.tags"),
        ("import humanloop.rest", "use humanloop.transport"),
        ("from humanloop import rest", "use humanloop.transport"),
        ("from humanloop.exceptions_base import ApiTypeError", "use humanloop.exceptions"),
        ("from humanloop.client_custom import ClientCustom", "use humanloop.Humanloop"),
        ("import humanloop.request_before_hook", "event_hooks"),
        ("import humanloop.request_before_url_hook", "event_hooks"),
        ("import humanloop.request_after_hook", "event_hooks"),
        ("import humanloop.type_util", "nothing takes its place"),
        ("import humanloop.validation_metadata", "nothing takes its place"),
        ("from humanloop.schemas import ComposedSchema", "schemas.schema_from_openapi"),
        ("from humanloop.schemas import Int32Schema, unset", "schemas.schema_from_openapi"),
        ("from humanloop.schemas import NoneStrDecimalMixin", "schemas.schema_from_openapi"),
        ("from humanloop.exceptions import AnyOfValidationError", "SchemaValidationError"),
        ("from humanloop.exceptions import ApiResponse", "use humanloop.api_response.ApiResponse"),
        ("from humanloop.api_client import JSONEncoder", "use humanloop.schemas.to_json"),
        ("from humanloop.api_client import unset", "use humanloop.schemas.unset"),
        ("from humanloop.api_client import PathParameter", "nothing takes its place"),
        ("from humanloop.client import ChatMessage", "use humanloop.model.ChatMessage"),
        ("from humanloop.client import ChatsApi", "use humanloop.apis.tags.ChatsApi"),
    ],
)
def test_what_took_the_place_of_what_0_5_had(statement: str, instead: str) -> None:
    with pytest.raises(ImportError, match=r"of version 0\.5 is gone: ") as caught:
        exec(statement, {})
    assert instead in str(caught.value)


def test_an_attribute_that_0_5_had() -> None:
    assert not hasattr(humanloop, "rest")
    with pytest.raises(AttributeError, match=r"0\.5 is gone: use humanloop\.transport"):
        eval("humanloop.rest.RESTClientObject")
    with pytest.raises(AttributeError, match="has no attribute 'Humanlop'"):
        eval("humanloop.Humanlop")


@pytest.mark.parametrize(
    "statement",
    [
        "import humanloop.modles",
        "from humanloop import Humanlop",
        "from humanloop.exceptions import ApiEception",
        "from humanloop.client import Humanlop",
        "from humanloop.api_client import ApiCleint",
        "from humanloop.schemas import Unsett",
    ],
)
def test_a_misspelled_import_fails_as_python_has_it(statement: str) -> None:
    with pytest.raises(ImportError, match=r"No module named|cannot import name") as caught:
        exec(statement, {})
    assert caught.value.name


def test_a_name_that_0_5_had_is_not_looked_up_by_other_imports() -> None:
    loaded = modules_after(
        "import humanloop.exceptions, humanloop.schemas\n"
        "from humanloop.client import Humanloop\n"
        "assert not hasattr(humanloop.exceptions, '__path__')"
    )
    assert "humanloop.removed" not in loaded
