"""The generated documentation: the pages of models and tags, and the lists in README."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from codegen import ir, markdown, pages, reading
from codegen.__main__ import ROOT
from codegen.render import MODEL_PAGES, NOTICE, TAG_PAGES, readme
from humanloop.apis.operations import OPERATIONS
from humanloop.operation import Operation
from humanloop.schemas import JSON_TYPES
from humanloop.testing import TestTransport

HERE = Path(__file__).parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
ALL_PAGES = sorted([*(ROOT / MODEL_PAGES).glob("*.md"), *(ROOT / TAG_PAGES).glob("*.md")])
INFO = "Model Type Info"


class Row(NamedTuple):
    """A row of a model's page, except for the description."""

    section: str
    table: str
    name: str
    inputs: str
    accessed: str
    notes: str


def rows(page: str) -> Iterator[Row]:
    """Yield the rows of a model's page; the section of the page's own tables is empty."""
    section = table = ""
    for line in page.splitlines():
        if line.startswith("# "):
            section, table = "" if line.startswith("# humanloop.") else line[2:], ""
        elif line.startswith("##"):
            table = line.lstrip("# ")
        elif " | " in line and not line.startswith(
            ("---", "Input Type |", "Key |", "Class Name |")
        ):
            name, *cells = [""] * (table == "Model Type Info") + line.split(" | ")
            inputs, accessed, _, notes = (cell.strip() for cell in cells)
            yield Row(section, table, name, inputs, accessed, notes)


@pytest.fixture(scope="module")
def api() -> ir.GeneratedApi:
    return ir.build(reading.load(ROOT / "openapi.yaml"))


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def model_page(name: str) -> str:
    return text_of(ROOT / MODEL_PAGES / f"{name}.md")


def tag_pages() -> dict[str, str]:
    return {path.stem: text_of(path) for path in (ROOT / TAG_PAGES).glob("*.md")}


def tables(schema: dict[str, Any]) -> Iterator[tuple[str, list[pages.Row]]]:
    """Yield (title, rows) for each table of the page for `schema`."""
    for section in pages.page("humanloop.model.thing.Thing", schema):
        yield section.title, [section.info]
        yield f"{section.title} keys", section.keys
        yield f"{section.title} items", section.items
        for keyword, branches in section.composed:
            yield f"{section.title} {keyword}", branches


def given_rows(name: str) -> list[Row]:
    """Return the rows of this schema's given page, except for the descriptions."""
    blocks = text_of(HERE / "given_pages.txt").strip().split("\n\n")
    words = dict(line.split(" = ") for line in blocks[0].splitlines())
    found: list[Row] = []
    for head, *lines in (block.splitlines() for block in blocks[1:]):
        page, section, table = (part.strip() for part in head.strip("[]").split("#"))
        for line in lines if page == name else ():
            first, *cells = (cell.strip() for cell in line.split(" ;"))
            cells = [first.removeprefix("; "), *cells] if table == INFO else cells
            first = "" if table == INFO else first
            inputs, accessed, notes = (words.get(cell, cell) for cell in cells)
            found.append(Row(section, table, first, inputs, accessed, notes))
    return found


@pytest.mark.parametrize(("name", "count"), [("ExperimentResponse", 19), ("LogResponse", 43)])
def test_a_page_agrees_with_the_given_one(name: str, count: int) -> None:
    wanted, found = given_rows(name), list(rows(model_page(name)))
    assert len(wanted) == count
    assert sorted(found) == sorted(wanted)


def test_sections_follow_what_links_to_them() -> None:
    headings = re.findall(r"^# (\w+)$", model_page("LogResponse"), re.M)
    assert headings == [
        *("inputs", "metadata", "messages", "feedback", "any_of_1"),
        *("model_config", "provider_response", "any_of_0", "items"),
    ]


def test_every_schema_and_every_tag_has_a_page(api: ir.GeneratedApi) -> None:
    names = {model.name for model in api.models} | {tag.class_name for tag in api.tags}
    assert len(ALL_PAGES) == 125 + 12
    assert {path.stem for path in ALL_PAGES} == names


def test_required_keys_come_first(api: ir.GeneratedApi) -> None:
    for model in api.models:
        keys = [row for row in rows(model_page(model.name)) if row.table == "Dictionary Keys"]
        own = [row for row in keys if row.section == ""]
        optional = [row.notes.startswith("[optional]") for row in own]
        assert optional == sorted(optional), model.name
        assert len(own) >= len(model.declaration.get("properties", ()))


def test_open_schemas_say_so() -> None:
    names = {row.name for row in rows(model_page("ChatDeployedRequest"))}
    assert "**any_string_name**" not in names
    assert "**any_string_name**" in {row.name for row in rows(model_page("LogRequest"))}
    [one] = (row for row in rows(model_page("TestcaseResponseInputs")) if row.name)
    assert one[2:] == ("**any_string_name**", "str,", "str,", "[optional]")


def test_no_type_of_the_table_is_left_out() -> None:
    inputs, accessed = pages._any_value(pages.ANY_VALUE)
    assert set(inputs) == {name for found in JSON_TYPES.values() for name in found.inputs}
    assert set(accessed) == {name for found in JSON_TYPES.values() for name in found.accessed}
    undeclared_inputs, undeclared_accessed = pages._any_value(pages.UNDECLARED_VALUE)
    assert set(inputs) - set(undeclared_inputs) == {"uuid.UUID"}
    assert set(undeclared_accessed) == set(accessed)


@pytest.mark.parametrize(
    ("schema", "inputs", "accessed", "notes"),
    [
        ({"type": "boolean", "default": False}, "bool, ", "BoolClass, ", "of False"),
        (
            {"type": "integer", "format": "int32"},
            "decimal.Decimal, int, ",
            "decimal.Decimal, ",
            "32 bit integer",
        ),
        ({"type": "string", "format": "date"}, "str, date, ", "str, ", "full-date YYYY-MM-DD"),
        ({"type": "string", "format": "uuid"}, "str, uuid.UUID, ", "str, ", "must be a uuid"),
        ({"type": "string", "format": "none of ours"}, "str, ", "str, ", ""),
        ({"type": "string", "nullable": True}, "None, str, ", "NoneClass, str, ", ""),
        ({"type": "array", "nullable": True}, "list, tuple, None, ", "tuple, NoneClass, ", ""),
        (
            {"type": "string", "enum": ["a|b", "<c>"], "default": "a|b"},
            "str, ",
            "str, ",
            'must be one of ["a&#124;b", "&lt;c&gt;", ] '
            'if omitted the server will use the default value of "a&#124;b"',
        ),
        (
            {"type": "string", "format": "binary"},
            "bytes, io.FileIO, io.BufferedReader, ",
            "bytes, FileIO, ",
            "",
        ),
    ],
)
def test_types_and_notes(schema: dict[str, Any], inputs: str, accessed: str, notes: str) -> None:
    [(_, [info]), *_] = tables(schema)
    assert (info.inputs, info.accessed) == (inputs, accessed)
    assert info.notes.endswith(notes)
    assert bool(info.notes) == bool(notes)


def test_branches_are_named_by_their_keyword_or_title() -> None:
    text = {"type": "string"}
    schema = {"allOf": [text], "oneOf": [text, {**text, "title": "word"}], "not": text}
    found = dict(tables(schema))
    top = "humanloop.model.thing.Thing"
    assert [row.name for row in found[f"{top} allOf"]] == ["[all_of_0](#all_of_0)"]
    names = [row.name for row in found[f"{top} oneOf"]]
    assert names == ["[one_of_0](#one_of_0)", "[word](#word)"]
    assert [row.name for row in found[f"{top} not"]] == ["[not_schema](#not_schema)"]


def test_the_same_name_again_gets_an_anchor_of_its_own() -> None:
    inner = {"type": "object", "properties": {"x": {"type": "array", "items": {}}}}
    sections = pages.page("t", {"type": "object", "properties": {"x": inner, "y": inner}})
    assert [(s.title, s.anchor) for s in sections] == [
        ("t", "t"),
        ("x", "x"),
        ("x", "x-1"),
        ("y", "y"),
        ("x", "x-2"),
    ]
    assert [s.needs_anchor for s in sections] == [False, False, True, False, True]
    assert sections[3].keys[0].name == "**[x](#x-2)**"


@pytest.mark.parametrize("path", ALL_PAGES, ids=lambda path: path.stem)
def test_every_page_ends_the_same_way(path: Path) -> None:
    *_, notice, space, foot = text_of(path).splitlines()
    assert (notice, space) == (NOTICE, "")
    assert foot.count("[[Back to ") == 3


def test_every_table_has_its_cells() -> None:
    for path in ALL_PAGES:
        page = re.sub(r"^```.*?^```$", "", text_of(path), flags=re.M | re.S)
        for block in re.findall(r"(?:^.* \| .*\n)+", page, re.M):
            counts = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
            assert len(counts) == 1, f"{path.name}: {block}"


def test_tag_pages_explain_every_argument(api: ir.GeneratedApi) -> None:
    for tag in api.tags:
        page = tag_pages()[tag.class_name]
        methods = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## )", page, re.M | re.S))
        assert list(methods) == [method.name for method in tag.methods]
        made = getattr(importlib.import_module("humanloop.apis"), tag.class_name)
        for method in tag.methods:
            names = [*inspect.signature(getattr(made, method.name)).parameters][1:-1]
            found = re.findall(r"^\*\*(\w+)\*\* \|", methods[method.name], re.M)
            assert found == names
            assert f"\n{method.operation['status']} | " in methods[method.name]
            assert "\n422 | UnprocessableEntityError | " in methods[method.name]
            assert "X-API-KEY" in methods[method.name]
            for argument in method.everything:
                assert argument.doc, f"{tag.attribute}.{method.name}: {argument.name}"


def examples() -> Iterator[Any]:
    operations = {operation.name: operation for operation in OPERATIONS}
    for name, page in sorted(tag_pages().items()):
        for block in re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S):
            [parts] = set(re.findall(r"client\.(\w+\.)(?:iterate_)?(\w+)\(", block))
            called = "".join(parts)
            yield pytest.param(block, operations.pop(called), id=f"{name}.{called}")
    assert not operations


@pytest.mark.parametrize(("block", "operation"), [*examples()])
def test_examples_call_their_operation_with_what_it_takes(
    block: str, operation: Operation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run up to the transport, so the arguments bind to the method and fit the schemas."""
    transport = TestTransport()
    monkeypatch.setenv("HUMANLOOP_API_KEY", "key")
    monkeypatch.setattr("humanloop.transport.Urllib3Transport", lambda configuration: transport)
    exec(compile(block, operation.name, "exec"), {})

    path = re.sub(r"\\{\w+\\}", r"[\\w-]+", re.escape(operation.path))
    assert len(transport.requests) == block.count("response = ") + block.count(".iterate_")
    for request in transport.requests:
        assert request.method == operation.method
        assert re.fullmatch(path, request.path)


def test_readme_lists_every_operation_and_every_model(api: ir.GeneratedApi) -> None:
    for tag in api.tags:
        for method in tag.methods:
            link = f"[{tag.attribute}.{method.name}]({TAG_PAGES}/{tag.class_name}.md#{method.name})"
            request = f"**{method.operation['method']}** {method.operation['path']}"
            assert f"\n{link} | {request} | {markdown.cell(method.summary)}\n" in README
    for model in api.models:
        assert f"\n- [{model.name}]({MODEL_PAGES}/{model.name}.md)\n" in README


def test_sections_are_replaced_in_place() -> None:
    text = "# T\n\n## A\n\nold\n\n### Part\n\n## B\n\nkept\n\n## C\n\nold"
    assert markdown.with_sections(text, {"A": "new\n", "C": "more"}) == (
        "# T\n\n## A\n\nnew\n\n## B\n\nkept\n\n## C\n\nmore\n"
    )


def test_readme_folds_its_long_lists(api: ir.GeneratedApi) -> None:
    for content in readme(api).values():
        notice, space, first, *_, last = content.splitlines()
        assert (notice, space, first, last) == (NOTICE, "", "<details>", "</details>")


@pytest.mark.parametrize("text", ["# A\n", "## A\n## A\n", "text ## A\n"])
def test_a_missing_or_repeated_section_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected one section '## A', found [02]"):
        markdown.with_sections(text, {"A": "new"})


def test_cells_hold_no_markup() -> None:
    assert markdown.cell("it's\n| <b>") == "it&#x27;s &#124; &lt;b&gt;"
    assert markdown.cell("one ` alone") == "one &#x60; alone"


def test_cells_keep_code() -> None:
    assert markdown.cell("`it's`, `a|b` | <c>") == r"`it's`, `a\|b` &#124; &lt;c&gt;"


def test_hints_link_to_classes() -> None:
    hint = markdown.linked("Sequence[Cat | Mapping[str, Any]]", {"Cat": "Cat.md"})
    assert hint == r"Sequence\[[Cat](Cat.md) \| Mapping\[str, Any\]\]"
