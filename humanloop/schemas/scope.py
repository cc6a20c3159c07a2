"""Where a `$ref` leads: to a component's class by its name, or to any place of the own document."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from humanloop.schemas.nodes import Node

__all__ = ["COMPONENTS", "Scope"]

COMPONENTS = "#/components/schemas/"


class Scope:
    """Resolves the `$ref`s of one set of schemas.

    component: gives the class of a component by name; raises KeyError or AttributeError for none.
    document: what other pointers (`#/...`) lead into, and `root` the class that `#` is.
    """

    def __init__(
        self,
        component: Callable[[str], Any],
        document: Mapping[str, Any] | None = None,
        root: Callable[[], Any] | None = None,
    ) -> None:
        self._component = component
        self._document = document
        self._root = root
        self._nodes: dict[str, Node] = {}

    def resolve(self, ref: str) -> Node:
        """The node that `ref` names.

        Raises:
            ValueError: there is nothing at that place.
        """
        node = self._nodes.get(ref)
        if node is None:
            node = self._nodes.setdefault(ref, self._find(ref))
        return node

    def named(self, name: str) -> Node:
        """The node of a component.

        Raises:
            ValueError: there is none of that name.
        """
        try:
            node: Node = self._component(name).node
        except (KeyError, AttributeError):
            raise ValueError(f"there is no schema {name!r}") from None
        return node

    def _find(self, ref: str) -> Node:
        from humanloop.schemas.nodes import Node

        name = ref.removeprefix(COMPONENTS)
        if name != ref and "/" not in name:
            return self.named(_unescape(name))
        if ref == "#" and self._root is not None:
            root: Node = self._root().node
            return root
        place: Any = self._document
        if not ref.startswith("#/") or place is None:
            raise ValueError(f"$ref {ref!r}: only references within the document can be followed")
        for step in map(_unescape, ref[2:].split("/")):
            try:
                place = place[int(step) if isinstance(place, list) else step]
            except (KeyError, IndexError, ValueError, TypeError):
                raise ValueError(f"$ref {ref!r}: there is nothing at {step!r}") from None
        if not isinstance(place, Mapping):
            raise ValueError(f"$ref {ref!r}: expected a schema object there")
        return Node(place, self, ref)  # pyright: ignore[reportUnknownArgumentType]


def _unescape(step: str) -> str:
    return unquote(step).replace("~1", "/").replace("~0", "~")
