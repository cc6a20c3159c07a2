"""The operation and the parameters for a request's method, path and query, or an HTTP error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from humanloop import operation as operations
from humanloop.apis.operations import OPERATIONS
from humanloop.operation import Operation
from humanloop.schemas import SchemaValidationError
from humanloop.server.errors import Invalid, Location, MethodNotAllowed, NotFound
from humanloop.server.http.places import check_nul

PREFIX = "/v4"


def find_operation(method: str, raw_path: str) -> tuple[Operation, dict[str, str]]:
    """Return the operation and its path parameters; raw_path: still percent-encoded.

    Raises NotFound for an unknown path, and MethodNotAllowed for a known one with another method.
    """
    if raw_path.startswith(f"{PREFIX}/"):
        found = operations.match_path(OPERATIONS, method, raw_path.removeprefix(PREFIX))
        if found.operation is not None:
            return found.operation, found.parameters
        if found.allowed:
            raise MethodNotAllowed(method, found.allowed)
    raise NotFound(f"There is no operation at this path; the API's paths start with {PREFIX}/.")


def read_query(operation: Operation, path: Mapping[str, str], query: str) -> dict[str, Any]:
    """Return the query parameters by name, converted, checked, and with their defaults.

    Ignores names that the operation does not know. Raises Invalid with every problem.
    """
    declared = {each.name: each for each in operation.parameters if each.location == "query"}
    given = operations.read_query(operation, query)
    check_nul({"path": path, "query": given})
    try:
        operation.parameters_schema({**path, **given})
    except SchemaValidationError as error:
        raise Invalid.from_details(error.errors, lambda path: _place(path, declared)) from error
    defaults = {
        name: each.schema["default"] for name, each in declared.items() if "default" in each.schema
    }
    return {**defaults, **given}


def _place(path: Location, declared: Mapping[str, Any]) -> Location:
    return ("path", *path) if path and path[0] not in declared else ("query", *path)
