"""Names that the type checker knows and the sandbox lacks, found before a source runs.

Such a source would fail in every run. The names are methods of builtin types, names of modules, and
functions as the replacement in `re.sub`. The sandbox itself is asked whether a module has a name.
"""

from __future__ import annotations

import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from tokenize import TokenInfo

from humanloop.server.evaluation.sources import parameters, statements

_REPLACE = "use str.replace, or a comprehension over the characters"
_METHODS = {
    "maketrans": _REPLACE,
    "translate": _REPLACE,
    "format_map": "use str.format(**values)",
    "difference_update": "use `a -= b`",
    "intersection_update": "use `a &= b`",
    "symmetric_difference_update": "use `a ^= b`",
    "subn": "use sub, and findall to count",
}
"""Methods that no object of the sandbox has, and the replacement to suggest."""

_CALLABLE = (
    "the sandbox's `sub` takes no function as replacement: give it a string, or build the text"
    " from re.finditer"
)
_TYPES = "typing"  # its names occur in annotations, which never run
_GUARDS = ("AttributeError", "ImportError", "hasattr", "getattr")
"""Words by which a source may handle missing names itself."""


@dataclass(frozen=True)
class Use:
    """One use of a name: a module's name if `module` is set; otherwise a fault with its text.

    line, column: the place, both from 1.
    """

    name: str
    line: int
    column: int
    module: str = ""
    problem: str = ""


def uses(source: str) -> Iterator[Use]:
    """Yield uses of names that the sandbox lacks, and of modules' names, which it may lack."""
    found = [statement for statement in statements(source) if statement]
    modules = dict(each for statement in found for each in _imports(statement))
    tokens = [token for statement in found for token in statement]
    defined = {
        name.string for before, name in pairwise(tokens) if before.string in ("def", "class")
    }
    is_guarded = any(word in source for word in _GUARDS)
    for index in range(2, len(tokens)):
        owner, dot, token = tokens[index - 2 : index + 1]
        if dot.string != "." or token.type != tokenize.NAME or token.string in defined:
            continue
        line, column = token.start
        name = token.string
        is_free = index < 3 or tokens[index - 3].string != "."
        module = modules.get(owner.string) if is_free else None
        if name == "sub" and _replaces_by_function(tokens, index + 1, defined):
            yield Use(name, line, column + 1, problem=_CALLABLE)
        elif name in _METHODS and not is_guarded and module in (None, "re"):
            text = f"the sandbox has no `{name}`: {_METHODS[name]}"
            yield Use(name, line, column + 1, problem=text)
        elif module and module != _TYPES and not is_guarded:
            yield Use(name, line, column + 1, module)


def _imports(statement: Sequence[TokenInfo]) -> Iterator[tuple[str, str]]:
    """Yield the names under which a statement imports modules, with the modules."""
    words = [token.string for token in statement]
    if "import" not in words or "from" in words:
        return
    start = words.index("import")
    if start and words[start - 1] != ":":
        return
    for clause in " ".join(words[start + 1 :]).split(","):
        module, _, name = clause.strip().partition(" as ")
        if "." not in module:
            yield name or module, module


def _replaces_by_function(tokens: Sequence[TokenInfo], start: int, defined: set[str]) -> bool:
    """Return whether one of the first two arguments, or `repl`, is a function.

    start: the index at which the call's parentheses begin.
    """
    if start == len(tokens) or tokens[start].string != "(":
        return False
    rest = (tokens[index] for index in range(start, len(tokens)))
    for position, argument in enumerate(parameters(rest)):
        words = [token.string for token in argument]
        is_named = words[1:2] == ["="]
        if is_named and words[0] != "repl":
            continue
        value = words[2:] if is_named else words
        is_function = value[:1] == ["lambda"] or (len(value) == 1 and value[0] in defined)
        if is_function and (is_named or position < 2):
            return True
    return False


def probe(names: Sequence[tuple[str, str]], unique: str) -> str:
    """Return source whose value is the list of the modules' names that the sandbox lacks.

    unique: a suffix that no name of the source has.
    """
    module, missing = f"_module{unique}", f"_missing{unique}"
    parts = [f"{missing} = []\n"]
    for number, (owner, name) in enumerate(names):
        parts.append(
            f"try:\n    import {owner} as {module}\n    {module}.{name}\n"
            f"except AttributeError:\n    {missing}.append({number})\n"
            "except Exception:\n    pass\n"
        )
    return "".join([*parts, missing])
