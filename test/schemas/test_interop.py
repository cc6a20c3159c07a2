"""Schemas together with others: pydantic, FastAPI, pandas, and types that are not JSON's.

An application's dataclasses, attrs objects, enum members or NumPy scalars are accepted through
`to_input`; schema classes implement pydantic's protocol.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import enum
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Annotated, Any, TypedDict

import numpy
import pytest

from humanloop import NaiveDatetimeWarning, schemas
from humanloop.model import (
    ChatMessage,
    ConfigResponse,
    ExperimentStatus,
    LogResponse,
    ModelConfigResponse,
    ToolConfigResponse,
)
from humanloop.schemas import (
    BoolSchema,
    DictSchema,
    NoneSchema,
    SchemaValidationError,
    schema_from_openapi,
    to_input,
)

from .support import deadline, errors_of, make

LOG: dict[str, Any] = {
    "id": "data_1",
    "config": {"id": "config_1", "type": "model", "model": "gpt-4", "temperature": 0.1},
    "messages": [{"role": "user", "content": "hi", "name": None}],
    "inputs": {"a": [1, {"b": True}]},
}

# -- types of one's own ---------------------------------------------------------------------------


@dataclasses.dataclass
class Point:
    x: float
    y: float


class Place(Point):
    pass


class Color(enum.Enum):
    RED = "red"
    BLUE = 3


to_input.register(Point, dataclasses.asdict)
to_input.register(Color, lambda member: member.value)


def test_a_registered_type_is_taken_wherever_a_value_is() -> None:
    plain = {"x": 1, "y": Decimal("0.5")}
    assert DictSchema(Point(1, 0.5)) == plain  # type: ignore[arg-type]
    assert DictSchema(at=[Point(1, 0.5)], color=Color.RED) == {"at": (plain,), "color": "red"}
    assert make({"type": "integer"})(Color.BLUE) == 3
    assert schemas.to_json({"at": Point(1, 0.5)}) == '{"at":{"x":1,"y":0.5}}'
    assert schemas.to_primitive([Point(1, 0.5), Color.BLUE]) == [{"x": 1, "y": 0.5}, 3]


def test_so_are_types_that_derive_from_it() -> None:
    assert DictSchema(at=Place(1, 2)) == {"at": {"x": 1, "y": 2}}


def test_what_it_gives_is_validated_as_any_other_value() -> None:
    cls = make({"properties": {"at": {"properties": {"x": {"maximum": 3}}}}})
    for _ in range(4):
        assert cls({"at": Point(1, 2)}) == {"at": {"x": 1, "y": 2}}
        assert errors_of(cls, {"at": Point(5, 2)}) == [("/at/x", "maximum")]


def test_every_other_type_is_refused() -> None:
    class Unknown:
        pass

    for value in (Unknown(), Unknown, object(), {1, 2}, 1j, len, iter([])):
        assert errors_of(DictSchema, {"a": value}) == [("/a", "type")]
        with pytest.raises(SchemaValidationError, match=type(value).__name__):
            DictSchema(a=value)


def test_a_type_that_gives_itself_is_refused() -> None:
    class Same:
        pass

    class Endless:
        pass

    to_input.register(Same, lambda value: value)
    with deadline():
        assert errors_of(DictSchema, {"a": Same()}) == [("/a", "type")]


def test_what_a_registered_function_raises_goes_to_the_caller() -> None:
    class Broken:
        pass

    def fail(value: Broken) -> Any:
        raise ZeroDivisionError

    to_input.register(Broken, fail)
    with pytest.raises(ZeroDivisionError):
        DictSchema(a=Broken())


def test_attrs() -> None:
    attrs = pytest.importorskip("attrs")

    @attrs.define
    class Message:
        role: str
        content: str | None = None

    to_input.register(Message, attrs.asdict)
    assert ChatMessage(Message("user", "hi")) == {"role": "user", "content": "hi"}  # type: ignore[arg-type]
    with pytest.raises(SchemaValidationError, match="boss"):
        ChatMessage(Message("boss"))  # type: ignore[arg-type]


def test_arrays() -> None:
    class Matrix(numpy.ndarray[Any, Any]):
        pass

    to_input.register(Matrix, lambda array: array.tolist())
    made = DictSchema(a=numpy.array([[1, 2], [3, 0.5]]).view(Matrix))
    assert made == {"a": ((1, 2), (3, 0.5))}
    assert errors_of(DictSchema, {"a": numpy.array([numpy.nan]).view(Matrix)}) == [("/a/0", "type")]


def test_what_is_registered_comes_before_what_is_known() -> None:
    to_input.register(numpy.uint16, lambda scalar: f"uint16:{scalar}")
    assert DictSchema(a=numpy.uint16(3)) == {"a": "uint16:3"}


class Message(TypedDict, total=False):
    role: str
    content: str


def test_typed_dicts_are_dicts() -> None:
    """PEP 589; that type checkers agree is the matter of test/typing."""
    message = Message(role="user", content="hi")
    assert ChatMessage(message) == message


# -- pydantic -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pydantic() -> Any:
    return pytest.importorskip("pydantic")


@pytest.fixture(scope="module")
def record(pydantic: Any) -> Any:
    fields: dict[str, Any] = {
        "log": (LogResponse, ...),
        "status": (ExperimentStatus | None, None),
        "configs": (list[ConfigResponse], []),
    }
    return pydantic.create_model("Record", **fields)


def test_a_field_holds_an_instance(record: Any) -> None:
    made = record(log=LOG, status="In progress", configs=[LOG["config"]])
    assert type(made.log) is LogResponse
    assert made.log["config"].temperature == Decimal("0.1")
    assert type(made.status) is ExperimentStatus
    assert isinstance(made.configs[0], ConfigResponse)
    assert record(log=made.log).log == made.log
    assert record.model_validate_json(json.dumps({"log": LOG})).log == made.log


def test_plain_values_come_out(record: Any) -> None:
    made = record(log=LOG, configs=[LOG["config"]])
    dumped = made.model_dump()
    assert type(dumped["log"]) is dict
    assert dumped["log"]["config"]["temperature"] == Decimal("0.1")
    assert dumped["log"]["inputs"] == {"a": [1, {"b": True}]}
    assert record(**dumped) == made
    assert made.model_dump(mode="json")["log"] == LOG
    assert json.loads(made.model_dump_json())["log"] == LOG
    assert '"temperature":0.1' in made.model_dump_json()
    assert record.model_validate_json(made.model_dump_json()) == made


def test_numbers_that_python_mode_keeps(pydantic: Any) -> None:
    """JSON goes through floats in pydantic; what is Python keeps every digit."""
    number = Decimal("0.12345678901234567890123")
    adapter = pydantic.TypeAdapter(DictSchema)
    assert adapter.dump_python(adapter.validate_python({"a": number, "b": 10**30})) == {
        "a": number,
        "b": 10**30,
    }
    assert adapter.dump_json(DictSchema(a=number, b=10**30)) == (
        b'{"a":0.12345678901234568,"b":%d}' % 10**30
    )


def test_each_error_has_its_place(pydantic: Any, record: Any) -> None:
    bad = {**LOG, "output": "x{a}", "duration": "{b}", "config": {"type": "model", "temprature": 1}}
    with pytest.raises(pydantic.ValidationError) as caught:
        record(log=bad, status="Finished")
    errors = {error["loc"]: error for error in caught.value.errors()}
    assert {place: error["type"] for place, error in errors.items()} == {
        ("log", "config", "id"): "required",
        ("log", "config", "model"): "required",
        ("log", "config", "temprature"): "additionalProperties",
        ("log", "duration"): "type",
        ("status",): "enum",
    }
    assert "'temperature'" in errors["log", "config", "temprature"]["msg"]
    assert errors["log", "duration"]["msg"] == "expected a number, got the string '{b}'"
    assert errors["log", "duration"]["input"] == "{b}"


def test_errors_show_no_secret(pydantic: Any) -> None:
    secret = "sk-abcdefghijklmnop"
    cls = make({"additionalProperties": {"type": "number"}})
    bad = {"openai_api_key": "secret", "b": secret, "c": {"d": secret}, "e": [secret]}
    with pytest.raises(pydantic.ValidationError) as caught:
        pydantic.TypeAdapter(cls).validate_python(bad)
    assert caught.value.error_count() == 4
    for text in (str(caught.value), repr(caught.value.errors()), caught.value.json()):
        assert secret not in text
        assert "'secret'" not in text


def test_other_types_than_objects(pydantic: Any) -> None:
    for schema, good, bad in [
        ({"type": "string", "format": "date-time"}, "2024-02-29T12:00:00Z", "x"),
        ({"type": "array", "items": {"type": "number"}}, [1, 2.5], ["x"]),
        ({"type": "boolean"}, True, 1),
        ({"type": "number", "nullable": True}, None, "x"),
    ]:
        cls = schema_from_openapi(schema)
        adapter = pydantic.TypeAdapter(cls)
        made = adapter.validate_python(good)
        assert isinstance(made, cls)
        assert adapter.dump_python(made) == good
        assert json.loads(adapter.dump_json(made)) == good
        with pytest.raises(pydantic.ValidationError):
            adapter.validate_python(bad)


def test_nulls_and_booleans_are_written_in_fields_of_any_type(pydantic: Any) -> None:
    values = DictSchema(a=None, b=True, c=[False, {"d": None}], e=0.5)
    plain = {"a": None, "b": True, "c": [False, {"d": None}], "e": 0.5}
    for field in (Any, object, dict[str, Any]):
        model = pydantic.create_model("Holder", value=(field, ...))
        assert json.loads(model(value=values).model_dump_json()) == {"value": plain}
        assert model(value=values).model_dump(mode="json") == {"value": plain}
    parts = [values["a"], values["b"], BoolSchema(False), NoneSchema(None)]
    assert pydantic.TypeAdapter(list[Any]).dump_json(parts) == b"[null,true,false,null]"


def test_booleans_and_numbers_fit_fields_of_pythons_types(pydantic: Any) -> None:
    model = pydantic.create_model("Plain", on=(bool, ...), share=(float, ...), count=(int, ...))
    made = model(**DictSchema(on=True, share=0.7, count=3))
    assert (made.on, made.share, made.count) == (True, 0.7, 3)
    assert [type(value) for _, value in made] == [bool, float, int]


def test_an_optional_field_takes_null_as_none_only(pydantic: Any, record: Any) -> None:
    """pydantic looks for None by identity, and asks nobody."""
    values = DictSchema(log=LOG, status=None)
    with pytest.raises(pydantic.ValidationError, match=r"pass to_primitive\(\)"):
        record(**values)
    assert record(**values.to_primitive()).status is None


@pytest.fixture(scope="module")
def tagged(pydantic: Any) -> Any:
    config = pydantic.Field(discriminator="type")
    kinds = ModelConfigResponse | ToolConfigResponse
    return pydantic.create_model("Tagged", config=(Annotated[kinds, config], ...))


@pytest.mark.parametrize(
    ("config", "cls"),
    [
        ({"id": "c", "type": "model", "model": "m", "temperature": 0.5}, ModelConfigResponse),
        ({"id": "c", "type": "tool", "name": "n"}, ToolConfigResponse),
    ],
)
def test_a_discriminator_chooses(tagged: Any, config: Any, cls: Any) -> None:
    for made in (
        tagged(config=config),
        tagged(config=cls(config)),
        tagged.model_validate_json(json.dumps({"config": config})),
    ):
        assert type(made.config) is cls
        assert made.config == config
        assert made.model_dump() == {"config": config}
        assert json.loads(made.model_dump_json()) == {"config": config}


def test_a_discriminator_refuses(pydantic: Any, tagged: Any) -> None:
    for config, kind in (
        ({"type": "agent"}, "union_tag_invalid"),
        ({}, "union_tag_not_found"),
        ({"type": "tool", "name": "n"}, "required"),
    ):
        with pytest.raises(pydantic.ValidationError) as caught:
            tagged(config=config)
        assert [error["type"] for error in caught.value.errors()] == [kind]
    field = tagged.model_json_schema()["properties"]["config"]
    assert field["discriminator"]["mapping"]["tool"] == "#/$defs/ToolConfigResponse"


def test_a_discriminator_takes_unions_and_references(pydantic: Any) -> None:
    components = {
        "Kind": {"type": "string", "enum": ["cat"]},
        "Base": {"properties": {"kind": {"allOf": [{"$ref": "#/components/schemas/Kind"}]}}},
    }
    cat = make({"allOf": [{"$ref": "#/components/schemas/Base"}]}, name="Cat", **components)
    dog = make({"properties": {"kind": {"enum": ["dog", "wolf"]}}}, name="Dog")
    field = pydantic.Field(discriminator="kind")
    adapter = pydantic.TypeAdapter(Annotated[cat | dog, field])
    assert isinstance(adapter.validate_python({"kind": "cat"}), cat)
    assert isinstance(adapter.validate_python({"kind": "wolf"}), dog)
    either = Annotated[ConfigResponse | dog, pydantic.Field(discriminator="type")]
    with pytest.raises(pydantic.PydanticUserError, match="type"):
        pydantic.TypeAdapter(either)
    other = make({"properties": {"type": {"enum": ["other"]}}}, name="Other")
    either = Annotated[ConfigResponse | other, pydantic.Field(discriminator="type")]
    made = pydantic.TypeAdapter(either).validate_python(LOG["config"])
    assert isinstance(made, ModelConfigResponse)
    assert isinstance(made, ConfigResponse)


def test_a_naive_datetime_in_a_field_warns_at_the_line_of_the_program(record: Any) -> None:
    log = {**LOG, "created_at": datetime.datetime(2024, 1, 1)}
    with pytest.warns(NaiveDatetimeWarning) as caught:
        record(log=log)
    assert [warning.filename for warning in caught] == [__file__]


# -- JSON schema ----------------------------------------------------------------------------------

NULLABLE = {"anyOf": [{"type": "string"}, {"type": "null"}]}


@pytest.mark.parametrize(
    ("given", "described"),
    [
        ({"type": "string", "nullable": True, "maxLength": 2}, {**NULLABLE, "maxLength": 2}),
        (
            {"type": "string", "nullable": True, "anyOf": [{}]},
            {"type": ["string", "null"], "anyOf": [{}]},
        ),
        ({"type": "string", "nullable": False}, {"type": "string"}),
        ({"nullable": True}, {}),
        (
            {"type": "number", "minimum": 1, "exclusiveMinimum": True},
            {"type": "number", "exclusiveMinimum": 1},
        ),
        (
            {"maximum": 9, "exclusiveMaximum": True, "minimum": 1, "exclusiveMinimum": False},
            {"exclusiveMaximum": 9, "minimum": 1},
        ),
        ({"exclusiveMaximum": True}, {}),
        ({"example": {"nullable": True}}, {"examples": [{"nullable": True}]}),
        ({"enum": ["a", None], "default": "a"}, {"enum": ["a", None], "default": "a"}),
        ({"not": {"type": "string", "nullable": True}}, {"not": NULLABLE}),
        (
            {"items": {"example": 1}, "additionalProperties": {"example": 1}},
            {"items": {"examples": [1]}, "additionalProperties": {"examples": [1]}},
        ),
        ({"additionalProperties": False}, {"additionalProperties": False}),
        (
            {"properties": {"nullable": {"example": 1}, "minimum": {"type": "string"}}},
            {"properties": {"nullable": {"examples": [1]}, "minimum": {"type": "string"}}},
        ),
        ({"anyOf": [{"example": 1}]}, {"anyOf": [{"examples": [1]}]}),
    ],
)
def test_keywords_are_those_of_the_newer_dialect(pydantic: Any, given: Any, described: Any) -> None:
    """OpenAPI 3.1.0, Schema Object: JSON Schema 2020-12."""
    cls = schema_from_openapi(given, name="Thing")
    assert pydantic.TypeAdapter(cls).json_schema() == {"title": "Thing", **described}
    written = pydantic.TypeAdapter(cls).json_schema(mode="serialization")
    assert written == {"title": "Thing", **described}


def test_named_schemas_are_definitions(record: Any) -> None:
    described = record.model_json_schema()
    definitions = described["$defs"]
    assert described["properties"]["log"] == {"$ref": "#/$defs/LogResponse"}
    assert definitions["LogResponse"]["required"] == ["config", "id"]
    assert definitions["LogResponse"]["description"] == LogResponse.__doc__
    assert definitions["ConfigResponse"]["discriminator"] == {
        "propertyName": "type",
        "mapping": {
            kind: f"#/$defs/{kind.capitalize()}ConfigResponse"
            for kind in ("model", "tool", "agent", "generic")
        },
    }
    assert set(references(described)) == {f"#/$defs/{name}" for name in definitions}


def references(described: Any) -> Iterator[str]:
    """Every reference in a JSON schema."""
    if isinstance(described, dict):
        if isinstance(described.get("$ref"), str):
            yield described["$ref"]
        described = list(described.values())
    if isinstance(described, list):
        for part in described:
            yield from references(part)


def test_what_stands_beside_a_reference_is_left_out(pydantic: Any) -> None:
    """OpenAPI 3.0.3, Reference Object: siblings are ignored; in JSON Schema 2020-12 they count."""
    cls = make(
        {"properties": {"a": {"$ref": "#/components/schemas/A", "maxLength": 1}}},
        A={"type": "string"},
    )
    described = pydantic.TypeAdapter(cls).json_schema()
    assert described["properties"] == {"a": {"$ref": "#/$defs/A"}}


def test_recursive_schemas_and_pointers(pydantic: Any) -> None:
    cls = schema_from_openapi(
        {
            "properties": {
                "next": {"$ref": "#"},
                "size": {"type": "number", "minimum": 0},
                "also": {"$ref": "#/properties/size"},
                "other": {"$ref": "#/components/schemas/Other"},
            }
        },
        components={"Other": {"items": {"$ref": "#/components/schemas/Other"}}},
        name="Chain link",
    )
    described = pydantic.create_model("Two", a=(cls, ...), b=(cls, ...)).model_json_schema()
    definitions = described["$defs"]
    assert definitions["Other"]["items"] == {"$ref": "#/$defs/Other"}
    assert definitions["size"] == {"type": "number", "minimum": 0}
    assert set(references(described)) == {f"#/$defs/{name}" for name in definitions}


def test_equal_names_are_told_apart(pydantic: Any) -> None:
    one, two = (make({"type": kind}, name="Same") for kind in ("string", "number"))
    described = pydantic.create_model("Two", a=(one, ...), b=(two, ...)).model_json_schema()
    kinds = {
        key: described["$defs"][part["$ref"].removeprefix("#/$defs/")]["type"]
        for key, part in described["properties"].items()
    }
    assert kinds == {"a": "string", "b": "number"}


QUIET = """
import sys
from humanloop.model import LogResponse
LogResponse(id="a", config={"id": "c", "type": "model", "model": "m"})
print([name for name in ("pydantic", "pydantic_core", "humanloop.schemas.interop")
       if name in sys.modules])
"""


def test_nothing_of_pydantic_is_imported_before_it_asks() -> None:
    done = subprocess.run([sys.executable, "-c", QUIET], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# -- FastAPI --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def app() -> Any:
    fastapi = pytest.importorskip("fastapi")
    app = fastapi.FastAPI()

    def store(log: LogResponse) -> Any:
        assert type(log) is LogResponse
        return log

    def tell(name: str, config: Any) -> Any:
        assert isinstance(config, ConfigResponse)
        return {"name": name, "config": config}

    # The annotations of this module are text, which FastAPI could not resolve here.
    store.__annotations__ = {"log": LogResponse, "return": LogResponse}
    body = fastapi.Body(embed=True)
    tell.__annotations__ = {
        "name": str,
        "config": Annotated[ConfigResponse, body],
        "return": dict[str, str | ConfigResponse],
    }
    app.post("/logs")(store)
    app.post("/configs/{name}")(tell)
    return app


def call(app: Any, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Status and decoded body of one request (ASGI 3.0)."""
    sent: list[Mapping[str, Any]] = []
    headers = [(b"content-type", b"application/json")]
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": headers,
        "query_string": b"",
    }

    async def receive() -> Any:
        return {"type": "http.request", "body": json.dumps(body).encode()}

    async def send(message: Mapping[str, Any]) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    content = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], json.loads(content)


def test_an_endpoint_takes_and_gives_instances(app: Any) -> None:
    assert call(app, "POST", "/logs", LOG) == (200, LOG)
    status, answer = call(app, "POST", "/configs/warm", {"config": LOG["config"]})
    assert (status, answer) == (200, {"name": "warm", "config": LOG["config"]})


@pytest.mark.parametrize("returns", [None, Any, dict[str, Any], DictSchema], ids=str)
def test_an_endpoint_gives_nulls_and_booleans(returns: Any) -> None:
    """Without annotations, FastAPI encodes what an endpoint returns by `jsonable_encoder`."""
    fastapi = pytest.importorskip("fastapi")
    plain = {"null": None, "on": True, "list": [None, {"off": False}], "share": 0.5, "count": 3}
    app = fastapi.FastAPI()

    def whole() -> Any:
        return DictSchema(plain)

    def parts() -> Any:
        return dict(DictSchema(plain))

    for path, endpoint in (("/whole", whole), ("/parts", parts)):
        endpoint.__annotations__ = {} if returns is None else {"return": returns}
        app.get(path)(endpoint)
        assert call(app, "GET", path) == (200, plain)


@pytest.mark.parametrize("value", [None, True, False])
def test_an_endpoint_gives_a_null_or_a_boolean_alone(value: bool | None) -> None:
    fastapi = pytest.importorskip("fastapi")
    app = fastapi.FastAPI()
    app.get("/")(lambda: DictSchema(value=value)["value"])
    assert call(app, "GET", "/") == (200, value)


def test_a_body_may_be_a_union_with_a_discriminator() -> None:
    fastapi = pytest.importorskip("fastapi")
    app = fastapi.FastAPI()

    def tell(config: Any) -> Any:
        return type(config).__name__

    kinds = ModelConfigResponse | ToolConfigResponse
    tell.__annotations__ = {"config": Annotated[kinds, fastapi.Body(discriminator="type")]}
    app.post("/")(tell)
    assert call(app, "POST", "/", LOG["config"]) == (200, "ModelConfigResponse")
    assert call(app, "POST", "/", {"type": "x"})[0] == 422


def test_an_endpoint_refuses_a_bad_body_with_our_errors(app: Any) -> None:
    status, answer = call(app, "POST", "/logs", {**LOG, "messages": [{"role": "boss"}]})
    assert status == 422
    [error] = answer["detail"]
    assert error["loc"] == ["body", "messages", 0, "role"]
    assert error["type"] == "enum"
    assert error["msg"].endswith("got the string 'boss'")


def test_the_description_of_the_application_is_valid(app: Any) -> None:
    validator = pytest.importorskip("openapi_spec_validator")
    status, described = call(app, "GET", "/openapi.json")
    assert status == 200
    validator.validate(described)
    components = described["components"]["schemas"]
    operation = described["paths"]["/logs"]["post"]
    for message in (operation["requestBody"], operation["responses"]["200"]):
        reference = message["content"]["application/json"]["schema"]["$ref"]
        # Older releases of FastAPI append `-Input` and `-Output`.
        assert reference.partition("-")[0] == "#/components/schemas/LogResponse"
    assert set(references(described)) <= {f"#/components/schemas/{name}" for name in components}
    config = next(part for name, part in components.items() if name.startswith("ConfigResponse"))
    assert set(config["discriminator"]["mapping"].values()) <= set(references(described))


# -- pandas ---------------------------------------------------------------------------------------


def test_pandas() -> None:
    pandas = pytest.importorskip("pandas")
    logs = [LogResponse(LOG), LogResponse({**LOG, "id": "data_2", "output": "hi"})]
    table = pandas.DataFrame(logs)
    assert list(table["id"]) == ["data_1", "data_2"]
    assert table["config"][0] == logs[0].config
    plain = pandas.json_normalize([log.to_primitive() for log in logs])
    assert plain["config.temperature"].dtype == float
    assert list(plain["inputs.a"]) == [[1, {"b": True}]] * 2
