"""The generated files of this repository: as the generator writes them, complete, and small."""

from __future__ import annotations

import ast
import importlib
import inspect
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import humanloop.model
from codegen import ir, spec
from codegen.__main__ import ROOT, main
from codegen.render import FOLDERS, HEADER, NOTICE, render
from codegen.write import differences, write
from humanloop.api_client import ApiClient
from humanloop.apis.facade import Facade
from humanloop.apis.operations import OPERATIONS
from humanloop.configuration import Configuration

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def api() -> ir.Api:
    return ir.build(spec.load(ROOT / "openapi.yaml"))


@pytest.fixture(scope="module")
def files(api: ir.Api) -> dict[str, str]:
    return render(api)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the repository's generated files."""
    for file in ("openapi.yaml", "README.md"):
        shutil.copy(ROOT / file, tmp_path)
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


def test_every_schema_has_a_class(api: ir.Api) -> None:
    assert len(api.models) == 125
    assert humanloop.model.__all__ == sorted(model.name for model in api.models)
    for model in api.models:
        made = getattr(humanloop.model, model.name)
        assert made.__openapi__ == model.declaration
        assert made.__module__ == f"humanloop.model.{model.module}"
        assert made.__doc__


def test_enums_have_a_member_for_each_value(api: ir.Api) -> None:
    for model in api.models:
        made = getattr(humanloop.model, model.name)
        for name, value in model.members:
            assert getattr(made, name) == value


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


def test_arguments_stand_in_the_positions_of_version_0_5(api: ir.Api) -> None:
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


def test_positions_hold_in_the_signatures(api: ir.Api) -> None:
    by_name = dict(_methods())
    for tag in api.tags:
        for method in tag.methods:
            node = by_name[f"{tag.module}.{method.name}"]
            assert [a.arg for a in node.args.args[1:]] == [a.name for a in method.arguments]


def test_a_model_module_is_short() -> None:
    module = ROOT / "humanloop/model/log_response.py"
    assert len(module.read_text(encoding="utf-8").splitlines()) < 60


@pytest.mark.parametrize(("name", "node"), [*_methods()])
def test_a_method_is_short_and_documented(name: str, node: ast.FunctionDef) -> None:
    assert node.end_lineno is not None
    assert node.end_lineno - node.lineno + 1 < 44, f"{name} leaves no line for its async twin"
    doc = ast.get_docstring(node) or ""
    assert "Returns:" in doc
    assert "Raises:" in doc


def test_shortcuts_are_the_methods_of_the_tags(api: ir.Api) -> None:
    client = Facade()
    client.api_client = ApiClient(Configuration(api_key="key"))
    assert len(api.shortcuts) == 10
    for shortcut in api.shortcuts:
        tag = getattr(client, shortcut.attribute)
        assert getattr(client, shortcut.name) == getattr(tag, shortcut.method.name)
        assert getattr(client, shortcut.name).__doc__ == getattr(tag, shortcut.method.name).__doc__
        assert getattr(client, shortcut.attribute) is tag


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
