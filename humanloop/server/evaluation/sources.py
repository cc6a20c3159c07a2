"""An evaluator's source as text: its function, and places in it.

The source is untrusted, so it is never compiled, and never parsed by `ast`, which recurses in C and
may crash the process. `tokenize` doesn't recurse, and on every Python from 3.10 on it finds the
functions in any source that the sandbox's parser accepts, including syntax that Python 3.10 can't
parse.
"""

from __future__ import annotations
import __future__

import io
import re
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from tokenize import TokenInfo
from typing import Literal

from humanloop.server.evaluation.engine import Returns

_SHOWN = 100  # characters of a line shown above a caret
_BRACKETS = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}
_FUTURE = {*__future__.all_feature_names, "(", ")", ",", "as"}
_KINDS: dict[str, Returns | Literal["neither"]] = {
    "bool": "boolean",
    **dict.fromkeys(("float", "Decimal", "decimal.Decimal"), "number"),
    **dict.fromkeys(("None", "str", "bytes", "complex", "list", "dict", "set", "tuple"), "neither"),
}
"""The kind of score for each annotated type. An int may be a boolean, since `bool` is its subclass.
"""
_LAYOUT = (tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.COMMENT)


@dataclass(frozen=True)
class Function:
    """The signature of a function.

    required, most: the number of positional arguments; `most` is None with `*args`.
    keywords: the names of required keyword-only arguments.
    annotation: the return annotation; empty without one.
    line, column: the place of its name, both from 1.
    """

    name: str
    line: int
    column: int
    is_async: bool = False
    required: int = 0
    most: int | None = 0
    keywords: tuple[str, ...] = ()
    annotation: str = ""

    def takes(self, count: int) -> bool:
        """Return whether it accepts `count` positional arguments."""
        return self.required <= count and (self.most is None or count <= self.most)

    def problem(self, with_testcase: bool | None) -> str | None:
        """Return why it can't be called as an evaluator, or None."""
        if self.is_async:
            return f"the evaluator {self.name}() must be a plain function, not an async one"
        if self.keywords:
            names = ", ".join(self.keywords)
            return f"{self.name}() is called by position, but needs these by name: {names}"
        counts = {None: (1, 2), False: (1,), True: (2,)}[with_testcase]
        if any(map(self.takes, counts)):
            return None
        wanted = {None: "(log) or (log, testcase)", False: "(log)", True: "(log, testcase)"}
        return (
            f"{self.name}() is called with {wanted[with_testcase]}, but takes {self._arguments()}"
        )

    def wrong_score(self, wanted: Returns | None) -> str | None:
        """Return why its return annotation can't be a score, or None.

        wanted: the kind of score; None accepts both.
        """
        made = _KINDS.get(re.split(r"\[", self.annotation.strip("'\""))[0])
        if made is None or made == wanted or (wanted is None and made != "neither"):
            return None
        what = "a boolean or a number" if wanted is None else f"a {wanted}"
        return f"{self.name}() must return {what}, but is annotated with `{self.annotation}`"

    def _arguments(self) -> str:
        if self.most is None:
            return f"at least {self.required} arguments"
        if self.required < self.most:
            return f"{self.required} to {self.most} arguments"
        return "1 argument" if self.most == 1 else f"{self.most} arguments"


@lru_cache(maxsize=64)
def plain(source: str) -> str:
    """Return a source without a byte order mark and imports from `__future__`.

    Both are valid at the start of a source and mean nothing, but the sandbox rejects them. `pass`
    takes the place of the imports.
    """
    source = source.removeprefix("\ufeff")
    if "__future__" not in source:
        return source
    lines = io.StringIO(source, newline=None).read().split("\n")
    for statement in statements(source):
        words = [token.string for token in statement]
        if words[:3] == ["from", "__future__", "import"]:
            if not set(words[3:]) <= _FUTURE:
                break
            (first, start), (last, end) = statement[0].start, statement[-1].end
            rest = lines[last - 1][end:]
            lines[first - 1 : last] = [lines[first - 1][:start] + "pass" + rest] + [""] * (
                last - first
            )
        elif len(statement) > 1 or statement[0].type != tokenize.STRING:
            break  # only a docstring may precede these imports
    return "\n".join(lines)


def statements(source: str) -> Iterator[list[TokenInfo]]:
    """Yield the tokens of each simple statement, and of each compound statement's head."""
    statement: list[TokenInfo] = []
    for token in _tokens(source):
        if token.type == tokenize.NEWLINE or token.string == ";":
            if statement:
                yield statement
            statement = []
        elif token.type not in _LAYOUT:
            statement.append(token)


def _tokens(source: str) -> Iterator[TokenInfo]:
    """Yield tokens up to the first place that Python's tokenizer can't read."""
    try:
        yield from tokenize.generate_tokens(io.StringIO(source, newline=None).readline)
    except (SyntaxError, tokenize.TokenError):
        return


@lru_cache(maxsize=64)
def last_function(source: str) -> Function | None:
    """Return the last top-level function of a source that the sandbox accepts."""
    found: list[TokenInfo] = []
    line: list[TokenInfo] = []  # the logical line
    try:
        for token in tokenize.generate_tokens(io.StringIO(source, newline=None).readline):
            if token.type == tokenize.NEWLINE:
                found = line if _is_function(line) else found
                line = []
            elif token.type not in _LAYOUT:
                line.append(token)
    except (SyntaxError, tokenize.TokenError):
        return None  # Python can't read a source that the sandbox could: no function can be found
    return _function(found) if found else None


def _is_function(line: Sequence[TokenInfo]) -> bool:
    words = [token.string for token in line[:2]]
    # A form feed resets the indentation (Python's language reference, section Indentation).
    is_at_margin = not line[0].line[: line[0].start[1]].strip("\f")
    return is_at_margin and (words[0] == "def" or words == ["async", "def"])


def _function(line: Sequence[TokenInfo]) -> Function:
    """Return the function of a line `def name(...): ...`."""
    start = [token.string for token in line].index("def")
    name = line[start + 1]
    required = most = 0
    takes_any = by_name = False
    keywords: list[str] = []
    for parameter in parameters(line[start + 2 :]):
        first = parameter[0].string
        has_default = any(token.string == "=" for token in parameter)
        if first == "/":
            continue
        if first in ("*", "**"):
            by_name = True
            takes_any |= first == "*" and len(parameter) > 1
        elif not by_name:
            most += 1
            required += not has_default
        elif not has_default:
            keywords.append(first)
    return Function(
        name.string,
        name.start[0],
        name.start[1] + 1,
        is_async=start == 1,
        required=required,
        most=None if takes_any else most,
        keywords=tuple(keywords),
        annotation=_annotation(line),
    )


def _annotation(line: Sequence[TokenInfo]) -> str:
    """Return the return annotation: the text between `->` and the last colon of a head."""
    depth = 0
    words: list[str] | None = None
    for token in line:
        depth += _BRACKETS.get(token.string, 0) if token.type == tokenize.OP else 0
        if token.string == "->" and depth == 0:
            words = []
        elif words is not None:
            if token.string == ":" and depth == 0:
                break
            words.append(token.string)
    return "".join(words or [])


def parameters(line: Iterable[TokenInfo]) -> Iterator[list[TokenInfo]]:
    """Yield the tokens of each parameter, without those inside brackets.

    line: the tokens after a function's name, in its definition or in a call: optional type
        parameters, then the parameters in parentheses.
    """
    depth = lambdas = 0
    opened = False  # whether the parameters have begun, rather than type parameters
    parameter: list[TokenInfo] = []
    for token in line:
        text = token.string if token.type in (tokenize.OP, tokenize.NAME) else ""
        change = _BRACKETS.get(text, 0)
        opened |= depth == 0 and text == "("
        depth += change
        if opened and depth == 0:
            break
        if not opened or depth > 1 or change:
            continue
        # The commas of `key=lambda a, b: a` don't separate parameters.
        lambdas += text == "lambda"
        if text == ":" and lambdas:
            lambdas -= 1
        if text == "," and not lambdas:
            yield parameter
            parameter = []
        else:
            parameter.append(token)
    if parameter:
        yield parameter


def caret(source: str, line: int, column: int, end_column: int) -> str:
    """Return a line of the source, and below it carets from a column to another."""
    # Split lines as Python's tokenizer does: no form feed or U+2028 ends a line.
    lines = io.StringIO(source, newline=None).read().split("\n")
    text = lines[line - 1] if 0 < line <= len(lines) else ""
    start = min(max(column - 1, 0), len(text))
    first = max(0, start - _SHOWN // 2)
    shown = text[first : first + _SHOWN]
    end = min(max(end_column - 1, start + 1), max(first + len(shown), start + 1))
    # Keep tabs, so that the carets stand below their place whatever a tab's width is.
    gap = "".join("\t" if each == "\t" else " " for each in text[first:start])
    # Characters that move the cursor or print nothing would misplace the carets.
    clean = "".join(each if each == "\t" or each.isprintable() else "\ufffd" for each in shown)
    return f"{clean}\n{gap}{'^' * (end - start)}"
