"""The Python names for the document's names, unique within each namespace.

`Names` is a namespace; the functions return the name that a thing wants in it.

Invariants: a name that is a free Python identifier stays unchanged, so that imports, attributes and
keyword arguments of the 0.5 line continue to work; modules are in lower case, so no two files
differ by case alone; the same document gives the same names.
"""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain, count
from typing import Any, cast
from unicodedata import normalize

from codegen import hints
from codegen.spec import COMPONENTS, Node, Spec, steps_of
from humanloop.api import Api
from humanloop.api_client import RequestOptions
from humanloop.base_client import BaseClient
from humanloop.operation import argument_name
from humanloop.schemas import DictSchema

__all__ = [
    "Names",
    "argument_name",
    "arguments",
    "attribute_name",
    "attributes",
    "class_name",
    "classes",
    "constants",
    "keyword_argument",
    "methods",
    "module_name",
    "modules",
    "tag_class_name",
    "with_class_names",
]

# On some versions of Python, frozendict is not a dict; a stub is for all versions. An attribute
# must not shadow the names that the stub itself uses, either.
STUB = {"ClassVar", "Final", "Iterator", "Literal", "Self", "Unset", "overload", "property"}
RESERVED = {*dir(dict), *dir(DictSchema), *STUB}
# In a class body, an attribute of that name would shadow the type in hints.
HINTS = {*hints.HOME_OF, "bool", "bytes", "float", "int", "property", "slice", "str", "tuple"}
LONGEST = 200  # bytes of a name: file systems allow 255 for a file's name


class Names:
    """A namespace.

    reserved: the names that nothing in it can have; instead: the form of such a name; variants: the
        names that each name brings, which must be free as well.
    """

    def __init__(
        self, reserved: Iterable[str], instead: str = "{}_", variants: Iterable[str] = ("{}",)
    ) -> None:
        self._reserved = {*keyword.kwlist, *reserved}
        self._taken = set(self._reserved)
        self._instead = instead
        self._variants = tuple(variants)

    def add(self, wanted: str, otherwise: str | None = None) -> str:
        """Return the wanted name and take it; if it is taken, the other one, or one with a number.

        A reserved name takes the other form.
        """
        if self._reserved & self._with_variants(wanted):
            wanted = self._instead.format(wanted)
        first, last = (
            text.encode()[:LONGEST].decode(errors="ignore")
            for text in (wanted, otherwise or wanted)
        )
        numbered = (f"{last}_{number}" for number in count(2))
        return next(name for name in chain((first, last), numbered) if self._take(name))

    def add_all(self, wanted: Mapping[str, str], otherwise: str = "{}") -> dict[str, str]:
        """Return the names of things by their wanted ones; unchanged names are taken first.

        otherwise: the form for a name that is taken.
        """
        first = sorted(wanted, key=lambda thing: thing != wanted[thing])
        found = {thing: self.add(wanted[thing], otherwise.format(wanted[thing])) for thing in first}
        return {thing: found[thing] for thing in wanted}

    def _take(self, name: str) -> bool:
        names = self._with_variants(name)
        if names & self._taken:
            return False
        self._taken |= names
        return True

    def _with_variants(self, name: str) -> set[str]:
        return {variant.format(name) for variant in self._variants}


# -- the namespaces -------------------------------------------------------------------------------


def classes() -> Names:
    """Return the namespace of all classes: stubs contain models and tags side by side."""
    return Names({*dir(builtins), *HINTS, "Facade", "Operation", "Parameter", "TYPE_CHECKING"})


def modules(class_names: Iterable[str]) -> Names:
    """Return the namespace of modules beside the classes that a package exports."""
    return Names({*class_names, "aux", "con", "nul", "prn"})  # file names that Windows forbids


def methods() -> Names:
    """Return the namespace of the methods of a tag, each of which has variants."""
    reserved = {*HINTS, *dir(Api), "api_client"}
    return Names(reserved, variants=("{}", "a{}", "iterate_{}", "aiterate_{}"))


def attributes(shortcuts: Iterable[str]) -> Names:
    """Return the namespace of the client, for its tags beside its own methods and shortcuts."""
    own = {*dir(BaseClient), "shortcut", "stream_shortcut", "tag"}  # the last three make attributes
    return Names({*HINTS, *own, *shortcuts}, instead="{}_api")


def constants(class_names: Iterable[str]) -> Names:
    """Return the namespace of the operations, which share modules with models and types."""
    return Names({*class_names, *HINTS, "OPERATIONS", "Operation", "Parameter"})


def arguments(others: Iterable[str]) -> Names:
    """Return the namespace of the arguments of a method, beside its options and `others`."""
    return Names(
        {"self", "locals", "options", *RequestOptions.__annotations__, *others}, instead="_{}"
    )


# -- the wanted names -----------------------------------------------------------------------------


def module_name(name: str, otherwise: str = "module") -> str:
    """Return the module of a class, the attribute of a tag, or the method of an operation.

    `HTTPValidationError` gives `http_validation_error`, `Model Configs` gives `model_configs`.
    otherwise: the prefix for a name that can't start an identifier.
    """
    words = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", _identifier(name))
    return _beginning(re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", words).lower(), f"{otherwise}_")


def class_name(name: str) -> str:
    """Return the class of a schema: `LogResponse` stays, `error-response` gives `ErrorResponse`."""
    if name.isidentifier() and name[0].isupper() and normalize("NFKC", name) == name:
        return name
    return _beginning(_capitalized(name), "Schema")


def tag_class_name(tag: str) -> str:
    """Return the class of a tag: `Model Configs` gives `ModelConfigsApi`."""
    return f"{_beginning(_capitalized(tag), 'Tag')}Api"


def attribute_name(key: str) -> str | None:
    """Return the attribute for a declared key; None if the key is for item access only."""
    usable = key.isidentifier() and not key.startswith("_") and not keyword.iskeyword(key)
    return key if usable and key not in RESERVED and normalize("NFKC", key) == key else None


def keyword_argument(name: str) -> str:
    """Return the argument for a parameter or a key: `X-Request-ID` gives `x_request_id`.

    Python mangles a name with two leading underscores inside a class.
    """
    if name.isidentifier() and normalize("NFKC", name) == name and not name.startswith("__"):
        return name
    return _beginning(_identifier(name).lower(), "_")


def _identifier(text: str) -> str:
    """Join the words of a text by underscores, in the form NFKC, in which Python reads names."""
    return re.sub(r"\W+", "_", normalize("NFKC", text)).strip("_")


def _capitalized(text: str) -> str:
    words = _identifier(text).split("_")
    return "".join(word[:1].upper() + word[1:] for word in words)


def _beginning(name: str, start: str) -> str:
    """Return `name`, with the prefix `start` if it can't start an identifier."""
    if name.isidentifier():
        return name
    usable = re.sub(r"[^a-zA-Z0-9_]", "", name)
    return f"{start}{usable}" if usable else start.strip("_") or "argument"


# -- the names of schemas in the document ---------------------------------------------------------


def with_class_names(spec: Spec, names: Names) -> Spec:
    """Return `spec` with its schemas named like their classes, in references, too."""
    new = names.add_all({name: class_name(name) for name in spec.schemas})
    if all(old == name for old, name in new.items()):
        return spec
    renaming = _Renaming(spec, new)
    schemas = {new[old]: renaming.part(schema, old) for old, schema in spec.schemas.items()}
    document = renaming.part(spec.document)
    components = {**document["components"], "schemas": schemas}
    return replace(spec, document={**document, "components": components})


class _Renaming:
    """A copy of a document with other names for its schemas.

    A discriminator's values are the old names, so each is mapped to the schema's new name.
    """

    def __init__(self, spec: Spec, new: Mapping[str, str]) -> None:
        self._new = new
        self._children: dict[str, set[str]] = {}
        for name, schema in spec.schemas.items():
            for part in schema.get("allOf", ()):
                if "$ref" in part:
                    self._children.setdefault(steps_of(part["$ref"])[-1], set()).add(name)

    def part(self, node: Any, name: str = "") -> Any:
        """Return a copy of a part of the document; name: the name of the schema, if it is one."""
        if isinstance(node, list):
            return [self.part(item) for item in cast("list[object]", node)]
        if not isinstance(node, Mapping):
            return node
        found: dict[str, Any] = {}
        for key, value in cast(Node, node).items():
            if key == "$ref" and isinstance(value, str):
                found[key] = self._ref(value)
            else:
                found[key] = self.part(value)
        discriminator: Any = found.get("discriminator")
        if isinstance(discriminator, dict) and "propertyName" in discriminator:
            mapping = self._mapping(cast(Node, node), name)
            found["discriminator"] = {**discriminator, "mapping": mapping}
        return found

    def _ref(self, ref: str) -> str:
        steps = steps_of(ref) if ref.startswith(COMPONENTS) else []
        return f"{COMPONENTS}{self._new[steps[-1]]}" if len(steps) == 3 else ref

    def _mapping(self, node: Node, name: str) -> dict[str, str]:
        branches = [branch.get("$ref", "") for branch in node.get("oneOf", node.get("anyOf", ()))]
        known = [steps_of(ref)[-1] for ref in branches if ref] or [*self._descendants(name)]
        renamed = {old: new for old, new in self._new.items() if old in known and old != new}
        mapping = {old: f"{COMPONENTS}{new}" for old, new in renamed.items()}
        for value, ref in node["discriminator"].get("mapping", {}).items():
            mapping[value] = f"{COMPONENTS}{self._new[ref]}" if ref in self._new else self._ref(ref)
        return mapping

    def _descendants(self, name: str) -> Iterator[str]:
        yield name
        for child in sorted(self._children.get(name, ())):
            yield from self._descendants(child)
