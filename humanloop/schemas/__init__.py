"""Schemas as classes: calling one validates a value and gives an immutable, typed instance.

The rooms, in the order that a value passes them: `casting` (Python values to JSON types), `nodes`
with `keywords`, `formats` and `patterns` (does it match, and what is it), `schema` (the instances),
`errors` (what is said when it does not). `dynamic` makes classes at run time, `codec` reads and
writes JSON text. Nothing here knows of HTTP.
"""

from humanloop.schemas.casting import JSON_TYPES, JsonType, to_input
from humanloop.schemas.codec import decode as loads
from humanloop.schemas.dynamic import base_of, schema_from_openapi
from humanloop.schemas.errors import ErrorDetail, SchemaValidationError
from humanloop.schemas.formats import FORMATS, Format
from humanloop.schemas.native import compiled
from humanloop.schemas.schema import (
    AnyTypeSchema,
    BoolSchema,
    DateSchema,
    DateTimeSchema,
    DecimalSchema,
    DictSchema,
    IntSchema,
    ListSchema,
    NoneSchema,
    NumberSchema,
    Schema,
    StrSchema,
    UUIDSchema,
    enum_members,
    to_json,
    to_primitive,
)
from humanloop.schemas.values import BoolClass, FileIO, NoneClass, Unset, unset

__all__ = [
    "FORMATS",
    "JSON_TYPES",
    "AnyTypeSchema",
    "BoolClass",
    "BoolSchema",
    "DateSchema",
    "DateTimeSchema",
    "DecimalSchema",
    "DictSchema",
    "ErrorDetail",
    "FileIO",
    "Format",
    "IntSchema",
    "JsonType",
    "ListSchema",
    "NoneClass",
    "NoneSchema",
    "NumberSchema",
    "Schema",
    "SchemaValidationError",
    "StrSchema",
    "UUIDSchema",
    "Unset",
    "base_of",
    "compiled",
    "enum_members",
    "loads",
    "schema_from_openapi",
    "to_input",
    "to_json",
    "to_primitive",
    "unset",
]
