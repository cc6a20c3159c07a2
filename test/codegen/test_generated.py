"""The generated files of this repository: as the generator writes them, complete, and small."""

from __future__ import annotations

import ast
import importlib
import inspect
import pydoc
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import humanloop.apis.tags
import humanloop.model
import humanloop.typed_dicts
from codegen import ir, reading
from codegen.__main__ import DOCUMENT, ROOT, main
from codegen.render import FOLDERS, HEADER, NOTICE, render
from codegen.write import differences, write
from humanloop.api import Api
from humanloop.api_client import ApiClient, RequestOptions
from humanloop.apis.facade import Facade
from humanloop.apis.operations import OPERATIONS
from humanloop.apis.tags.sessions_api import SessionsApi
from humanloop.configuration import Configuration
from humanloop.schemas import unset

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def api() -> ir.GeneratedApi:
    return ir.build(reading.load(ROOT / "openapi.yaml"))


@pytest.fixture(scope="module")
def files(api: ir.GeneratedApi) -> dict[str, str]:
    return render(api)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the repository's generated files."""
    (tmp_path / "humanloop/server/http").mkdir(parents=True)
    for file in ("openapi.yaml", "README.md", "humanloop/typed_dicts.py", DOCUMENT):
        shutil.copy(ROOT / file, tmp_path / file)
    for folder in FOLDERS:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignore)
    return tmp_path


def _methods() -> Iterator[tuple[str, ast.FunctionDef]]:
    for file in sorted((ROOT / "humanloop/apis/tags").glob("*_api.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                for child in node.body:
                    if isinstance(child, ast.FunctionDef):
                        yield f"{file.stem}.{child.name}", child


def test_check_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0
    assert "0 differ, 0 unknown" in capsys.readouterr().out


def test_check_fails_on_each_kind_of_difference(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edited = copy / "humanloop/model/usage.py"
    edited.write_text(edited.read_text().replace("integer", "number", 1))
    (copy / "humanloop/apis/operations.py").unlink()
    (copy / "humanloop/model/gone.py").write_text(f"{HEADER}\n")
    (copy / "humanloop/apis/tags/by_hand.py").write_text("by_hand = True\n")
    (copy / "docs/models/Gone.md").write_text(f"# Gone\n\n{NOTICE}\n")
    readme = copy / "README.md"
    readme.write_text(readme.read_text().replace("(docs/models/Usage.md)", "(Usage.md)"))

    assert main(["--check", "--root", str(copy)]) == 1
    out = capsys.readouterr().out
    assert "changed: humanloop/model/usage.py" in out
    assert '-            "prompt_tokens": {"type": "number"},'.replace(" ", "") in out.replace(
        " ", ""
    )
    assert "missing: humanloop/apis/operations.py" in out
    assert "stale: humanloop/model/gone.py" in out
    assert "stale: docs/models/Gone.md" in out
    assert "changed: README.md" in out
    assert "+- [Usage](docs/models/Usage.md)" in out
    assert "unknown: humanloop/apis/tags/by_hand.py" in out
    assert "5 differ, 1 unknown" in out


def test_write_restores_and_removes_but_leaves_what_it_does_not_know(
    copy: Path, files: dict[str, str]
) -> None:
    edited = copy / "humanloop/model/usage.py"
    edited.write_text("edited\n")
    (copy / "humanloop/model/gone.pyi").write_text(f"{HEADER}\n")
    by_hand = copy / "humanloop/model/by_hand.py"
    by_hand.write_text("by_hand = True\n")

    write(copy, differences(copy, files))
    assert edited.read_text() == files["humanloop/model/usage.py"]
    assert by_hand.exists()
    assert [d.kind for d in differences(copy, files)] == ["unknown"]


def test_a_long_diff_is_cut(copy: Path, files: dict[str, str]) -> None:
    edited = copy / "humanloop/model/log_response.py"
    edited.write_text("edited\n")
    [found] = differences(copy, files)
    assert len(found.summary().splitlines()) < 20
    assert found.summary().endswith("more lines")


def test_every_schema_has_a_class(api: ir.GeneratedApi) -> None:
    assert len(api.models) == 125
    assert humanloop.model.__all__ == sorted(model.name for model in api.models)
    for model in api.models:
        made = getattr(humanloop.model, model.name)
        assert made.__openapi__ == model.declaration
        assert made.__module__ == f"humanloop.model.{model.module}"
        assert made.__doc__


def test_enums_have_a_member_for_each_value(api: ir.GeneratedApi) -> None:
    for model in api.models:
        made = getattr(humanloop.model, model.name)
        values = model.declaration["enum"] if model.members else []
        assert [getattr(made, name) for name in model.members] == values


def test_stubs_and_signatures_have_the_same_keywords(api: ir.GeneratedApi) -> None:
    for model in api.models:
        signature = inspect.signature(getattr(humanloop.model, model.name))
        kinds: dict[Any, list[inspect.Parameter]] = {}
        for parameter in signature.parameters.values():
            kinds.setdefault(parameter.kind, []).append(parameter)
        [first] = kinds[inspect.Parameter.POSITIONAL_ONLY]
        keywords = kinds.get(inspect.Parameter.KEYWORD_ONLY, [])
        extra = kinds.get(inspect.Parameter.VAR_KEYWORD, [])
        new = model.constructor
        assert (first.default is unset) == new.takes_keywords
        assert [(keyword.name, keyword.required) for keyword in new.keywords] == [
            (keyword.name, keyword.default is inspect.Parameter.empty) for keyword in keywords
        ]
        assert bool(extra) == bool(new.extra)


def test_typed_dicts_have_the_keys_of_their_models(api: ir.GeneratedApi) -> None:
    assert humanloop.typed_dicts.__all__ == sorted(form.name for form in api.plain_forms)
    assert "ChatMessageDict" in humanloop.typed_dicts.__all__
    for form in api.plain_forms:
        made = getattr(humanloop.typed_dicts, form.name)
        declaration = getattr(humanloop.model, form.model).__openapi__
        assert get_type_hints(made).keys() == declaration["properties"].keys()
        assert made.__required_keys__ == {*declaration.get("required", ())}


def test_every_operation_has_a_method() -> None:
    assert len(OPERATIONS) == 54
    for operation in OPERATIONS:
        attribute, name = operation.name.split(".")
        module = attribute if attribute.endswith("_api") else f"{attribute}_api"
        tag = importlib.import_module(f"humanloop.apis.tags.{module}")
        classes = [value for value in vars(tag).values() if isinstance(value, type)]
        [method] = [vars(made)[name] for made in classes if name in vars(made)]
        parameters = [
            p for p in inspect.signature(method).parameters if p not in ("self", "options")
        ]
        assert sorted(parameters) == sorted(operation.arguments)


def test_arguments_stand_in_the_positions_of_version_0_5(api: ir.GeneratedApi) -> None:
    lines = (HERE / "positional_order.txt").read_text(encoding="utf-8").splitlines()
    wanted = {name: order.split() for name, order in (line.split(":") for line in lines)}
    found = {
        f"{tag.attribute}.{method.name}": [
            argument.name + "*" * argument.required for argument in method.arguments
        ]
        for tag in api.tags
        for method in tag.methods
    }
    assert found == wanted


def test_positions_hold_in_the_signatures(api: ir.GeneratedApi) -> None:
    by_name = dict(_methods())
    for tag in api.tags:
        for method in tag.methods:
            node = by_name[f"{tag.module}.{method.name}"]
            assert [a.arg for a in node.args.args[1:]] == [a.name for a in method.arguments]


def test_a_model_module_is_short() -> None:
    module = ROOT / "humanloop/model/log_response.py"
    assert len(module.read_text(encoding="utf-8").splitlines()) < 60


@pytest.mark.parametrize(("name", "node"), [*_methods()])
def test_a_method_is_short(name: str, node: ast.FunctionDef) -> None:
    assert node.end_lineno is not None
    lines = node.end_lineno - node.lineno + 1 + len(["", "its async variant"])
    arguments = len([*node.args.args, *node.args.kwonlyargs]) - len(["self"])
    assert lines <= max(45, 2 * arguments + 21)  # an argument takes a line, and one to explain it


def test_a_method_explains_each_argument_in_one_line(api: ir.GeneratedApi) -> None:
    for tag in api.tags:
        made = getattr(humanloop.apis.tags, tag.class_name)
        for method in tag.methods:
            doc = inspect.getdoc(getattr(made, method.name)) or ""
            _, _, explained = doc.partition("Args:\n")
            names = [line.partition(":")[0].strip() for line in explained.splitlines()]
            assert names == [*(a.name for a in method.everything), "options"]
            for line, argument in zip(explained.splitlines(), method.everything, strict=False):
                sentence, _, _ = f"{argument.doc} ".partition(". ")
                assert f": {' '.join(sentence.split())}." in line
                assert line.endswith(" Required.") == argument.required


def test_a_method_tells_where_to_read_what_all_have_in_common(api: ir.GeneratedApi) -> None:
    common = inspect.getdoc(Api) or ""
    for word in (*RequestOptions.__annotations__, "Returns:", "Raises:"):
        assert word in common
    for tag in api.tags:
        made = getattr(humanloop.apis.tags, tag.class_name)
        for documented in (made, *(getattr(made, method.name) for method in tag.methods)):
            assert "`humanloop.api.Api`" in (documented.__doc__ or "")


def test_shortcuts_are_the_methods_of_the_tags(api: ir.GeneratedApi) -> None:
    client = Facade()
    client.api_client = ApiClient(Configuration(api_key="key"))
    assert len(api.shortcuts) == 10
    for shortcut in api.shortcuts:
        tag = getattr(client, shortcut.attribute)
        assert type(tag).__name__ == shortcut.tag
        assert getattr(client, shortcut.attribute) is tag
        assert getattr(client, shortcut.name) == getattr(tag, shortcut.method.name)
        assert getattr(client, f"a{shortcut.name}") == getattr(tag, f"a{shortcut.method.name}")
        if shortcut.stream:
            method = getattr(client, shortcut.stream)
            assert inspect.iscoroutinefunction(method)
            assert method.__doc__ == getattr(client, shortcut.name).__doc__


def test_help_lists_the_shortcuts() -> None:
    text = pydoc.plain(pydoc.render_doc(Facade))
    for line in (
        "`chats.create_deployed`: Chat with the project's active deployment.",
        "`chats.acreate_deployed`",
        "`chats.acreate_deployed`, with the pieces of output in `content`, as in version 0.5.",
    ):
        assert f" |      {line}\n" in text


def test_an_async_variant_has_the_signature_and_the_docstring_of_its_method() -> None:
    for name in ("list", "iterate_list"):
        method, variant = getattr(SessionsApi, name), getattr(SessionsApi, f"a{name}")
        assert inspect.signature(variant) == inspect.signature(method)
        assert (variant.__doc__, variant.__wrapped__) == (method.__doc__, method)
        assert variant.__qualname__ == f"SessionsApi.a{name}"
        assert inspect.iscoroutinefunction(variant) == (name == "list")


def test_packages_name_their_contents_and_nothing_else() -> None:
    for name, known in (
        ("humanloop.model", "LogResponse"),
        ("humanloop.apis", "LogsApi"),
        ("humanloop.apis.tags", "LogsApi"),
    ):
        package = importlib.import_module(name)
        assert known in dir(package)
        assert getattr(package, known).__name__ == known
        with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
            _ = package.Nothing
