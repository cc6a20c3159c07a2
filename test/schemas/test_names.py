"""The names that instances offer to `dir`, completion and mocks, and what they say of others."""

from __future__ import annotations

import copy
import pickle
import pydoc
import traceback
from collections.abc import Callable
from typing import Any
from unittest.mock import MagicMock, Mock, create_autospec

import pytest

from humanloop.exceptions import ApiAttributeError, ApiKeyError
from humanloop.model import FeedbackRequest, LogResponse
from humanloop.schemas import DictSchema, Schema, StrSchema

from .support import make

LOG: Any = LogResponse(
    id="data_1",
    config={"id": "config_1", "type": "model", "model": "gpt-4"},
    output="On Friday.",
    inputs={"question": "When?"},
    custom=1,
)
DECLARED = {"id", "config", "output", "error", "inputs", "created_at", "duration"}
WORKING = {"get", "items", "keys", "values", "set", "delete", "to_json", "to_primitive"}
MUTATING = {"clear", "pop", "popitem", "update", "__setitem__", "__delitem__"}


# -- dir ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("listed", [LOG, LOG.config, LogResponse])
def test_dir_lists_declared_keys_and_the_methods_that_work(listed: Any) -> None:
    names = {*dir(listed)}
    assert names >= WORKING | {"id", "__getitem__", "__len__"}
    assert not names & MUTATING
    assert not [name for name in names if "_SchemaMeta" in name or name in ("_hash", "_clone")]


def test_dir_lists_the_keys_of_its_own_class() -> None:
    assert {*dir(LOG)} >= DECLARED
    assert {*dir(LOG.config)} >= {"model", "temperature"}
    assert "custom" not in dir(LOG)
    assert all(callable(getattr(LOG, name)) for name in WORKING)


def test_keys_that_are_no_names_are_not_listed() -> None:
    made = make({"type": "object", "properties": {"a-b": {}, "c": {}}})({"a-b": 1})
    assert {*dir(made)} & {"a-b", "c"} == {"c"}
    assert made["a-b"] == 1


@pytest.mark.parametrize("listed", [Schema, StrSchema, StrSchema("x"), LOG["id"]])
def test_dir_of_other_classes(listed: Any) -> None:
    assert "to_json" in dir(listed) or type(listed) is str


def test_help_and_inspection_work() -> None:
    assert "LogResponse" in pydoc.render_doc(LogResponse)
    assert "LogResponse" in pydoc.render_doc(LOG)


@pytest.mark.parametrize("use_jedi", [True, False])
def test_completion_in_ipython(use_jedi: bool) -> None:
    shell = pytest.importorskip("IPython.core.interactiveshell").InteractiveShell
    completer = pytest.importorskip("IPython.core.completer")
    ip = shell()
    ip.user_ns.update(log=LOG, inputs=LOG.inputs)
    ip.Completer.use_jedi = use_jedi

    def completed(text: str) -> set[str]:
        with completer.provisionalcompleter():
            found = ip.Completer.completions(text, len(text))
            return {completion.text.lstrip(".") for completion in found}

    assert completed("log.") >= DECLARED | WORKING
    assert not completed("log.") & MUTATING
    assert completed("log.outp") == {"output"}
    assert completed('log["') == {*LOG}
    assert completed('inputs["qu') == {"question"}


@pytest.mark.parametrize("spec", [LOG, LogResponse])
@pytest.mark.parametrize("make", [Mock, MagicMock])
def test_mocks(spec: Any, make: Any) -> None:
    mock = make(spec=spec)
    mock.output = "On Monday."
    assert (mock.output, isinstance(mock, LogResponse)) == ("On Monday.", True)
    assert hasattr(mock, "error")
    assert not hasattr(mock, "outptu")
    assert not hasattr(mock, "update")


def test_mocks_that_copy_signatures() -> None:
    assert hasattr(create_autospec(LOG), "output")
    instance = create_autospec(LogResponse, instance=True)
    instance.__getitem__.return_value = "On Monday."
    assert instance["output"] == "On Monday."
    assert not hasattr(instance, "outptu")


# -- names that are not there ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("read", "key", "message"),
    [
        (lambda: LOG["outptu"], "outptu", "no key 'outptu'; did you mean 'output'?"),
        (lambda: LOG["custum"], "custum", "no key 'custum'; did you mean 'custom'?"),
        (lambda: LOG["error"], "error", "no key 'error', which is optional; .get('error') is None"),
        (lambda: LOG.delete("outptu"), "outptu", "no key 'outptu'; did you mean 'output'?"),
        (lambda: LOG["zzz"], "zzz", "this LogResponse has no key 'zzz'"),
        (lambda: LOG[0], 0, "this LogResponse has no key 0"),
        (lambda: LOG["inputs"]["qestion"], "qestion", "this object has no key 'qestion'; did you"),
        (lambda: LOG["config"]["modle"], "modle", "this ModelConfigResponse has no key 'modle'"),
        (lambda: LOG[("a",)], ("a",), "this LogResponse has no key ('a',)"),
    ],
)
def test_a_missing_key(read: Callable[[], Any], key: Any, message: str) -> None:
    with pytest.raises(KeyError) as caught:
        read()
    assert message in str(caught.value)
    assert isinstance(caught.value, ApiKeyError)
    assert caught.value.args == (key,)
    for again in (pickle.loads(pickle.dumps(caught.value)), copy.copy(caught.value)):
        assert (str(again), again.args) == (str(caught.value), (key,))


def test_what_does_not_raise_is_as_it_was() -> None:
    assert LOG.get("outptu") is None
    assert LOG.get("outptu", 1) == 1
    assert "outptu" not in LOG
    assert str(LOG.get_item("outptu")) == "unset"
    with pytest.raises(TypeError):
        LOG[[]]


def test_a_key_that_is_a_secret_is_not_repeated() -> None:
    with pytest.raises(KeyError) as caught:
        LOG["sk-abcdefghijklmnop"]
    assert "abcdef" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("outptu", "LogResponse declares no key 'outptu'; did you mean 'output'?"),
        ("custom", "LogResponse declares no key 'custom': use ['custom']"),
        ("error", "this LogResponse has no key 'error', which is optional; .get('error') is None"),
    ],
)
def test_a_missing_attribute(name: str, message: str) -> None:
    with pytest.raises(AttributeError) as caught:
        getattr(LOG, name)
    assert str(caught.value) == message
    assert isinstance(caught.value, ApiAttributeError)
    assert caught.value.name == name
    assert str(pickle.loads(pickle.dumps(caught.value))) == message
    shown = "".join(traceback.format_exception(caught.value))
    assert shown.count("id you mean") <= 1


def test_a_key_that_hides_a_method_is_read_as_an_item() -> None:
    feedback: Any = FeedbackRequest(type="rating", value="good")
    assert feedback["value"] == "good"
    assert callable(feedback.value)
    assert DictSchema(items=1)["items"] == 1
