"""Modules and names that version 0.5 had and this one has not, and what takes their place.

A leaf. It is loaded when an import fails, which the finder in the package's `__init__` and the
`__getattr__` of a module ask about, and by `check_migration`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["explain", "refuse"]

_METHODS = "use the methods of a client; humanloop.apis.operations has their paths"
_EVENT_HOOKS = "use the setting event_hooks of humanloop.Configuration"
_INTERNAL = "it was internal, and nothing takes its place"

_INSTEAD: Mapping[str, str] = {
    # Modules, with all that is in them.
    r"(?:models|type)((?:\.\w+)*)": (
        r"use humanloop.model\1, or humanloop.typed_dicts for plain dictionaries"
    ),
    r"(paths|apis\.paths|apis\.path_to_api)(\.\w+)*": _METHODS,
    r"(apis\.tag_to_api)(\.\w+)*|apis\.tags\.TagValues": "use humanloop.apis.tags",
    r"rest(\.\w+)*": "use humanloop.transport",
    r"exceptions_base\.(\w+)": r"use humanloop.exceptions.\1",
    r"exceptions_base": "use humanloop.exceptions",
    r"client_custom(\.\w+)*|client\.ClientCustom": "use humanloop.Humanloop",
    r"request_(before|after|before_url)_hook(\.\w+)*": _EVENT_HOOKS,
    r"(type_util|validation_metadata)(\.\w+)*": _INTERNAL,
    # Names of modules that are still there.
    r"(exceptions|schemas)\.(AnyOfValidationError|MissingRequiredPropertiesError)": (
        "use humanloop.SchemaValidationError"
    ),
    r"(?:api_client|schemas)\.(Api(?:Type|Value)Error|Configuration)": r"use humanloop.\1",
    r"api_client\.(MissingRequiredParametersError)": r"use humanloop.\1",
    r"(?:api_client|exceptions)\.((?:Async)?ApiResponse)": r"use humanloop.api_response.\1",
    r"api_client\.ApiResponseWithoutDeserialization(Async)?": "use humanloop.ApiResponse",
    r"api_client\.(BoolClass|FileIO|NoneClass|Schema|Unset|unset)": r"use humanloop.schemas.\1",
    r"api_client\.JSONEncoder": "use humanloop.schemas.to_json",
    r"api_client\.request_(after|before_url)_hook": _EVENT_HOOKS,
    r"api_client\.(AsyncResponseWrapper|CookieParameter|DeprecationWarningOnce|Encoding"
    r"|HeaderParameter|JSONDetector|MappedArgs|MediaType|OpenApiResponse|Parameter\w+|PathParameter"
    r"|PrefixSeparatorIterator|QueryParameter|RequestBody|RequestField|ResponseWrapper"
    r"|SerializedRequestBody|Style\w+Serializer)": _INTERNAL,
    r"apis\.tags\.\w+_api\.(?!\w*Api$)[A-Z]\w*": _METHODS,
    r"model\.\w+\.[A-Z]\w*": "import it from humanloop.model",
    r"client\.ApiClient": "use humanloop.ApiClient",
    r"client\.(\w+Api)": r"use humanloop.apis.tags.\1",
    r"client\.(AgentConfigRequest|Chat\w+|Completion\w+|Feedback|\w+ConfigRequest|ProviderApiKeys"
    r"|HTTPValidationError|ModelConfig\w+Request)": r"use humanloop.model.\1",
    r"client\.copy_signature": _INTERNAL,
    r"(api_client|schemas)\.BinarySchema|schemas\.(ComposedSchema"
    r"|(Bytes|File|(Float|Int)(32|64)|(Not|Unset)AnyType)Schema"
    r"|EnumBase|\w+Mixin|(Binary|Bool|Composed|Date|DateTime|Decimal|Dict|Float32|Float64|Int|Int32"
    r"|Int64|List|None|Number|Str|UUID|Validator)Base|Discriminable|MetaOapgTyped|Singleton)": (
        "use humanloop.schemas.schema_from_openapi, which makes a class of a schema object"
    ),
    r"schemas\.(CustomIsoparser|DEFAULT_ISOPARSER|LOG_CACHE_USAGE|ValidationMetadata"
    r"|cast_to_allowed_types|classproperty|get_new_class|log_cache_usage|render_path|update"
    r"|schema_type_classes)": _INTERNAL,
}
"""The replacement for a name below `humanloop`, by a pattern of the name."""


def explain(name: str) -> str:
    """Return what takes the place of a module or name of 0.5; empty if it is still there, or new.

    name: with all its parents, such as `humanloop.rest`.
    """
    tail = name.removeprefix("humanloop.")
    for pattern, instead in _INSTEAD.items():
        if found := re.fullmatch(pattern, tail):
            return f"{name} of version 0.5 is gone: {found.expand(instead)}"
    return ""


def refuse(name: str) -> None:
    """Raise ImportError for a module or name of 0.5 that is gone."""
    if explanation := explain(name):
        # Not a ModuleNotFoundError: `from humanloop import rest` drops that, and its message.
        raise ImportError(explanation, name=name)
