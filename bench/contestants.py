"""The contestants: each is a set of functions, loaded in its own environment.

`construct`, `parse` (from JSON bytes), `encode`, `decode` (JSON alone), `call`, `acall` and `send`
take the name of a schema and return the function to be timed. A contestant has only the functions
that it supports. Everything is imported at its first use: no environment has all packages.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from decimal import Decimal
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from bench.payloads import batch
from bench.rivals import source

__all__ = ["CONTESTANTS", "ROOT", "Contestant", "is_compiled", "versions"]

ROOT = Path(__file__).resolve().parent.parent
ROOTS = ["PaginatedDataLogResponse", "ExperimentResponse"]

Function = Callable[[Any], Any]


def _loop() -> Any:
    """Return a new event loop."""
    return import_module("asyncio").new_event_loop()


class Contestant:
    """A contestant; `address` is that of the server for calls."""

    def __init__(self, address: str) -> None:
        self.address = address

    def to_encode(self, name: str) -> Function:
        """Return a function that turns JSON into the input of `encode`."""
        made: Function = getattr(self, "parse")(name)  # noqa: B009 - not all have it
        return made


class Ours(Contestant):
    """humanloop, in this checkout."""

    def construct(self, name: str) -> Any:
        return getattr(import_module("humanloop.model"), name)

    def parse(self, name: str) -> Function:
        parse: Function = self.construct(name).from_json
        return parse

    def encode(self, name: str) -> Function:
        encode: Function = self.construct(name).to_json
        return encode

    def decode(self, name: str) -> Function:
        decode: Function = import_module("humanloop.schemas.codec").decode
        return decode

    def client(self) -> Any:
        return import_module("humanloop").Humanloop(api_key="x", host=self.address)

    def call(self, name: str) -> Function:
        get = self.client().projects.get
        return lambda _: get(id="pr_1")

    def acall(self, name: str) -> Function:
        get, run = self.client().projects.aget, _loop().run_until_complete
        return lambda _: run(get(id="pr_1"))

    def send(self, name: str) -> Function:
        log, logs = self.client().logs.log, batch()
        return lambda _: log(body=logs)


class Original(Contestant):
    """humanloop 0.5.13."""

    def construct(self, name: str) -> Function:
        snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in name)[1:]
        cls = getattr(import_module(f"humanloop.model.{snake}"), name)
        construct: Function = cls.from_openapi_data_oapg
        return construct

    def parse(self, name: str) -> Function:
        construct = self.construct(name)
        return lambda text: construct(json.loads(text))

    def call(self, name: str) -> Function:
        make = import_module("humanloop").Humanloop
        get = make(api_key="x", openai_api_key="x", host=self.address).projects.get
        return lambda _: get(id="pr_1")


class Plain(Contestant):
    """Plain Python: json without checks, urllib3 and aiohttp alone."""

    def parse(self, name: str) -> Function:
        return lambda text: json.loads(text, parse_float=Decimal, parse_int=Decimal)

    def to_encode(self, name: str) -> Function:
        return json.loads

    def encode(self, name: str) -> Function:
        return json.dumps

    def decode(self, name: str) -> Function:
        return json.loads

    def call(self, name: str) -> Function:
        pool, url = import_module("urllib3").PoolManager(), f"{self.address}/projects/pr_1"
        headers = {"X-API-KEY": "x", "Accept": "application/json"}
        return lambda _: json.loads(pool.request("GET", url, headers=headers).data)

    def acall(self, name: str) -> Function:
        aiohttp, run = import_module("aiohttp"), _loop().run_until_complete
        url = f"{self.address}/projects/pr_1"

        async def session() -> Any:
            return aiohttp.ClientSession(headers={"X-API-KEY": "x", "Accept": "application/json"})

        async def call() -> Any:
            async with opened.get(url) as response:
                return json.loads(await response.read())

        opened = run(session())
        return lambda _: run(call())

    def send(self, name: str) -> Function:
        """Return a function that does our validation and JSON alone, without sending."""
        validate, logs = import_module("humanloop.model").LogDatapointRequest, batch()
        return lambda _: (validate(logs), json.dumps(logs).encode())


class Models(Contestant):
    """A contestant with generated models. They are kept in build/bench, for readers."""

    style = ""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        schemas = import_module("yaml").safe_load((ROOT / "openapi.yaml").read_text("utf-8"))
        path = ROOT / "build" / "bench" / f"{self.style}_models.py"
        path.write_text(source(schemas["components"]["schemas"], ROOTS, self.style), "utf-8")
        sys.path.insert(0, str(path.parent))
        self.models = import_module(path.stem)

    def model(self, name: str) -> Any:
        return getattr(self.models, name)


class Pydantic(Models):
    """pydantic v2."""

    style = "pydantic"

    def construct(self, name: str) -> Function:
        construct: Function = self.model(name).model_validate
        return construct

    def parse(self, name: str) -> Function:
        parse: Function = self.model(name).model_validate_json
        return parse

    def encode(self, name: str) -> Function:
        # Without exclude_unset it would write null for each absent key.
        return lambda value: value.model_dump_json(by_alias=True, exclude_unset=True)

    def decode(self, name: str) -> Function:
        decode: Function = import_module("pydantic_core").from_json
        return decode


class TypedDicts(Models):
    """pydantic v2 with TypedDicts, which makes plain dicts."""

    style = "typeddict"

    def adapter(self, name: str) -> Any:
        return import_module("pydantic").TypeAdapter(self.model(name))

    def construct(self, name: str) -> Function:
        construct: Function = self.adapter(name).validate_python
        return construct

    def parse(self, name: str) -> Function:
        parse: Function = self.adapter(name).validate_json
        return parse

    def encode(self, name: str) -> Function:
        encode: Function = self.adapter(name).dump_json
        return encode


class Msgspec(Models):
    """msgspec structs. They drop undeclared keys."""

    style = "msgspec"

    def construct(self, name: str) -> Function:
        convert, cls = import_module("msgspec").convert, self.model(name)
        return lambda value: convert(value, cls)

    def parse(self, name: str) -> Function:
        decode: Function = import_module("msgspec.json").Decoder(self.model(name)).decode
        return decode

    def encode(self, name: str) -> Function:
        encode: Function = import_module("msgspec.json").Encoder().encode
        return encode

    def decode(self, name: str) -> Function:
        decode: Function = import_module("msgspec.json").Decoder().decode
        return decode


class Httpx(Contestant):
    """httpx, without checks."""

    def call(self, name: str) -> Function:
        client = import_module("httpx").Client(headers={"X-API-KEY": "x"})
        url = f"{self.address}/projects/pr_1"
        return lambda _: client.get(url).json()


CONTESTANTS: dict[str, tuple[str, type[Contestant]]] = {
    "ours": ("ours", Ours),
    "fast": ("fast", Ours),
    "interpreted": ("ours", Ours),
    "pydantic": ("rivals", Pydantic),
    "typeddict": ("rivals", TypedDicts),
    "msgspec": ("rivals", Msgspec),
    "original": ("original", Original),
    "plain": ("ours", Plain),
    "httpx": ("rivals", Httpx),
}
"""The environment and the class of each contestant, by name. `fast` is ours with the extra `fast`;
`interpreted` is ours with its converters interpreted, not compiled to C.
"""


def versions() -> dict[str, str]:
    """Return the versions of the packages in this environment that affect the measurements."""
    names = ("pydantic", "pydantic-core", "msgspec", "httpx", "urllib3", "aiohttp", "frozendict")
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def is_compiled() -> bool:
    """Return whether our converters run compiled to C in this process."""
    compiled: bool = import_module("humanloop.schemas").compiled
    return compiled
