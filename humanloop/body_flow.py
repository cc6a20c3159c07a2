"""The flow of values from the bodies of responses through the statements of a program.

A program is read, never run. Names that hold clients, responses, bodies and parts of bodies are
followed from statement to statement, and into and out of functions, as far as one file goes.

Invariants: what can't be followed has no kind. A body from `bodies="plain"` is what 0.5 returned,
so it has none, either.
"""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Generator, Mapping, Sequence
from functools import cache
from typing import Any, TypeAlias

__all__ = ["BODY", "MIXED", "OWN", "TEXT", "BodyFlow", "element", "is_json", "is_plain"]

# The kind of a value, as far as it is known. With a `*` before it: a list or an iterator of these.
CLIENT, RESPONSE, BODY = "client", "response", "body"
TEXT = "text"  # a str out of a body
PLAIN = "plain"  # a client with plain bodies, or the configuration of one
OWN, DICT = "own", "dict"  # a list, or a dict, that the program made itself
MIXED = "mixed"  # the same, with something out of a body in it
OTHER = "other"  # the result of a function that is not known

_CONFIGURATIONS = {"humanloop.Configuration", "humanloop.configuration.Configuration"}
_CLIENTS = {"humanloop.Humanloop", "humanloop.client.Humanloop", "humanloop.ApiClient"}
_MAKERS = {*_CONFIGURATIONS, *_CLIENTS, "humanloop.api_client.ApiClient"}
_RESPONSES = {"humanloop.ApiResponse", "humanloop.api_response.ApiResponse"}
_NO_CALLS = {"build_request", "close", "aclose"}
_OF_BODY = {"get": BODY, "pop": BODY, "copy": BODY, "items": f"**{BODY}", "values": f"*{BODY}"}
_SAME = {"asyncio.run", "asyncio.wait_for", "copy.copy", "copy.deepcopy", "tuple"} | {
    *("create_task", "ensure_future", "run_until_complete")
}
"""Functions that return their argument, or its result."""
_CALLERS = {"submit": "", "to_thread": "", "run_in_executor": "", "map": "*"}
"""Functions that call their argument; `map` calls it repeatedly."""
_LISTS = {
    **dict.fromkeys(("max", "min", "next", "sum"), ""),
    **dict.fromkeys(("dict", "filter", "iter", "list", "reversed", "sorted"), "*"),
    **dict.fromkeys(("enumerate", "zip"), "**"),
}
"""Functions that return parts of their argument: one part, a list, a list of tuples."""

_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)
Function: TypeAlias = "ast.FunctionDef | ast.AsyncFunctionDef"


def is_plain(name: object, value: ast.AST) -> bool:
    """Return True for an option, or an attribute, that asks for plain bodies."""
    option = (name, getattr(value, "value", None))
    return option in (("bodies", "plain"), ("skip_deserialization", True))


@cache
def _text_keys() -> frozenset[str]:
    """Return the keys that are strings, or null, wherever a schema of the API declares them."""
    from humanloop import model

    def is_text(schema: Mapping[str, Any]) -> bool:
        if "$ref" in schema:
            return is_text(getattr(model, schema["$ref"].rpartition("/")[2]).__openapi__)
        parts = [*schema.get("anyOf", ()), *schema.get("allOf", ())]
        return all(map(is_text, parts)) if parts else schema.get("type") == "string"

    texts: dict[str, bool] = {}
    for name in model.__all__:
        for key, schema in getattr(model, name).__openapi__.get("properties", {}).items():
            texts[key] = texts.get(key, True) and is_text(schema)
    return frozenset(key for key, is_one in texts.items() if is_one)


@cache
def _operations() -> frozenset[str]:
    from humanloop.apis.operations import OPERATIONS

    return frozenset(operation.name for operation in OPERATIONS)


def element(kind: str) -> str:
    """Return the kind of the parts of a value."""
    return kind if kind == BODY else kind[1:] if kind.startswith("*") else ""


def is_json(kind: str) -> bool:
    """Return True if `json` takes a value of this kind."""
    return kind.lstrip("*") != BODY and kind != MIXED


def _made_of(kinds: Sequence[str]) -> str:
    """Return the kind of a list or a dict with parts of these kinds in it."""
    if kinds and kinds[0] and len(set(kinds)) == 1:
        return f"*{kinds[0]}"
    return OWN if all(map(is_json, kinds)) else MIXED


def _path(node: ast.AST | None) -> str:
    """Return the text of `a.b.c`; empty for all other expressions."""
    if isinstance(node, ast.Name):
        return node.id
    inner = _path(node.value) if isinstance(node, ast.Attribute) else ""
    return f"{inner}.{node.attr}" if inner and isinstance(node, ast.Attribute) else ""


class BodyFlow(ast.NodeVisitor):
    """Follows kinds through the statements of a program. Subclasses look at what they need.

    switched: bodies are plain somewhere, so a client from elsewhere may be one that gives these.
    """

    def __init__(self, switched: bool) -> None:
        self._foreign_client = PLAIN if switched else CLIENT
        self._imported: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._kept: dict[str, str] = {}
        """The kinds of attributes of `self`, of the results of functions and their parameters."""
        self._parameters: dict[str, list[str]] = {}
        self._class = self._function = self._place = ""
        self._functions: list[tuple[Function, str]] = []

    def check(self, cells: Mapping[str, ast.Module]) -> None:
        """Go once through a program; cells: of a notebook, else one."""
        self._names = {}
        for self._place, tree in cells.items():
            self._visit_scope(tree.body)

    def _visit_scope(self, body: Sequence[ast.stmt]) -> None:
        """Visit statements, and then the functions among them, which see all their names."""
        outer, self._functions = self._functions, []
        for statement in body:
            self.visit(statement)
        found, self._functions = self._functions, outer
        place = self._class, self._function
        for function, self._class in found:
            of_self = "self." if self._class else ""
            self._function = self._kept_name(f"{of_self}{function.name}")
            arguments = [*function.args.posonlyargs, *function.args.args]
            names = [argument.arg for argument in arguments]
            self._parameters[self._function] = names[1:] if self._class else names
            with self._inner_names():
                self._take_parameters(self._function, function.args)
                self._visit_scope(function.body)
        self._class, self._function = place

    @contextlib.contextmanager
    def _inner_names(self) -> Generator[None, None, None]:
        outer, self._names = self._names, dict(self._names)
        yield
        self._names = outer

    def _take_parameters(self, function: str, arguments: ast.arguments) -> None:
        for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
            hint = self._dotted(argument.annotation)
            kind = self._kept.get(f"{function}({argument.arg})", "")
            kind = RESPONSE if hint in _RESPONSES else kind
            self._names[argument.arg] = self._foreign_client if hint in _CLIENTS else kind

    # --- what kind an expression is ---

    def _kept_name(self, path: str) -> str:
        """Return the key in `_kept` of a function, or of an attribute of `self`."""
        of_self = self._class and path.startswith("self.")
        return f"{self._class}{path[4:]}" if of_self else path

    def _dotted(self, node: ast.AST | None) -> str:
        """Return the full name of an imported object, or the name of a builtin."""
        text = getattr(node, "value", "") if isinstance(node, ast.Constant) else _path(node)
        head, dot, tail = text.partition(".") if isinstance(text, str) else ("", "", "")
        return f"{self._imported.get(head, head)}{dot}{tail}"

    def _kind(self, node: ast.AST | None) -> str:
        match node:
            case ast.Name():
                return self._kind_of_name(node, "")
            case ast.Attribute():
                return self._kind_of_name(node, self._kind(node.value))
            case ast.Subscript():
                return self._kind_of_part(self._kind(node.value), node.slice)
            case ast.Await() | ast.NamedExpr():
                return self._kind(node.value)
            case ast.IfExp():
                return self._kind(node.body) or self._kind(node.orelse)
            case ast.BoolOp(ast.Or(), [text, ast.Constant(str())]) if self._kind(text) == TEXT:
                return ""
            case ast.BoolOp():
                return next((kind for kind in map(self._kind, node.values) if kind), "")
            case ast.BinOp(left, _, ast.Constant(int())) | ast.BinOp(ast.Constant(int()), _, left):
                return BODY if self._kind(left) == BODY else ""
            case ast.BinOp():
                return BODY if self._kind(node.left) == self._kind(node.right) == BODY else ""
            case ast.List() | ast.Tuple() | ast.Set():
                return _made_of(list(map(self._kind_inside, node.elts)))
            case ast.Dict():
                unpacked = [
                    ast.Starred(v) if k is None else v
                    for k, v in zip(node.keys, node.values, strict=True)
                ]
                made = _made_of(list(map(self._kind_inside, unpacked)))
                return DICT if made == OWN else made
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                with self._inner_names():
                    for generator in node.generators:
                        self._bind_parts(generator.target, generator.iter)
                    part = node.value if isinstance(node, ast.DictComp) else node.elt
                    return _made_of([self._kind(part)])
            case ast.Call():
                return self._kind_of_result(node)
            case _:
                return ""

    def _kind_inside(self, node: ast.expr) -> str:
        """Return the kind that an item adds to its list or dict."""
        if isinstance(node, ast.Starred):
            return element(self._kind(node.value))
        return self._kind(node)

    def _kind_of_name(self, node: ast.expr, of: str) -> str:
        """Return the kind of a name, or of an attribute of a value of the kind `of`."""
        path = _path(node)
        known = self._names.get(path) or self._kept.get(self._kept_name(path), "")
        if known or not isinstance(node, ast.Attribute):
            return known
        if of == RESPONSE:
            return BODY if node.attr == "body" else ""
        if of in (CLIENT, PLAIN):
            return of  # a tag, or a method of one
        *_, tag, method = ("", "", *_path(node).split("."))
        is_call = not of and f"{tag}.{method.removeprefix('a')}" in _operations()
        return self._foreign_client if is_call else ""

    def _kind_of_part(self, of: str, key: ast.expr) -> str:
        if isinstance(key, ast.Slice):
            return of
        is_text = isinstance(key, ast.Constant) and key.value in _text_keys()
        return TEXT if of == BODY and is_text else element(of)

    def _kind_of_result(self, call: ast.Call) -> str:
        function, name = call.func, self._dotted(call.func)
        if name in _MAKERS or (name.startswith("humanloop.apis.") and name.endswith("Api")):
            return self._kind_of_client(call, name)
        # Once for each function, lest a chain of calls take exponential time.
        receiver = self._kind(getattr(function, "value", None))
        of = self._kind_of_name(function, receiver)
        method = function.attr if isinstance(function, ast.Attribute) else ""
        if of in (CLIENT, PLAIN):
            return self._kind_of_answer(call, of, method)
        if method in _OF_BODY and receiver == BODY:
            is_lookup = _OF_BODY[method] == BODY and call.args
            return self._kind_of_part(BODY, call.args[0]) if is_lookup else _OF_BODY[method]
        if method == "result" and receiver == RESPONSE:  # of a task
            return receiver
        return self._kind_of_passed(call, name)

    def _kind_of_client(self, call: ast.Call, name: str) -> str:
        """Return the kind of a new client, or of a configuration for one."""
        if self._asks_for_plain(call):
            return PLAIN
        if name in _CONFIGURATIONS:
            return ""
        is_known = not call.args and not {None, "configuration"} & {k.arg for k in call.keywords}
        return CLIENT if is_known else self._foreign_client

    def _kind_of_answer(self, call: ast.Call, client: str, method: str) -> str:
        """Return the kind of the result of a client's method."""
        plain = client == PLAIN or self._asks_for_plain(call)
        if method == "with_options":
            return PLAIN if plain else client
        if plain or method in _NO_CALLS or method.endswith("_stream"):
            return ""
        is_stream = "iterate_" in method or any(k.arg == "stream" for k in call.keywords)
        return f"*{BODY}" if is_stream else RESPONSE

    def _asks_for_plain(self, call: ast.Call) -> bool:
        values = [*call.args, *(keyword.value for keyword in call.keywords)]
        return PLAIN in map(self._kind, values) or any(
            is_plain(k.arg, k.value) for k in call.keywords
        )

    def _kind_of_passed(self, call: ast.Call, name: str) -> str:
        """Return the kind of a function's result, from its arguments."""
        kinds = list(map(self._kind_inside, call.args))
        kinds += [self._kind(keyword.value) for keyword in call.keywords]
        last_name = name.rpartition(".")[2]
        if last_name in _CALLERS and CLIENT in kinds:
            return f"{_CALLERS[last_name]}{RESPONSE}"
        if {name, last_name} & _SAME or (
            name == "round" and len(kinds) == 2
        ):  # of one it makes an int
            return kinds[0] if kinds else ""
        if name in _LISTS:
            part = next((part for part in map(element, reversed(kinds)) if part), "")
            return f"{_LISTS[name]}{part}" if part else OWN
        if name == "asyncio.gather":
            return _made_of(kinds)
        return self._kept.get(self._kept_name(f"{_path(call.func)}()"), "")

    # --- what names stand for ---

    def _kind_bound(self, value: ast.expr) -> str:
        return self._kind(value) or (OTHER if isinstance(value, ast.Call) else "")

    def _bind(self, target: ast.expr, kind: str, value: ast.expr | None = None) -> None:
        if isinstance(target, (ast.Tuple, ast.List)):
            kinds = [element(kind)] * len(target.elts)
            if isinstance(value, ast.Tuple) and len(value.elts) == len(kinds):
                kinds = list(map(self._kind, value.elts))
            for item, of_item in zip(target.elts, kinds, strict=True):
                self._bind(item, of_item)
        elif isinstance(target, ast.Starred):
            self._bind(target.value, kind and f"*{kind}")
        elif isinstance(target, ast.Subscript):
            self._put_into(target.value, kind)
        elif path := _path(target):
            self._names[path] = kind
            if kind and path.startswith("self."):
                self._kept[self._kept_name(path)] = kind

    def _bind_parts(self, target: ast.expr, source: ast.expr) -> None:
        """Bind the target of a loop; an index, or a key, is nothing of what it belongs to."""
        match target, source:
            case (
                ast.Tuple([ast.Name(key), target]),
                ast.Call(ast.Name("enumerate"), [source, *_])
                | ast.Call(ast.Attribute(source, "items"), []),
            ):
                self._names[key] = ""
            case _:
                pass
        self._bind(target, element(self._kind(source)))

    def _put_into(self, container: ast.expr, kind: str) -> None:
        """Note that a list or a dict of the program's own has a new part of this kind."""
        path, before = _path(container), self._kind(container)
        if path not in self._names:
            return
        if before == OWN and kind:
            self._names[path] = _made_of([kind])
        elif before != f"*{kind}" and before.startswith(("*", DICT)) and not is_json(kind):
            self._names[path] = MIXED

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            head = alias.name.partition(".")[0]
            self._imported[alias.asname or head] = alias.name if alias.asname else head

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names if not node.level else ():
            self._imported[alias.asname or alias.name] = f"{node.module}.{alias.name}"

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        outer, self._class = self._class, node.name
        with self._inner_names():
            self.generic_visit(node)
        self._class = outer

    def visit_FunctionDef(self, node: Function) -> None:
        self._names.pop(node.name, None)
        self._functions.append((node, self._class))

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Return(self, node: ast.Return | ast.Yield) -> None:
        self.generic_visit(node)
        kind = self._kind(node.value)
        if kind not in ("", OWN, DICT, OTHER):
            several = "*" if isinstance(node, ast.Yield) else ""
            self._kept[f"{self._function}()"] = f"{several}{kind}"

    visit_Yield = visit_Return

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        for target in node.targets:
            self.visit(target)
            self._bind(target, self._kind_bound(node.value), node.value)
            if isinstance(target, ast.Attribute) and is_plain(target.attr, node.value):
                self._names[_path(target).partition(".")[0]] = PLAIN

    def visit_AnnAssign(self, node: ast.AnnAssign | ast.NamedExpr) -> None:
        if node.value:
            self.visit(node.value)
            self._bind(node.target, self._kind_bound(node.value))

    visit_NamedExpr = visit_AnnAssign

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self.visit(node.iter)
        self._bind_parts(node.target, node.iter)
        for statement in (*node.body, *node.orelse):
            self.visit(statement)

    visit_AsyncFor = visit_For

    def visit_withitem(self, node: ast.withitem) -> None:
        self.visit(node.context_expr)
        if node.optional_vars:
            self._bind(node.optional_vars, self._kind_bound(node.context_expr))

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self._bind_parts(node.target, node.iter)
        self.generic_visit(node)

    def generic_visit(self, node: ast.AST) -> None:
        """Visit what is below a node; in comprehensions the generators first."""
        if not isinstance(node, _COMPREHENSIONS):
            super().generic_visit(node)
            return
        with self._inner_names():
            for generator in node.generators:
                self.visit(generator)
            super().generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        kinds = list(map(self._kind, node.args))
        if isinstance(node.func, ast.Attribute) and node.args:
            if node.func.attr in ("add", "append", "insert"):
                self._put_into(node.func.value, kinds[-1])
            elif node.func.attr in ("extend", "update"):
                self._put_into(node.func.value, element(kinds[-1]))
        self._pass_arguments(node, kinds)
        self.generic_visit(node)

    def _pass_arguments(self, call: ast.Call, kinds: Sequence[str]) -> None:
        """Note the kinds that the parameters of a function of the program get by a call."""
        name = self._kept_name(_path(call.func))
        parameters = self._parameters.get(name, [])
        passed = dict(zip(parameters, kinds, strict=False))
        passed |= {k.arg: self._kind(k.value) for k in call.keywords if k.arg in parameters}
        self._kept |= {f"{name}({parameter})": kind for parameter, kind in passed.items() if kind}

    def visit_Lambda(self, node: ast.Lambda) -> None:
        with self._inner_names():
            self._take_parameters("", node.args)
            self.visit(node.body)
