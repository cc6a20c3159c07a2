"""The generator on documents of other APIs: each gives a package that works, or one SpecError.

`apis/` has three documents: a shop, payments with polymorphism, and a tracker with odd names.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from codegen import checks, ir, names, reading, spec
from codegen.__main__ import main
from humanloop.api_client import RequestOptions
from humanloop.exceptions import (
    ApiTypeError,
    ClientConfigurationError,
    InvalidHostConfigurationError,
    SchemaValidationError,
)
from humanloop.operation import Operation, is_idempotent
from humanloop.schemas import enum_members
from humanloop.testing import TestTransport, sample

APIS = Path(__file__).parent / "apis"
NUMBERS = count()
Document = dict[str, Any]


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for packages, which can be imported from it."""
    folder = tmp_path_factory.mktemp("packages")
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def packages(output: Path) -> dict[str, ModuleType]:
    """The packages of the three documents."""
    for file in sorted(APIS.iterdir()):
        arguments = ["--spec", str(file), "--package", file.stem, "--output", str(output)]
        assert main(arguments) == 0
    return {file.stem: importlib.import_module(file.stem) for file in sorted(APIS.iterdir())}


def operations_of(package: ModuleType) -> tuple[Operation, ...]:
    found: tuple[Operation, ...] = importlib.import_module(
        f"{package.__name__}.apis.operations"
    ).OPERATIONS
    return found


def client_of(package: ModuleType) -> tuple[Any, TestTransport]:
    transport = TestTransport(operations_of(package))
    return package.Client(api_key="key", host="http://127.0.0.1", transport=transport), transport


def document(
    paths: Mapping[str, Any] | None = None, schemas: Mapping[str, Any] | None = None, **more: Any
) -> Document:
    components = {"components": {"schemas": schemas}} if schemas else {}
    info = {"title": "Things", "version": "1"}
    return {"openapi": "3.0.3", "info": info, "paths": paths or {}, **components, **more}


def operation(**more: Any) -> Document:
    return {"responses": {"200": {"description": "Done"}}, **more}


def written(output: Path, source: Document) -> ModuleType:
    """Generate a package for a document, and import all of it."""
    name = f"package{next(NUMBERS)}"
    file = output / f"{name}.json"
    file.write_text(json.dumps(source))
    assert main(["--spec", str(file), "--package", name, "--output", str(output)]) == 0
    package = importlib.import_module(name)
    for part in ("model", "apis", "apis.tags"):
        module = importlib.import_module(f"{name}.{part}")
        for cls in module.__all__:
            getattr(module, cls)
    return package


def refused(tmp_path: Path, text: str, suffix: str = "yaml") -> str:
    """Return the message for a document that is refused, and check that nothing is written."""
    file = tmp_path / f"document.{suffix}"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(spec.SpecError) as caught:
        reading.load(file)
    output = tmp_path / "output"
    assert main(["--spec", str(file), "--package", "refused", "--output", str(output)]) == 2
    assert not output.exists()
    return str(caught.value)


# -- the three documents --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["petstore", "payments", "tracker"])
def test_each_schema_takes_its_sample(packages: dict[str, ModuleType], name: str) -> None:
    model = importlib.import_module(f"{name}.model")
    assert model.__all__
    for cls in (getattr(model, name) for name in model.__all__):
        assert isinstance(cls(sample(cls)), cls)


@pytest.mark.parametrize("name", ["petstore", "payments", "tracker"])
def test_each_operation_can_be_called(packages: dict[str, ModuleType], name: str) -> None:
    client, transport = client_of(packages[name])
    for found in operations_of(packages[name]):
        tag, _, method = found.name.partition(".")
        parameters = {p.argument: _argument(p.schema) for p in found.parameters}
        body = {"body": b"bytes"} if found.takes_bytes else {}
        if found.body_schema is not None:
            body = {"body": sample(found.body_schema)}
        response = getattr(getattr(client, tag), method)(**parameters, **body)
        assert transport.requests[-1].operation == found.name
        assert 200 <= response.status <= 299


def _argument(schema: Mapping[str, Any]) -> Any:
    values = {"integer": 1, "boolean": True, "array": ["a"]}
    texts = {"date": "2024-02-29", "date-time": "2024-02-29T12:00:00Z"}
    text = texts.get(schema.get("format", ""), schema.get("enum", ["a"])[0])
    return values.get(schema["type"], text)


def test_a_shop(packages: dict[str, ModuleType]) -> None:
    client, transport = client_of(packages["petstore"])
    pet = client.pet.add_pet(name="Rex", photoUrls=[], status="sold").body
    assert transport.requests[-1].json == {"name": "Rex", "photoUrls": [], "status": "sold"}
    assert transport.requests[-1].headers["api_key"] == "key"
    assert pet.category.name == "sample name"
    client.pet.find_pets_by_status(tags=["a", "b c"])
    assert transport.requests[-1].query == "tags=a,b%20c"
    client.pet.delete_pet(7, api_key="other")
    assert transport.requests[-1].headers["api_key"] == "other"
    client.user.login_user(session="s 1")
    assert transport.requests[-1].headers["Cookie"] == "session=s%201"
    with pytest.raises(SchemaValidationError, match="/status"):
        client.pet.add_pet(name="Rex", photoUrls=[], status="lost")
    with pytest.raises(ApiTypeError, match="photoUrls"):
        client.pet.add_pet(name="Rex")


def test_bodies_that_are_not_json(packages: dict[str, ModuleType]) -> None:
    client, transport = client_of(packages["petstore"])
    client.pet.upload_image(petId=3, body=b"\x00\xff", caption="Rex")
    assert transport.requests[-1].request.body == b"\x00\xff"
    assert transport.requests[-1].headers["Content-Type"] == "image/png"
    client.store.order_by_form(pets=[1, 2], gift=True, note="für & mich")
    assert transport.requests[-1].request.body == b"pets=1&pets=2&gift=true&note=f%C3%BCr+%26+mich"
    assert transport.requests[-1].headers["Content-Type"] == "application/x-www-form-urlencoded"
    with pytest.raises(ApiTypeError, match="bytes or str"):
        client.pet.upload_image(petId=3, body={"a": 1})


def test_operations_that_are_left_out(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = operation(requestBody={"content": {"multipart/form-data": {}}})
    file = output / "left_out.json"
    file.write_text(json.dumps(document({"/files": {"post": files, "get": operation()}})))
    arguments = ["--spec", str(file), "--package", "left_out", "--output", str(output)]
    assert main(arguments) == 2
    assert main([*arguments, "--leave-out"]) == 0
    assert "left out: POST /files: request body" in capsys.readouterr().out
    names = [found.name for found in operations_of(importlib.import_module("left_out"))]
    assert names == ["default.get_files"]


def test_keys_by_scheme(packages: dict[str, ModuleType]) -> None:
    petstore = packages["petstore"]
    transport = TestTransport(operations_of(petstore))
    keys = {"api_key": "one", "petstore_auth": "two"}
    client = petstore.Client(keys, transport=transport)
    client.store.get_inventory()
    assert transport.requests[-1].headers["api_key"] == "one"
    assert transport.requests[-1].headers["Authorization"] == "Bearer two"
    assert transport.requests[-1].request.host == "https://petstore.example.com/api/v3"
    assert "one" not in repr(client)
    with pytest.raises(ClientConfigurationError):
        petstore.Client("a key")
    with pytest.raises(ApiTypeError, match="a configuration, or its settings"):
        petstore.Client(configuration=client.configuration, timeout=5)


def test_the_environment(packages: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKER_BASE_URL", "http://127.0.0.1:9")
    assert packages["tracker"].Client().configuration.host == "http://127.0.0.1:9"
    monkeypatch.delenv("TRACKER_BASE_URL")
    with pytest.raises(InvalidHostConfigurationError):  # the document names no server
        packages["tracker"].Client()


def test_payments(packages: dict[str, ModuleType]) -> None:
    client, transport = client_of(packages["payments"])
    card = {"object": "card", "last4": "4242"}
    created = client.charges.post_charges(
        5, "usd", card, _timeout=3, idempotency_key="k1", payments_version="2024-02-29", timeout=9
    )
    request = transport.requests[-1]
    assert request.json == {"amount": 5, "currency": "usd", "source": card, "timeout": 3}
    assert request.headers["Idempotency-Key"] == "k1"
    assert request.headers["Payments-Version"] == "2024-02-29"
    assert request.headers["Authorization"] == "Bearer key"
    assert request.request.timeout == 9
    assert created.status == 201
    model = importlib.import_module("payments.model")
    assert isinstance(model.PaymentSource({"object": "bank", "iban": "x"}), model.BankAccount)
    assert isinstance(
        model.PaymentSource({"object": "bank_account", "iban": "x"}), model.BankAccount
    )
    with pytest.raises(SchemaValidationError, match="/object"):
        model.PaymentSource({"object": "cash"})
    client.payment_sources.put_source(
        id="p", query_id="q", body_id="b", object="card", last4="4242"
    )
    assert transport.requests[-1].path == "/v1/sources/p"
    assert transport.requests[-1].query == "id=q"
    assert transport.requests[-1].json == {"id": "b", "object": "card", "last4": "4242"}
    transport.reply("charges.post_charges", "", status=202)
    assert not client.charges.post_charges(5, "usd", card).body


def test_what_may_be_sent_again(packages: dict[str, ModuleType]) -> None:
    charge = next(o for o in operations_of(packages["payments"]) if o.name.endswith("post_charges"))
    assert not is_idempotent(charge, {})
    assert is_idempotent(charge, {"idempotency_key": "k1"})
    update = next(o for o in operations_of(packages["tracker"]) if o.method == "PATCH")
    assert not is_idempotent(update, {})


def test_odd_names(packages: dict[str, ModuleType]) -> None:
    client, transport = client_of(packages["tracker"])
    client.issues_labels.issues_create(
        title="t", _class="c", a_b="1", body_a_b="2", items=["i"], date="2024-02-29", _stream="s"
    )
    assert transport.requests[-1].json == {
        **{"title": "t", "class": "c", "a_b": "1", "a-b": "2", "items": ["i"]},
        **{"date": "2024-02-29", "stream": "s"},
    }
    client.issues_labels.issues_list(on=True, _from="2024-02-29T12:00:00Z", x_request_id="r")
    assert transport.requests[-1].query == "on=true&from=2024-02-29T12%3A00%3A00Z"
    assert transport.requests[-1].headers["X-Request-ID"] == "r"
    assert len(list(client.issues_labels.iterate_issues_list())) == 1
    assert client.close_api.import_(at="2024-02-29").status == 204
    assert client.default.head_issues_number(1).status == 200


async def _inventory(client: Any) -> Any:
    async with client:
        return (await client.store.aget_inventory()).body


def test_a_real_server(packages: dict[str, ModuleType]) -> None:
    seen: list[tuple[str, str | None]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append((self.path, self.headers["api_key"]))
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", "10")
            self.end_headers()
            self.wfile.write(b'{"sold":3}')

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        host = f"http://127.0.0.1:{server.server_address[1]}/v3"
        with packages["petstore"].Client("key", host) as client:
            assert client.store.get_inventory().body == {"sold": 3}
            assert asyncio.run(_inventory(client)) == {"sold": 3}
        server.shutdown()
        thread.join()
    assert seen == [("/v3/store/inventory", "key")] * 2


# -- writing --------------------------------------------------------------------------------------


def test_writing_again_removes_what_is_gone_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "things.json"
    arguments = ["--spec", str(file), "--package", "app.things", "--output", str(tmp_path)]
    file.write_text(json.dumps(document(schemas={"A": {}, "B": {}})))
    assert main(arguments) == 0
    package = tmp_path / "app" / "things"
    assert (package / "py.typed").exists()
    assert "things.json" in (package / "model" / "b.py").read_text().partition("\n")[0]
    file.write_text(json.dumps(document(schemas={"A": {}})))
    (package / "mine.py").write_text("mine = 1\n")
    assert main(arguments) == 1
    assert (package / "mine.py").exists()
    assert not (package / "model" / "b.py").exists()
    assert main([*arguments, "--check"]) == 1
    (package / "mine.py").unlink()
    assert main([*arguments, "--check"]) == 0
    (package / "client.py").write_text("mine = 1\n")
    assert main(arguments) == 2
    assert (package / "client.py").read_text() == "mine = 1\n"


def test_a_folder_that_is_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "things.json"
    file.write_text(json.dumps(document()))
    assert main(["--spec", str(file), "--package", "things", "--output", str(file)]) == 2
    assert "can't write" in capsys.readouterr().err


@pytest.mark.parametrize("package", ["humanloop", "json", "1st", "a-b", "class", "a..b"])
def test_a_package_that_python_could_not_import(package: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(["--spec", "x", "--package", package, "--output", str(tmp_path)])


def test_half_of_the_options() -> None:
    with pytest.raises(SystemExit):
        main(["--spec", "x"])


@pytest.mark.parametrize("kind", ["object", "array"])
def test_schemas_refer_to_each_other_as_long_as_they_like(output: Path, kind: str) -> None:
    refs = [{"$ref": f"#/components/schemas/S{number}"} for number in range(1_001)]
    chain: Document = {
        f"S{number}": {"type": "object", "properties": {"next": ref}}
        if kind == "object"
        else {"type": "array", "items": ref}
        for number, ref in enumerate(refs[1:])
    }
    body = {"content": {"application/json": {"schema": refs[0]}}}
    paths = {"/first": {"post": operation(operationId="first", requestBody=body)}}
    package = written(output, document(paths, {**chain, "S1000": {"type": "string"}}))
    client, transport = client_of(package)
    value: Any = {"next": {"next": {}}} if kind == "object" else [[[]]]
    client.default.first(body=value)
    assert transport.requests[-1].json == value


def test_a_schema_that_stands_for_others_without_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chain = {f"S{n}": {"allOf": [{"$ref": f"#/components/schemas/S{n + 1}"}]} for n in range(900)}
    file = tmp_path / "deep.json"
    file.write_text(json.dumps(document({}, {**chain, "S900": {"type": "object"}})))
    output = tmp_path / "output"
    assert main(["--spec", str(file), "--package", "deep", "--output", str(output)]) == 2
    assert "nested too deeply" in capsys.readouterr().err
    assert not output.exists()


def test_keys_that_python_reads_as_one_name(output: Path) -> None:
    keys = ["\ufb01", "fi", "\u00e9", "e\u0301", "\u017f", "s", "\u00aa", "a"]
    shape = {"type": "object", "properties": {key: {"type": "string"} for key in keys}}
    body = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Keys"}}}}
    paths = {"/keys": {"put": operation(operationId="keys", requestBody=body)}}
    package = written(output, document(paths, {"Keys": shape}))
    values = dict.fromkeys(keys, "x")
    keys_class = importlib.import_module(f"{package.__name__}.model").Keys
    assert keys_class(**values) == keys_class(values) == values


# -- names ----------------------------------------------------------------------------------------

ODD = """
    class None list print Any Literal Final Self Mapping Decimal overload DictSchema Schema date
    __init__ model self cls items a-b a_b A_B a.b 2x _x __x + - user User USER uSer Größe 日本 ﬁ str
    property tag locals timeout body stream options page size import async Facade Api PetsApi close
"""
WORDS = st.sampled_from(ODD.split())
PRINTABLE = st.text(st.characters(categories=("L", "N", "P", "S")), max_size=6)
NAMES = st.lists(st.one_of(WORDS, PRINTABLE), unique=True, min_size=1, max_size=12)


@settings(  # each example writes a package, so to shrink takes minutes
    max_examples=10,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(NAMES, NAMES, NAMES)
def test_any_names_give_a_package(
    output: Path, schemas: list[str], keys: list[str], words: list[str]
) -> None:
    shape = {"type": "object", "properties": {key: {"type": "integer"} for key in keys}}
    body = {"content": {"application/json": {"schema": shape}}}
    parameters = [{"name": word, "in": "query", "schema": {"type": "integer"}} for word in words]
    package = written(
        output,
        document(
            {
                f"/{number}": {
                    "post": operation(
                        operationId=f"{word}{number}" if number % 2 else f"{number}{word}",
                        tags=[word or "-"],
                        parameters=parameters,
                        requestBody=body,
                    )
                }
                for number, word in enumerate(words)
            },
            {name: {**shape, "enum": [{key: 1} for key in keys]} for name in schemas},
        ),
    )
    model = importlib.import_module(f"{package.__name__}.model")
    bodies = [f"Schema{n}" for n, _ in enumerate(words)]
    assert len(model.__all__) == len(schemas) + len(bodies)
    for cls in (getattr(model, name) for name in model.__all__):
        assert cls({keys[0]: 1}) == {keys[0]: 1}
    client, transport = client_of(package)
    for found in operations_of(package):
        arguments = {argument: 1 for argument in found.arguments if argument != "body"}
        assert len(arguments) == len(keys) + len(words)
        assert not {*arguments} & {*RequestOptions.__annotations__, "self", "options"}
        tag, _, method = found.name.partition(".")
        getattr(getattr(client, tag), method)(**arguments)
        assert transport.requests[-1].json == dict.fromkeys(keys, 1)


@given(st.lists(st.text(max_size=5), unique=True))
def test_each_value_of_an_enum_has_a_member(values: list[str]) -> None:
    members = enum_members(values)
    assert list(members.values()) == values
    assert all(name.isidentifier() and not name.startswith("_") for name in members)


def test_members() -> None:
    values = ["In progress", "", "1st", "+", "in-progress", "404", "日本"]
    assert [*enum_members(values)] == [
        *("IN_PROGRESS", "EMPTY", "VALUE_1ST", "VALUE_4", "IN_PROGRESS_2", "VALUE_404", "日本")
    ]


def test_modules_never_differ_by_case_alone() -> None:
    schemas = {
        key: {"type": "object"} for key in ("User", "user", "USER", "uSer", "user_2", "User2")
    }
    api = ir.build(checks.checked(spec.Spec(document(schemas=schemas))), "things")
    assert len({model.module.casefold() for model in api.models}) == len(schemas)
    assert {"User", "USER", "User2"} <= {model.name for model in api.models}


@given(st.lists(st.text(max_size=8)))
def test_names_are_unique_and_no_keywords(wanted: list[str]) -> None:
    namespace = names.arguments(["body"])
    found = [namespace.add(names.keyword_argument(name)) for name in wanted]
    assert len({*found}) == len(found)
    for name in found:
        compile(f"def call({name}): pass", "", "exec")


# -- documents that are refused -------------------------------------------------------------------

QUERY = {"name": "q", "in": "query", "schema": {"type": "string"}}
REFUSED: list[tuple[Document, str]] = [
    ({"openapi": "3.1.0"}, "expected version 3.0"),
    ({"swagger": "2.0"}, "expected version 3.0"),
    (
        document(
            {"/a": {"get": operation(operationId="x")}, "/b": {"get": operation(operationId="x")}}
        ),
        "operationId 'x' is not unique: GET /a, GET /b",
    ),
    (
        document(schemas={"Pet": {"properties": {"a": {"minlength": 1}}}}),
        "Pet#/properties/a/minlength.*did you mean 'minLength'",
    ),
    (document(schemas={"Pet": {"type": ["string", "null"]}}), "Pet#/type"),
    (document(schemas={"Pet": {"$ref": "#/components/schemas/Cat"}}), "Pet#.*'Cat'"),
    (document(schemas={"Pet": {"allOf": [{"$ref": "#/components/schemas/Pet"}]}}), "Pet.*itself"),
    (document(schemas={"Pet": {"$ref": "pets.yaml#/Pet"}}), "pets.yaml"),
    (document(schemas={"Pet": 5}), "Pet"),
    (
        document({"/a": {"get": operation(parameters=[{**QUERY, "style": "deepObject"}])}}),
        "GET /a: parameter q: style",
    ),
    (
        document({"/a": {"get": operation(parameters=[{**QUERY, "schema": {"typ": 1}}])}}),
        "GET /a: parameter q#/typ",
    ),
    (
        document(
            {"/a": {"get": operation(parameters=[{"name": "q", "in": "query", "content": {}}])}}
        ),
        "GET /a: parameter 'q'",
    ),
    (
        document({"/a": {"get": operation(parameters=[{"$ref": "#/components/parameters/x"}])}}),
        "#/components/parameters/x does not exist",
    ),
    (document({"/a/{b}": {"get": operation()}}), "GET /a/{b}: path parameter b"),
    (document({"/a": {"get": {"responses": {"404": {"description": ""}}}}}), "GET /a.*no success"),
    (
        document({"/a": {"get": {"responses": {"okay": {"description": ""}}}}}),
        "GET /a: response okay",
    ),
    (document({"/a": {"get": {}}}), "GET /a: responses is missing"),
    (
        document({"/a": {"get": operation(security=[{"nothing": []}])}}),
        "GET /a: security.*'nothing'",
    ),
    (
        document(
            {"/a": {"get": operation(security=[{"k": []}])}},
            components={"securitySchemes": {"k": {"type": "apiKey", "in": "query", "name": "k"}}},
        ),
        "GET /a: security.* got k",
    ),
    (
        document({"/a": {"post": operation(requestBody={"content": {"multipart/form-data": {}}})}}),
        "POST /a: request body: unsupported content, got multipart/form-data",
    ),
    (document(servers=[{"url": "https://{a}", "variables": {"a": {}}}]), "servers/0/variables/a"),
    ({**document(), "paths": []}, "paths"),
    ({**document(), "tags": ["a"]}, "tags/0"),
    ({**document(), "components": None}, "components"),
]


@pytest.mark.parametrize(("source", "message"), REFUSED)
def test_a_document_is_refused_with_the_place(
    source: Document, message: str, tmp_path: Path
) -> None:
    text = refused(tmp_path, json.dumps(source), "json")
    assert "\n" not in text
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(text)


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    bad: Document = {f"/{n}": {"get": {"responses": {}}, "put": {}} for n in range(30)}
    lines = refused(tmp_path, json.dumps(document(bad)), "json").splitlines()
    assert lines[:2] == ["PUT /0: responses is missing", "PUT /1: responses is missing"]
    assert lines[-1] == "... and 10 more"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected an object"),
        ("[]", "expected an object"),
        ("openapi: [3.0.3", "can't be read"),
        ("openapi: 3.0.3\npaths: {}\npaths: {}\n", "'paths' twice"),
        ('{"openapi": "3.0.3", "paths": {}, "paths": {}}', "'paths' twice"),
        ('{"openapi": "3.0.3", "x-a": "\\ud800"}', "can't be read"),
        ("openapi: 3.0.3\nx-a: &a [*a]\n", "can't be read"),
        ("openapi: 3.0.3\nx-a: !!python/name:os.system\n", "can't be read"),
        ("[" * 100_000, "can't be read"),
    ],
)
def test_text_that_is_no_document(text: str, message: str, tmp_path: Path) -> None:
    assert message in refused(tmp_path, text)


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--spec", str(tmp_path / "no.yaml"), "--package", "no", "--output", str(tmp_path)]
    assert main(arguments) == 2
    assert "no.yaml can't be read" in capsys.readouterr().err


def test_yaml_is_read_by_the_rules_of_json(tmp_path: Path) -> None:
    file = tmp_path / "document.yaml"
    file.write_text(
        "openapi: 3.0.3\n"
        "x-values: [on, yes, 2020-01-01, 12:30, 017, true, null, 1, 1.5, -2e3, ~, '1']\n"
        "components:\n  schemas:\n    A: &a {type: object}\n    B: {<<: *a, nullable: true}\n"
        "x-keys: {on: 1, 2020-01-01: 2, 404: 3, null: 4, true: 5}\n"
    )
    found = reading.load(file).document
    assert found["x-values"] == [
        *("on", "yes", "2020-01-01", "12:30", "017", True, None, 1, 1.5, -2000.0, None, "1")
    ]
    assert list(found["x-keys"]) == ["on", "2020-01-01", "404", "null", "true"]
    assert found["components"]["schemas"]["B"] == {"type": "object", "nullable": True}
