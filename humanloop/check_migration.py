"""Find the lines of programs for version 0.5 that behave differently now.

Programs are read, as files or notebooks; `body_flow` follows what they do with bodies.

Invariants: what can't be followed is left alone, so lines are missed, but few are named in vain.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import pkgutil
import re
import sys
import warnings
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from humanloop.body_flow import BODY, MIXED, OWN, TEXT, BodyFlow, element, is_json, is_plain
from humanloop.removed import explain

__all__ = ["CheckResult", "Finding", "check_migration", "check_source"]

_SWITCHES = {"Humanloop", "Configuration", "with_options"}
_DUMPS = {
    f"{m}.{f}" for m in ("json", "simplejson", "ujson", "orjson") for f in ("dump", "dumps")
} | {"flask.jsonify"}
_MUTATORS = {"append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"} | {
    *("popitem", "setdefault", "update")
}
_TYPES: Mapping[str, tuple[str, str]] = {
    "list": ("tuple", "an array of a body is a tuple"),
    "dict": ("collections.abc.Mapping", "an object of a body is a frozendict"),
    "int": ("decimal.Decimal", "a number of a body is a Decimal"),
    "float": ("decimal.Decimal", "a number of a body is a Decimal"),
    "bool": ("humanloop.schemas.BoolClass", "true and false of a body have a class of their own"),
    "NoneType": ("humanloop.schemas.NoneClass", "null of a body has a class of its own"),
}
"""Types that programs test for: the one to test for now, and why."""
_FIXED = "a body can't be changed; copy it first, by `.to_primitive()`"
_IDENTITY = "true, false and null of a body are objects of their own"
_EQUALITY = "an array of a body is a tuple, which equals no list; compare with tuples"
_SUM = "an array of a body is a tuple, which can't be added to a list; write `[*a, *b]`"
_ROUNDING = "`//` and `%` of a Decimal round toward zero; write `math.ceil(a / b)`"
_DUMP = "`json` does not take what comes out of bodies; pass it by `.to_primitive()`"

_MAGIC = re.compile(r"^([^\S\n]*(?:[\w, ]+=[^\S\n]*)?)(?:[%!?].*|[\w.]+\?+[^\S\n]*)$", re.M)
"""A line of a notebook that is for IPython, with what stands before that."""


class Finding(NamedTuple):
    """A place to look at, its line and column counted from 1, and the reason."""

    line: int
    column: int
    reason: str


class CheckResult(NamedTuple):
    """The findings in each file or cell of a notebook, and the reasons why files were not read."""

    findings: dict[str, list[Finding]]
    unreadable: dict[str, str]


def check_migration(paths: Iterable[Path]) -> CheckResult:
    """Check programs, notebooks, and all of both below directories, as parts of one program.

    The path `-` stands for the standard input.
    """
    findings: dict[str, list[Finding]] = {}
    unreadable: dict[str, str] = {}
    trees: dict[str, dict[str, ast.Module]] = {}
    for file in (file for path in paths for file in _files(path)):
        with _reporting(file, unreadable):
            trees[file] = {place: _parsed(text, place) for place, text in _texts(file).items()}
    switched = any(_switches(tree) for cells in trees.values() for tree in cells.values())
    for file, cells in trees.items():
        with _reporting(file, unreadable):
            findings.update(_check(cells, switched))
    return CheckResult(findings, unreadable)


def check_source(source: str | bytes) -> list[Finding]:
    """Check the text of one program; raise SyntaxError or ValueError if it is none."""
    tree = _parsed(source, "program")
    return _check({"": tree}, _switches(tree))[""]


def _files(path: Path) -> Iterator[str]:
    if not path.is_dir():
        yield str(path)
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(f for f in folders if not _is_skipped(Path(folder, f)))
        yield from (str(Path(folder, f)) for f in sorted(files) if f.endswith((".py", ".ipynb")))


def _is_skipped(folder: Path) -> bool:
    return folder.name.startswith((".", "__pycache__")) or (folder / "pyvenv.cfg").exists()


@contextlib.contextmanager
def _reporting(file: str, unreadable: dict[str, str]) -> Generator[None, None, None]:
    try:
        yield
    except RecursionError:
        unreadable[file] = "it has an expression that is nested too deeply"
    except (OSError, SyntaxError, ValueError) as error:
        unreadable[file] = str(error)


def _texts(file: str) -> dict[str, str | bytes]:
    """Return the text of a program, or those of a notebook's code cells, each by its place."""
    content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    if not file.endswith(".ipynb"):
        return {file: content}
    try:
        cells = [
            (cell["cell_type"], "".join(cell["source"])) for cell in json.loads(content)["cells"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"it is no notebook of format 4: {error!r}") from error
    return {
        f"{file}:cell {number}": _MAGIC.sub(r"\1None", text)
        for number, (kind, text) in enumerate(cells, 1)
        if kind == "code" and not text.lstrip().startswith("%%")
    }


def _parsed(text: str | bytes, place: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on escapes such as "\d", which are not our subject
        return ast.parse(text, place)


def _check(cells: Mapping[str, ast.Module], switched: bool) -> dict[str, list[Finding]]:
    """Return what is found in each cell of a notebook, or in a program, which is one cell."""
    checker = _Checker(switched)
    if any(_imports_humanloop(node) for tree in cells.values() for node in ast.walk(tree)):
        for _ in range(3):  # what a function takes and returns is known in the round after
            checker.check(cells)
    return {place: sorted(checker.findings[place]) for place in cells}


def _imports_humanloop(node: ast.AST) -> bool:
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
    names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
    return any(name.partition(".")[0] == "humanloop" for name in names)


def _switches(tree: ast.AST) -> bool:
    """Return whether a program makes a client with plain bodies somewhere."""
    pairs: list[tuple[object, ast.expr]] = []
    for node in ast.walk(tree):
        function = node.func if isinstance(node, ast.Call) else None
        name = getattr(function, "attr", getattr(function, "id", ""))
        if isinstance(node, ast.Call) and name in _SWITCHES:
            pairs += [(keyword.arg, keyword.value) for keyword in node.keywords]
        elif isinstance(node, ast.Assign):
            pairs += [(getattr(target, "attr", None), node.value) for target in node.targets]
        elif isinstance(node, ast.Dict):
            keys = (getattr(key, "value", None) for key in node.keys)
            pairs += zip(keys, node.values, strict=True)
    return any(is_plain(name, value) for name, value in pairs)


@cache
def _gone(name: str) -> str:
    """Return what takes the place of a name below `humanloop`; empty if it can be imported."""
    explanation = explain(name) if name.startswith("humanloop.") else ""
    if explanation:
        with contextlib.suppress(ImportError, AttributeError):
            pkgutil.resolve_name(name)
            return ""
    return explanation


class _Checker(BodyFlow):
    """Collects the places of a program to look at."""

    def __init__(self, switched: bool) -> None:
        super().__init__(switched)
        self.findings: dict[str, set[Finding]] = defaultdict(set)

    def _report(
        self, node: ast.expr | ast.stmt | ast.pattern | ast.ExceptHandler, reason: str
    ) -> None:
        self.findings[self._place].add(Finding(node.lineno, node.col_offset + 1, reason))

    def _report_types(self, node: ast.expr | ast.pattern, tested: ast.expr) -> None:
        """Report a test for types that nothing in a body has."""
        types = tested.elts if isinstance(tested, ast.Tuple) else [tested]
        names = {self._dotted(t).rpartition(".")[2] for t in types}
        if any(isinstance(t, ast.Call) and self._dotted(t.func) == "type" for t in types):
            names.add("NoneType")
        for now in sorted({now for now, _ in _TYPES.values()}):
            old = [name for name in sorted(names & _TYPES.keys()) if _TYPES[name][0] == now]
            if old and now.rpartition(".")[2] not in names:
                reason = f"{_TYPES[old[0]][1]}; test for {now}, not {' or '.join(old)}"
                self._report(node, reason)

    def visit_Import(self, node: ast.Import) -> None:
        super().visit_Import(node)
        for alias in node.names:
            if reason := _gone(alias.name):
                self._report(node, reason)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        super().visit_ImportFrom(node)
        for alias in node.names if not node.level else ():
            if reason := _gone(node.module or "") or _gone(f"{node.module}.{alias.name}"):
                self._report(node, reason)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if reason := _gone(self._dotted(node)):
            self._report(node, reason)
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if not isinstance(node.ctx, ast.Load) and self._kind(node.value) == BODY:
            self._report(node, _FIXED)
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        operands = [node.left, *node.comparators]
        for operator, *pair in zip(node.ops, operands, operands[1:], strict=False):
            for one, other in (pair, pair[::-1]):
                self._check_comparison(node, one, operator, other)
        self.generic_visit(node)

    def _check_comparison(
        self, node: ast.Compare, one: ast.expr, operator: ast.cmpop, other: ast.expr
    ) -> None:
        kind = self._kind(one)
        constant = getattr(other, "value", ...) if isinstance(other, ast.Constant) else ...
        if isinstance(operator, (ast.Is, ast.IsNot)):
            if kind in (BODY, TEXT) and any(constant is c for c in (None, True, False)):
                sign = "==" if isinstance(operator, ast.Is) else "!="
                self._report(node, f"{_IDENTITY}; write `{sign} {constant}`")
        elif isinstance(operator, (ast.Eq, ast.NotEq)) and kind == BODY:
            is_list = isinstance(other, ast.Name) and self._kind(other).startswith(("*", OWN))
            if is_list or any(isinstance(n, (ast.List, ast.ListComp)) for n in ast.walk(other)):
                self._report(node, _EQUALITY)
        is_type = isinstance(one, ast.Call) and self._dotted(one.func) == "type" and one.args
        if isinstance(one, ast.Call) and is_type and self._kind(one.args[0]) == BODY:
            self._report_types(node, other)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if isinstance(node.op, (ast.FloorDiv, ast.Mod)) and isinstance(node.left, ast.UnaryOp):
            is_negative = isinstance(node.left.op, ast.USub)
            if is_negative and self._kind(node.left.operand) == BODY:
                self._report(node, _ROUNDING)
        self._check_sum(node, node.left, node.op, node.right)
        self._check_sum(node, node.right, node.op, node.left)
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._check_sum(node, node.target, node.op, node.value)
        self._put_into(node.target, element(self._kind(node.value)))
        self.generic_visit(node)

    def _check_sum(
        self, node: ast.expr | ast.stmt, one: ast.expr, operator: ast.operator, other: ast.expr
    ) -> None:
        own = self._kind(other).startswith(("*", OWN, MIXED)) and not isinstance(other, ast.Tuple)
        if isinstance(operator, ast.Add) and self._kind(one) == BODY and own:
            self._report(node, _SUM)

    def visit_Match(self, node: ast.Match) -> None:
        patterns = [p for case in node.cases for p in ast.walk(case.pattern)]
        for pattern in patterns if self._kind(node.subject) == BODY else ():
            if isinstance(pattern, ast.MatchSingleton):
                self._report(pattern, f"{_IDENTITY}, which never matches this pattern")
            elif isinstance(pattern, ast.MatchClass):
                self._report_types(pattern, pattern.cls)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        first = self._kind(node.args[0]) if node.args else ""
        method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        if self._dotted(node.func) == "isinstance" and first == BODY and len(node.args) == 2:
            self._report_types(node, node.args[1])
        elif method in _MUTATORS and self._kind(getattr(node.func, "value", None)) == BODY:
            self._report(node, _FIXED)
        dumped = [first] if self._dotted(node.func) in _DUMPS else []
        dumped += [self._kind(k.value) for k in node.keywords if k.arg == "json"]
        if not all(map(is_json, dumped)):
            self._report(node, _DUMP)
        super().visit_Call(node)
