"""Schemas as classes: calling one validates a value and returns an immutable, typed instance.

The modules, in the order in which a value passes them: `metaclass` (the call of a class), `casting`
(Python values to JSON types), `nodes` with `keywords`, `formats` and `patterns` (compiled schema
objects), `matcher` (the decision whether it matches, and the errors), `instances` and `schema` (the
classes, and the making of instances). `dynamic` makes classes at run time, `codec` and `writing`
read and write JSON text, `dataframes` makes tables of records. Nothing here knows of HTTP.
"""

from humanloop.schemas.casting import JSON_TYPES, MAX_DEPTH, JsonType, to_input
from humanloop.schemas.codec import decode as loads
from humanloop.schemas.dataframes import to_columns, to_dataframe, to_records
from humanloop.schemas.dynamic import base_of, schema_from_openapi
from humanloop.schemas.enums import enum_members
from humanloop.schemas.errors import ErrorDetail, SchemaValidationError
from humanloop.schemas.formats import FORMATS, Format
from humanloop.schemas.native import compiled
from humanloop.schemas.number import NumberClass
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
)
from humanloop.schemas.values import BoolClass, FileIO, NoneClass, Unset, unset
from humanloop.schemas.writing import to_json, to_primitive

__all__ = [
    "FORMATS",
    "JSON_TYPES",
    "MAX_DEPTH",
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
    "NumberClass",
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
    "to_columns",
    "to_dataframe",
    "to_input",
    "to_json",
    "to_primitive",
    "to_records",
    "unset",
]
