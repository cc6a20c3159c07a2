"""The rules by which a value matches a schema: the only place that decides, and explains.

`match` takes a node and a cast value. It returns a `Match`: the classes to which the value and each
of its parts belong. Mismatches go to a reporter: `FailFast` stops at the first error,
`ErrorCounter` counts, to rank the branches of a composition, `ErrorCollector` keeps all with their
places. So the code that decides is the code that explains.

Invariants: nothing is built or changed here. A pair of schema and value is decided once, so the
time is linear in the value, whatever the nesting of compositions and references. The recursion is
as deep as the value, which `casting` limits.

Source of the rules: OpenAPI 3.0.3, Schema Object and Discriminator Object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from operator import itemgetter
from typing import Any

from humanloop.schemas.casting import (
    INVALID,
    JSON_TYPES,
    MAX_ERRORS,
    MAX_PATH_STEPS,
    Path,
    cast,
    is_array,
    is_object,
    kind_of,
)
from humanloop.schemas.errors import HIDDEN, ErrorDetail, show
from humanloop.schemas.nodes import Direction, Node
from humanloop.secrets import likely_name

__all__ = [
    "ErrorCollector",
    "FailFast",
    "Match",
    "Mismatch",
    "TooManyErrors",
    "Validation",
    "explain",
    "match",
]

SUGGESTIONS = 20
"""The number of errors of one value that get a suggested spelling: the search is slow."""

SHOWN_CHOICES = 2
"""The number of chosen branches, the innermost, in an error message."""


class Mismatch(Exception):
    """A value does not match: raised by a reporter that fails fast."""


class TooManyErrors(Exception):
    """A value has more errors than memory should hold."""


class Match:
    """The result for a value: its classes, outermost first, and the matches of its parts."""

    __slots__ = ("children", "classes")

    def __init__(self, classes: tuple[type, ...] = ()) -> None:
        self.classes = classes
        self.children: dict[str | int, Match] = {}

    def add_child(self, key: str | int, child: Match) -> None:
        """Keep the match of the part at `key`, unless it is empty."""
        if child.classes or child.children:
            self.children[key] = child

    def with_classes(self, classes: tuple[type, ...]) -> Match:
        """Return this match with `classes` before its own."""
        if not classes:
            return self
        found = Match(classes)
        found.merge(self)
        return found

    def merge(self, other: Match) -> None:
        """Add another schema's match of the same value."""
        self.classes += tuple(cls for cls in other.classes if cls not in self.classes)
        for key, child in other.children.items():
            known = self.children.setdefault(key, child)
            if known is not child:
                # Both may be cached elsewhere, so neither is changed.
                merged = self.children[key] = Match(known.classes)
                merged.children = dict(known.children)
                merged.merge(child)


class Validation:
    """The state of one validation.

    direction: the direction of the value, if known. attempts: the results of values with schemas,
        None for a mismatch. parents: the (schema, value) pairs whose discriminator is being
        followed down to a subtype, which leads back to them.
    """

    def __init__(self, direction: Direction | None = None) -> None:
        self.direction: Direction | None = direction
        self.attempts: dict[tuple[Any, ...], Match | None] = {}
        self.parents: frozenset[tuple[int, int]] = frozenset()

    def key(self, node: Node, value: Any) -> tuple[Any, ...]:
        """Return the key of the result of a schema and a value, with the value's own `parents`."""
        if not self.parents:
            return (id(node), id(value))
        return (id(node), id(value), frozenset(p for p in self.parents if p[1] == id(value)))


# -- reporters ------------------------------------------------------------------------------------


class FailFast:
    """The reporter that decides: it raises `Mismatch` at the first error."""

    collects = False
    observes = False

    def __init__(self, validation: Validation) -> None:
        self.validation = validation

    def child(self, path: Path, key: str | int) -> Path:
        """Return the path of a part, or an empty one if no error will need it."""
        return path

    def is_first_visit(self, node: Node, path: Path) -> bool:
        """Return whether `node` has not yet reported on `path`."""
        return True

    def add(self, node: Node, path: Path, keyword: str, message: Callable[[], str]) -> None:
        """Report one error of `node`; its message is made only if it is read."""
        raise Mismatch

    def expected(self, node: Node, path: Path, keyword: str, wanted: str, value: Any) -> None:
        """Report one error of the common form: `wanted` was expected, `value` came."""
        self.add(node, path, keyword, lambda: f"expected {wanted}, got {show(value, path)}")

    def object_matched(self, node: Node, path: Path, value: dict[str, Any]) -> None:
        """Note that `node` applied to an object; called if `observes` is set."""

    def branch_matched(self, branch: Node, path: Path) -> None:
        """Note that a branch of anyOf or oneOf matched; called if `observes` is set."""

    def likely(self, word: str, known: Iterable[str]) -> str | None:
        """Return the one of `known` that `word` probably stands for."""
        return None


class _Exhaustive(FailFast):
    """A reporter that does not stop. Each schema checks each place once."""

    collects = True

    def __init__(self, validation: Validation) -> None:
        super().__init__(validation)
        self._visited: set[tuple[int, Path]] = set()

    def child(self, path: Path, key: str | int) -> Path:
        return (*path, key)

    def is_first_visit(self, node: Node, path: Path) -> bool:
        count = len(self._visited)
        self._visited.add((id(node), path))
        return len(self._visited) > count


class ErrorCounter(_Exhaustive):
    """The reporter that counts errors, to measure how close a value comes to a branch.

    A composition inside the branch counts as one error: ranking its branches, too, would take time
    exponential in their depth.
    """

    def __init__(self, validation: Validation) -> None:
        super().__init__(validation)
        self.errors: set[tuple[Path, str]] = set()

    def add(self, node: Node, path: Path, keyword: str, message: Callable[[], str]) -> None:
        if len(self.errors) >= MAX_ERRORS:
            raise TooManyErrors
        self.errors.add((path, keyword))

    def is_shallow(self, path: Path, value: Any) -> bool:
        """Return whether the only error is with the value itself, not with a part."""
        ((place, keyword), *more) = self.errors
        if more or place != path:
            return False
        return keyword not in ("anyOf", "oneOf") or not (is_object(value) or is_array(value))

    def lacks_key(self, path: Path) -> bool:
        """Return whether the value itself lacks a required key."""
        return any(
            keyword == "required" and len(place) == len(path) + 1 for place, keyword in self.errors
        )


class ErrorCollector(_Exhaustive):
    """The reporter that keeps every error.

    choices: remarks on the branches that are being checked, outermost first.
    """

    def __init__(self, validation: Validation) -> None:
        super().__init__(validation)
        self._errors: dict[ErrorDetail, None] = {}
        self._path_steps = 0
        self._suggestions = SUGGESTIONS
        self.choices: list[str] = []

    def add(self, node: Node, path: Path, keyword: str, message: Callable[[], str]) -> None:
        self._path_steps += len(path)
        too_many = self._path_steps > MAX_PATH_STEPS or len(self._errors) >= MAX_ERRORS
        if too_many and self._errors:
            raise TooManyErrors
        text = message() + "".join(self.choices[-SHOWN_CHOICES:])
        self._errors[ErrorDetail(path, keyword, text)] = None

    @property
    def errors(self) -> list[ErrorDetail]:
        """The errors, each once, in order."""
        return list(self._errors)

    def likely(self, word: str, known: Iterable[str]) -> str | None:
        if self._suggestions <= 0:
            return None
        self._suggestions -= 1
        return likely_name(word, known)


# -- matching -------------------------------------------------------------------------------------


def match(node: Node, value: Any, path: Path, reporter: FailFast) -> Match:
    """Match `value`, a cast value at `path`. The result is valid if nothing was reported.

    Raises:
        Mismatch: the value does not match, and the reporter fails fast.
        RecursionError: the schema recurs more deeply than Python's stack holds.
    """
    classes: tuple[type, ...] = ()
    key: tuple[Any, ...] | None = None
    is_reference = node.ref is not None
    while node.ref is not None:
        classes += (node.cls,) if node.cls is not None else ()
        node = node.target
    # Schemas recur by references, so these results are cached. A mismatch need not be: it ends its
    # branch, whose result is cached.
    if is_reference and not reporter.collects and kind_of(value) in ("object", "array"):
        key = reporter.validation.key(node, value)
        known = reporter.validation.attempts.get(key)
        if known is not None:
            return known.with_classes(classes)
    found = Match() if node.cls is None else Match((node.cls,))
    if value is INVALID or not reporter.is_first_visit(node, path):
        return found
    kind = kind_of(value)
    if not node.fits_type(kind, value):
        reporter.expected(node, path, "type", node.type_phrase, value)
        return found
    for check in (*node.any_checks, *node.checks.get(kind, ())):
        if not check.holds(value):
            shown = HIDDEN if node.is_secret else value
            reporter.expected(node, path, check.keyword, check.phrase, shown)
    if kind == "string":
        if node.format_class is not None and node.format_class not in found.classes:
            found.classes += (node.format_class,)
    elif kind == "object":
        if reporter.observes:
            reporter.object_matched(node, path, value)
        if node.by_kind:
            _match_object(node, value, path, reporter, found)
    elif kind == "array" and node.items is not None:
        for index, item in enumerate(value):
            child = reporter.child(path, index)
            found.add_child(index, match(node.items, item, child, reporter))
    if node.is_composed:
        _match_composition(node, value, path, reporter, found)
    if key is not None:
        reporter.validation.attempts[key] = found
    return found.with_classes(classes)


def attempt(node: Node, value: Any, reporter: FailFast) -> Match | None:
    """Return the match of a value, or None; decide it once per validation."""
    validation = reporter.validation
    key = validation.key(node, value)
    if key not in validation.attempts:
        try:
            validation.attempts[key] = match(node, value, (), FailFast(validation))
        except Mismatch:
            validation.attempts[key] = None
    return validation.attempts[key]


def _match_object(
    node: Node, value: dict[str, Any], path: Path, reporter: FailFast, found: Match
) -> None:
    direction = reporter.validation.direction
    for key in node.required:
        if key not in value and node.directions.get(key, direction) == direction:
            message = partial(_missing, node, key, value, reporter)
            reporter.add(node, reporter.child(path, key), "required", message)
    for key, item in value.items():
        part = node.properties.get(key, node.additional)
        if part is not None:
            child = reporter.child(path, key)
            if direction and node.directions.get(key, direction) != direction:
                reporter.add(node, child, *_ONE_WAY[direction])
            found.add_child(key, match(part, item, child, reporter))
        elif node.closed and key not in node.properties:
            message = partial(_unknown, node, key, value, reporter)
            reporter.add(node, reporter.child(path, key), "additionalProperties", message)


_ONE_WAY: dict[Direction, tuple[str, Callable[[], str]]] = {
    "request": ("readOnly", lambda: "not allowed in a request: only the server sets it"),
    "response": ("writeOnly", lambda: "not allowed in a response: it is only ever sent"),
}


def _missing(node: Node, key: str, value: Mapping[str, Any], reporter: FailFast) -> str:
    likely = reporter.likely(key, (k for k in value if k not in node.properties))
    return "missing, but required" + (f" (is it the unknown key {likely!r}?)" if likely else "")


def _unknown(node: Node, key: str, value: Mapping[str, Any], reporter: FailFast) -> str:
    likely = reporter.likely(key, (k for k in node.properties if k not in value))
    owner = node.cls.__name__ if node.cls is not None else "the object"
    return f"unknown key, {owner} is closed" + (f": did you mean {likely!r}?" if likely else "")


def explain(node: Node, value: Any, direction: Direction | None = None) -> list[ErrorDetail]:
    """Return all errors of a raw value, the outermost and leftmost first."""
    plain, refused = cast(value)
    errors = [ErrorDetail(path, "type", message) for path, message in refused]
    collector = ErrorCollector(Validation(direction))
    try:
        match(node, plain, (), collector)
    except TooManyErrors:
        more = ErrorDetail((), "limit", "there are more errors than can be reported")
        return [*errors, *collector.errors, more]
    return [*errors, *collector.errors]


# -- compositions ---------------------------------------------------------------------------------


def _match_composition(
    node: Node, value: Any, path: Path, reporter: FailFast, found: Match
) -> None:
    for branch in node.all_of:
        found.merge(match(branch, value, path, reporter))
    chosen_by_tag = (node.one_of or node.any_of) if node.discriminator is not None else []
    for keyword, branches in (("anyOf", node.any_of), ("oneOf", node.one_of)):
        if branches and branches is not chosen_by_tag:
            _match_branches(node, keyword, branches, value, path, reporter, found)
    if chosen_by_tag:
        _match_tagged(node, value, path, reporter, found)
    elif node.selects_subtype and is_object(value):
        _match_subtype(node, value, path, reporter, found)
    if node.negated is not None and attempt(node.negated, value, reporter) is not None:
        reporter.expected(node, path, "not", f"anything but {node.negated.name}", value)


def _match_branches(
    node: Node,
    keyword: str,
    branches: list[Node],
    value: Any,
    path: Path,
    reporter: FailFast,
    found: Match,
) -> None:
    kind = kind_of(value)
    fitting = [branch for branch in branches if branch.resolved.fits_type(kind, value)]
    attempts = [(branch, attempt(branch, value, reporter)) for branch in fitting]
    matched = [(branch, each) for branch, each in attempts if each is not None]
    if not matched:
        _explain(node, keyword, branches, fitting, value, path, reporter)
    elif keyword == "oneOf" and len(matched) > 1:
        names = " and ".join(branch.name for branch, _ in matched)
        wanted = f"a value that matches exactly one branch of oneOf (it matches {names})"
        reporter.expected(node, path, keyword, wanted, value)
    else:
        for branch, each in matched:
            if reporter.observes:
                match(branch, value, path, reporter)
                reporter.branch_matched(branch, path)
            found.merge(each)


def _explain(
    node: Node,
    keyword: str,
    branches: list[Node],
    fitting: list[Node],
    value: Any,
    path: Path,
    reporter: FailFast,
) -> None:
    """Report that no branch matches: by the errors of the closest branch."""
    if not isinstance(reporter, ErrorCollector):
        reporter.add(node, path, keyword, lambda: "matches no branch")
        return
    ranked: list[tuple[bool, int, int, Node]] = []
    for index, branch in enumerate(fitting):
        counter = ErrorCounter(reporter.validation)
        with suppress(TooManyErrors):  # enough errors to rank it
            match(branch, value, path, counter)
        if not counter.is_shallow(path, value):
            weight = sum(5 if broken == "enum" else 1 for _, broken in counter.errors)
            declared = branch.resolved.count_declared(value)
            # An object without any of a branch's keys, which lacks a required one, is meant for
            # another.
            is_strange = not declared and counter.lacks_key(path)
            ranked.append((is_strange, weight - 2 * declared, index, branch))
    if not ranked:
        wanted = " or ".join(dict.fromkeys(branch.summary for branch in branches))
        reporter.expected(node, path, keyword, wanted, value)
        return
    nearest, *others = (branch for *_, branch in sorted(ranked, key=itemgetter(0, 1, 2)))
    # If the value's type leaves only one branch, there is no choice to report.
    choice = ""
    if others:
        next_ones = ", ".join(branch.name for branch in others[:3])
        choice = f" (closest branch of {keyword}: {nearest.name}; next: {next_ones})"
    reporter.choices.append(choice)
    match(nearest, value, path, reporter)
    reporter.choices.pop()


def _match_tagged(node: Node, value: Any, path: Path, reporter: FailFast, found: Match) -> None:
    """Match by the branch of anyOf or oneOf that the discriminator's value names."""
    assert node.discriminator is not None
    key: str = node.discriminator["propertyName"]
    if not is_object(value):
        reporter.expected(node, path, "type", JSON_TYPES["object"].phrase, value)
        return
    choices = node.choices
    names = ", ".join(map(repr, node.discriminator.get("mapping", choices)))
    if key not in value:
        message = f"missing, but required: it selects the schema, one of {names}"
        reporter.add(node, reporter.child(path, key), "required", lambda: message)
        return
    tag = value[key]
    branch = choices.get(tag) if isinstance(tag, str) else None
    if branch is None:
        child = reporter.child(path, key)
        reporter.expected(node, child, "discriminator", f"one of {names}", tag)
    else:
        found.merge(match(branch, value, path, reporter))
        if reporter.observes:
            reporter.branch_matched(branch, path)


def _match_subtype(
    node: Node, value: dict[str, Any], path: Path, reporter: FailFast, found: Match
) -> None:
    """Follow the discriminator of a parent schema to the child that extends it by allOf.

    OpenAPI 3.0.3, section Composition and Inheritance: the child is used in conjunction.
    """
    assert node.discriminator is not None
    validation, key = reporter.validation, node.discriminator["propertyName"]
    tag = value.get(key)
    pair = (id(node), id(value))
    if not isinstance(tag, str) or pair in validation.parents:
        return
    try:
        child = node.subtype(tag)
    except ValueError:
        place = reporter.child(path, key)
        reporter.expected(node, place, "discriminator", "the name of a schema", tag)
        return
    if child is node:
        return
    before, validation.parents = validation.parents, validation.parents | {pair}
    try:
        found.merge(match(child, value, path, reporter))
    finally:
        validation.parents = before
