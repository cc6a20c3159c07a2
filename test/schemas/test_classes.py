"""Classes of a user's own: derived from a model, or made at run time; how long they live.

A subclass is a model with more to it. Its schema, where it has none of its own, is that of its
base; its constructor, methods and cached values are Python's.
"""

from __future__ import annotations

import abc
import copy
import csv
import dataclasses
import functools
import gc
import io
import pickle
import sqlite3
import subprocess
import sys
import weakref
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from decimal import Decimal
from multiprocessing import get_context
from typing import Any, Generic, NamedTuple, TypeVar

import pytest

from humanloop.model import (
    ConfigResponse,
    ExperimentStatus,
    LogRequest,
    LogResponse,
    ModelConfigResponse,
    TestcaseResponse,
    TestsetResponse,
)
from humanloop.schemas import (
    AnyTypeSchema,
    BoolSchema,
    DictSchema,
    ListSchema,
    NoneSchema,
    NumberSchema,
    Schema,
    SchemaValidationError,
    StrSchema,
    schema_from_openapi,
)

from .support import make

T = TypeVar("T")

CONFIG: dict[str, Any] = {"type": "model", "id": "config_1", "model": "gpt-4"}
LOG: dict[str, Any] = {
    "id": "data_1",
    "config": CONFIG,
    "messages": [{"role": "user", "content": "hi", "name": None}],
    "duration": 0.5,
}


def ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


# -- subclasses -----------------------------------------------------------------------------------


class Named:
    """A mixin with a method, a class attribute and a cached value."""

    kind = "named"
    asked: list[str] = []  # noqa: RUF012

    def title(self) -> str:
        return f"{self.kind} {self['id']}"  # type: ignore[index]

    @functools.cached_property
    def words(self) -> list[str]:
        self.asked.append(self["id"])  # type: ignore[index]
        return str(self["id"]).split("_")  # type: ignore[index]


class Log(Named, LogResponse):
    kind = "log"

    @property
    def speaker(self) -> str:
        return str(self["messages"][0]["role"])

    def title(self) -> str:
        return super().title().upper()


class FinalLog(Log):
    @functools.cached_property
    def mood(self) -> dict[str, int]:
        return {"good": len(self)}


@pytest.mark.parametrize("cls", [Log, FinalLog])
def test_a_subclass_is_a_model(cls: Any) -> None:
    log = cls(LOG)
    assert type(log) is cls
    assert isinstance(log, LogResponse)
    assert not isinstance(LogResponse(LOG), cls)
    assert log == LogResponse(LOG)
    assert LogResponse(LOG) == log
    assert hash(log) == hash(LogResponse(LOG))
    assert isinstance(log.config, ModelConfigResponse)
    assert log.title() == "LOG DATA_1"
    assert log.speaker == "user"
    assert type(LogResponse(log)) is LogResponse
    assert cls(LogResponse(LOG)) == log
    for again in (cls(**LOG), cls.from_json(log.to_json()), log.set("output", "x"), cls(log)):
        assert type(again) is cls
    with pytest.raises(SchemaValidationError, match=cls.__name__):
        cls({**LOG, "id": 1})


def test_a_cached_property_computes_once() -> None:
    log: Any = FinalLog(LOG)
    assert log.words is log.words
    assert log.mood is log.mood == {"good": 4}
    assert log == LogResponse(LOG)
    assert hash(log) == hash(LogResponse(LOG))
    assert copy.copy(log) is log
    assert copy.deepcopy(log) is log
    again = pickle.loads(pickle.dumps(log))
    assert type(again) is FinalLog
    assert again == log
    assert vars(again) == {}, "what was computed is not sent"
    assert again.mood == log.mood
    with pytest.raises(AttributeError, match="mood2"):
        log.mood2 = 1


VALUES: dict[type, Any] = {
    ListSchema: [1, 2],
    StrSchema: "a",
    NumberSchema: 1.5,
    BoolSchema: True,
    NoneSchema: None,
    ExperimentStatus: "In progress",
    DictSchema: {"a": 1},
    AnyTypeSchema: {"a": 1},
}


@pytest.mark.parametrize("base", VALUES)
def test_a_subclass_of_each_type(base: Any) -> None:
    called = []

    class Own(base):  # type: ignore[misc]
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            called.append(arguments)

        @functools.cached_property
        def once(self) -> list[int]:
            return [1]

    value = VALUES[base]
    made = Own(value)
    assert called == [(value,)]
    assert isinstance(made, Own)
    assert made == base(value)
    assert made.once is made.once
    assert copy.deepcopy(made) is made


def test_slots_of_ones_own() -> None:
    class Own(LogResponse):
        __slots__ = ("__dict__",)

    class Later(Own):
        once = functools.cached_property(lambda self: [1])

    made: Any = Later(LOG)
    assert made.once is made.once


def test_the_constructor_runs_when_the_class_is_called() -> None:
    """As for any class: `__new__` makes, `__init__` gets the same arguments; nothing else does."""
    calls: list[Any] = []

    class Checked(LogRequest):
        def __init__(self, *arguments: Any, **keys: Any) -> None:
            super().__init__(*arguments, **keys)
            calls.append((arguments, keys))
            if self.get("output") == "":
                raise ValueError("an empty output")

    class Short(LogRequest):
        def __new__(cls, output: str, *, tries: int = 1) -> Any:
            return super().__new__(cls, {"output": output}, inputs={"tries": tries})

        def __init__(self, output: str, *, tries: int = 1) -> None:
            calls.append(tries)

    class Bare(LogRequest):
        def __new__(cls, output: str) -> Any:
            return super().__new__(cls, output=output)

    class Both(Bare):
        def __init__(self, output: str) -> None:
            super().__init__(output)

    assert Bare("a") == Both("a") == {"output": "a"}
    assert Checked({"output": "a"}, source="b") == {"output": "a", "source": "b"}
    assert calls.pop() == (({"output": "a"},), {"source": "b"})
    assert Checked.from_json("{}") == {}
    assert calls == []
    with pytest.raises(ValueError, match="empty"):
        Checked(output="")
    made = Short("a", tries=2)
    assert type(made) is Short
    assert made == {"output": "a", "inputs": {"tries": 2}}
    assert calls.pop() == 2
    assert type(Short.from_json("{}")) is Short
    assert type(made.set("output", "b")) is Short
    with pytest.raises(SchemaValidationError):
        Short(output=1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="tires"):
        Short("a", tires=2)  # type: ignore[call-arg]


def test_what_a_constructor_would_lose_is_refused() -> None:
    class Loud(LogRequest):
        def __init__(self, **keys: Any) -> None:
            super().__init__(**{**keys, "output": keys["output"].upper()})

    class Named(LogRequest):
        def __init__(self, name: str, text: str = "") -> None:
            super().__init__(output=f"{name} {text}")

    assert Loud(output="A") == {"output": "A"}
    for call in (lambda: Loud(output="a"), lambda: Named(name="a")):
        with pytest.raises(TypeError, match=r"define __new__, and let it return super\(\)"):
            call()
    with pytest.raises(TypeError, match="Named takes one value, or keywords"):
        Named("a", "b")

    class Extra(LogRequest):
        def __init__(self, **keys: Any) -> None:
            self.extra = 1

    with pytest.raises(AttributeError, match="can't set 'extra'"):
        Extra(output="a")


def test_a_constructor_of_a_mixin() -> None:
    calls = []

    class Counted:
        def __init__(self, *arguments: Any, **keys: Any) -> None:
            super().__init__(*arguments, **keys)
            calls.append(1)

    class Own(Counted, LogRequest):
        pass

    assert Own(output="a") == {"output": "a"}
    assert calls == [1]


def test_a_dataclass_it_can_not_be() -> None:
    with pytest.raises(TypeError, match="Own: __init__ can be defined in the body"):

        @dataclasses.dataclass
        class Own(LogRequest):
            extra: int = 0


def test_a_subclass_of_a_union_comes_before_its_branch() -> None:
    class Config(ConfigResponse):
        def __init__(self, *arguments: Any) -> None:
            self.made.append(arguments)

        made: list[Any] = []  # noqa: RUF012

        def __repr__(self) -> str:
            return f"<{self['model']}>"

    config: Any = Config(CONFIG)
    assert isinstance(config, ModelConfigResponse)
    assert isinstance(config, Config)
    assert repr(config) == "<gpt-4>"
    assert Config.made == [(CONFIG,)]


def test_mixins() -> None:
    class Priced(abc.ABC):
        @abc.abstractmethod
        def price(self) -> int: ...

    class Own(LogRequest, Priced, Generic[T]):
        def price(self) -> int:
            return 3

    made = Own(output="a")
    assert made.price() == 3
    assert isinstance(made, Priced)
    assert Own[int](output="a") == made


def test_a_class_keyword() -> None:
    class Base(LogRequest):
        tag = ""

        def __init_subclass__(cls, tag: str) -> None:
            super().__init_subclass__()
            cls.tag = tag

    class Own(Base, tag="x"):
        pass

    assert Own(output="a").tag == "x"


def test_what_a_property_raises_is_told() -> None:
    class Own(LogRequest):
        @property
        def wrong(self) -> Any:
            return "text".nothing  # type: ignore[attr-defined]

    with pytest.raises(AttributeError, match="'str' object has no attribute 'nothing'"):
        _ = Own(output="a").wrong


class Strict(LogResponse):
    """Narrows the schema of its base, whose references it takes over."""

    __openapi__ = {**LogResponse.__openapi__, "required": ["id", "config", "output"]}  # noqa: RUF012


class Pair(DictSchema):
    """Refers to a class of this module, and to one that it imports."""

    __openapi__ = {  # noqa: RUF012
        "type": "object",
        "properties": {"first": ref("Strict"), "second": ref("ConfigResponse")},
    }


class FinalPair(Pair):
    pass


def test_references_are_found_where_the_schema_object_stands() -> None:
    strict: Any = Strict({**LOG, "output": "a"})
    assert isinstance(strict.config, ModelConfigResponse)
    with pytest.raises(SchemaValidationError, match="/output"):
        Strict(LOG)
    pair: Any = FinalPair(first=strict, second=CONFIG)
    assert type(pair.first) is Strict
    assert isinstance(pair.second, ModelConfigResponse)

    class Local(FinalPair):
        pass

    assert type(Local(pair).first) is Strict  # type: ignore[attr-defined]


PROGRAM = """
import pickle
from humanloop.model import LogResponse

class Log(LogResponse):
    def first(self):
        return self["messages"][0]["content"]

log = Log(id="a", config={"type": "model", "id": "c", "model": "m"},
          messages=[{"role": "user", "content": "hi"}])
again = pickle.loads(pickle.dumps(log))
print(again.first(), type(again) is Log, type(again.config).__name__)
"""


def test_a_subclass_in_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("hi True ModelConfigResponse\n", "")


def test_a_field_of_pydantic() -> None:
    pydantic = pytest.importorskip("pydantic")
    adapter = pydantic.TypeAdapter(dict[str, Log])
    made = adapter.validate_python({"a": LOG})["a"]
    assert type(made) is Log
    assert made.speaker == "user"


def test_pytest_takes_no_model_for_a_test() -> None:
    for cls in (TestcaseResponse, TestsetResponse, Schema):
        assert cls.__test__ is False


# -- copies ---------------------------------------------------------------------------------------


class Place(NamedTuple):
    log: Any


@dataclasses.dataclass
class Run:
    log: Any
    more: list[Any]
    place: Place


UNION = make({"items": {"anyOf": [ref("A"), ref("B")]}}, A={"type": "array"}, B={"maxItems": 3})


def run() -> Run:
    inputs = DictSchema(a=[1, None, {"b": True}])
    return Run(Log(LOG), [ConfigResponse(CONFIG), UNION([[1], [2]])], Place(inputs))


def kinds(value: Any) -> Any:
    """The classes of a value's parts."""
    if isinstance(value, (tuple, list)):
        return type(value), [kinds(part) for part in value]
    return type(value)


def test_asdict_keeps_models() -> None:
    before = run()
    made = dataclasses.asdict(before)
    assert made == {"log": before.log, "more": before.more, "place": before.place}
    assert [*map(kinds, made.values())] == [*map(kinds, vars(before).values())]
    assert kinds(list(dataclasses.astuple(before))) == kinds([*vars(before).values()])
    changed = dataclasses.replace(before, log=LogResponse({**LOG, "id": "x"}))
    assert changed.log.id == "x"


def test_containers_take_an_iterator_as_dict_and_tuple_do() -> None:
    assert DictSchema(iter([("a", 1), ("b", 2)])) == {"a": 1, "b": 2}  # type: ignore[arg-type]
    assert ListSchema(iter([1, 2])) == (1, 2)
    for cls, wrong in ((DictSchema, [1]), (DictSchema, [("a",)]), (StrSchema, ["a"])):
        made: Any = cls
        with pytest.raises(SchemaValidationError, match="iterator"):
            made(iter(wrong))


def test_replace() -> None:
    replace: Any = getattr(copy, "replace", lambda model, **keys: model.__replace__(**keys))
    log = Log(LOG)
    made = replace(log, output="b", id="x")
    assert type(made) is Log
    assert made == {**log, "output": "b", "id": "x"}
    assert replace(log) == log
    with pytest.raises(SchemaValidationError, match="/id"):
        replace(log, id=1)


def test_weak_references() -> None:
    """To objects; strings, numbers and arrays have no room for them, as Python's own have not."""
    log = LogResponse(LOG)
    seen = weakref.WeakKeyDictionary({log: 1})
    assert seen[log] == 1
    kept = weakref.ref(log)
    assert kept() is log
    del log, seen
    gc.collect()
    assert kept() is None


@functools.lru_cache
def size(log: Any) -> int:
    return len(log)


def test_keys_of_caches() -> None:
    size.cache_clear()
    assert size(LogResponse(LOG)) == size(LogResponse(LOG)) == 4
    assert size.cache_info().hits == 1


def test_csv() -> None:
    file = io.StringIO()
    writer = csv.DictWriter(file, ["id", "duration", "config"], extrasaction="ignore")
    writer.writerow(LogResponse(LOG))
    writer.writerow(LogResponse(LOG).to_primitive() | {"config": None})
    csv.writer(file).writerow(DictSchema(a=1, b=1.5, c=True, d="x").values())
    first, second, third = file.getvalue().splitlines()
    assert first.startswith("data_1,0.5,\"ModelConfigResponse({'type'")
    assert (second, third) == ("data_1,0.5,", "1,1.5,True,x")


def test_sqlite() -> None:
    made = DictSchema(a=1, b=1.5, c=True, d="x", e=10**30, f=False)
    with sqlite3.connect(":memory:") as connection:
        row = connection.execute("select ?, ?, ?, ?, ?, ?", tuple(made.values())).fetchone()
        [named] = connection.execute("select :b", made.to_primitive()).fetchone()
    connection.close()
    assert [*map(repr, row)] == ["1", "1.5", "1", "'x'", "1e+30", "0"]
    assert named == 1.5


# -- classes that are sent ------------------------------------------------------------------------


def tree(name: str = "Tree") -> Any:
    return schema_from_openapi(
        {
            "type": "object",
            "properties": {
                "on": {"allOf": [ref("Flag")]},
                "kind": {"anyOf": [ref("Kind"), ref("Long")]},
                "at": {"allOf": [ref("Moment")], "format": "date-time"},
            },
            "additionalProperties": {"$ref": "#"},
        },
        components={
            "Flag": {"type": "boolean"},
            "Moment": {"type": "string", "format": "date-time"},
            "Kind": {"enum": ["a", "b"]},
            "Long": {"anyOf": [{"type": "string"}, {"type": "array", "items": ref("Kind")}]},
        },
        name=name,
    )


TREE: dict[str, Any] = {
    "on": True,
    "kind": "a",
    "at": "2024-01-01T00:00:00Z",
    "below": {"on": False, "kind": ["a", "b"]},
}


def parts(made: Any) -> list[type]:
    return [type(x) for x in (made, *made.values(), *made["below"].values(), *made["below"].kind)]


def test_an_unpickled_instance_is_of_the_same_class() -> None:
    made = tree()(TREE)
    other = tree()(TREE)
    for again in (pickle.loads(pickle.dumps(made)), pickle.loads(pickle.dumps([made]))[0]):
        assert parts(again) == parts(made)
        assert again == made == other
    assert type(other) is not type(made)
    assert pickle.loads(pickle.dumps(type(made))) is type(made)
    assert pickle.loads(pickle.dumps(type(made.kind))) is type(made.kind)


def test_elsewhere_two_pickles_give_one_class() -> None:
    made = tree()(TREE)
    texts = [pickle.dumps(made), pickle.dumps(type(made)), pickle.dumps(made["below"])]
    before, names = parts(made), [cls.__name__ for cls in parts(made)]
    gone = weakref.ref(type(made))
    del made
    assert gone() is before[0]
    del before
    gc.collect()
    assert gone() is None
    first, cls, below = map(pickle.loads, texts)
    assert [each.__name__ for each in parts(first)] == names
    assert type(first) is cls
    assert type(below) is type(first["below"])
    assert first["below"] == below
    assert first.set("x", {"on": True})["x"].on.is_true()


def echo(made: Any) -> Any:
    return made, type(made)


def test_a_process_hands_back_the_same_class() -> None:
    made = tree()(TREE)
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        [(again, cls), (log, _)] = pool.map(echo, [made, Log(LOG)])
    assert cls is type(made)
    assert parts(again) == parts(made)
    assert type(log) is Log


@pytest.mark.parametrize("used", [False, True])
def test_cloudpickle(used: bool) -> None:
    cloudpickle = pytest.importorskip("cloudpickle")

    class Config(ConfigResponse):
        __slots__ = ()

        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)

        def label(self) -> str:
            return f"{self['model']}!"

    class Status(ExperimentStatus):
        def label(self) -> str:
            return f"{self}!"

    class Own(LogResponse):
        pair = (1, 2)

        @property
        def label(self) -> str:
            return f"{self['id']}!"

    cls = tree()
    functions: dict[str, Callable[[], Any]] = {
        "config": lambda: Config(CONFIG).label(),
        "status": lambda: Status("In progress").label() + Status.IN_PROGRESS.label(),
        "own": lambda: (Own(LOG).label, type(Own(LOG).config).__name__, Own.from_json is not None),
        "tree": lambda: type(cls(TREE)).__name__ + repr(cls(TREE)["below"].on),
    }
    if used:
        assert [function() for function in functions.values()]
    sent = cloudpickle.dumps((functions, Config, Config(CONFIG) if used else None))
    again, config_class, config = cloudpickle.loads(sent)
    assert config_class is Config
    assert type(config) is (type(Config(CONFIG)) if used else type(None))
    assert [function() for function in again.values()] == [f() for f in functions.values()]
    code = (
        "import sys, cloudpickle\n"
        "functions, cls, config = cloudpickle.load(sys.stdin.buffer)\n"
        "print([function() for function in functions.values()])\n"
        "print(config is None or (config.label(), isinstance(config, cls)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], input=sent, capture_output=True, check=True)
    wanted = [function() for function in functions.values()]
    assert done.stdout.decode() == f"{wanted}\n{('gpt-4!', True) if used else True}\n"


def test_cloudpickle_of_a_class_made_at_run_time() -> None:
    """Sent by value, by a pickle, or with an instance: there it is one class."""
    cloudpickle = pytest.importorskip("cloudpickle")
    cls = tree()
    made = cls(TREE)
    again, same = cloudpickle.loads(cloudpickle.dumps((made, lambda: cls)))
    assert parts(again) == parts(made)
    assert same() is cls
    sent = cloudpickle.dumps((lambda: cls, made, pickle.dumps(made["below"])))
    code = (
        "import sys, pickle, cloudpickle\n"
        "function, made, below = cloudpickle.load(sys.stdin.buffer)\n"
        "cls = function()\n"
        "print(type(made) is cls, type(pickle.loads(below)) is cls, made == cls(made))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], input=sent, capture_output=True, check=True)
    assert done.stdout.decode() == "True True True\n"


def test_a_class_forgets_nothing_by_cloudpickle() -> None:
    cloudpickle = pytest.importorskip("cloudpickle")
    kinds = {kind: {"type": "object", "properties": {"a": {}}} for kind in ("A", "B")}
    both = [{"$ref": f"#/components/schemas/{kind}"} for kind in kinds]
    cls = make({"type": "object", "properties": {"a": both[0], "ab": {"anyOf": both}}}, **kinds)
    made = cls(a={}, ab={})
    cloudpickle.loads(cloudpickle.dumps((cls, made.a)))
    for again in (cls(a={}, ab={}), pickle.loads(pickle.dumps(made))):
        assert [type(again), type(again.a), type(again.ab)] == [cls, type(made.a), type(made.ab)]


def test_cloudpickle_of_booleans_and_nulls() -> None:
    cloudpickle = pytest.importorskip("cloudpickle")
    free = DictSchema(on=True, off=False, no=None)
    values = [*free.values(), BoolSchema(True), NoneSchema(None), make({"nullable": True})(None)]
    for value in values:
        assert cloudpickle.loads(cloudpickle.dumps(value)) is value
    assert cloudpickle.loads(cloudpickle.dumps(free)) == free


@pytest.mark.skipif(
    sys.version_info < (3, 12), reason="a cached_property has a lock, which can't be pickled"
)
def test_cloudpickle_of_a_class_with_a_cached_property() -> None:
    cloudpickle = pytest.importorskip("cloudpickle")

    class Cached(LogResponse):
        @functools.cached_property
        def words(self) -> list[str]:
            return self.output.split()

    sent = cloudpickle.dumps((Cached, Cached({**LOG, "output": "a b"})))
    code = (
        "import sys, pickle\n"
        "cls, made = pickle.load(sys.stdin.buffer)\n"
        "print(made.words, made.words is made.words, cls({**made, 'output': 'c'}).words)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], input=sent, capture_output=True, check=True)
    assert done.stdout.decode() == "['a', 'b'] True ['c']\n"


# -- how long classes live ------------------------------------------------------------------------


def use(cls: Any) -> Any:
    """Use a class in all ways that might keep it."""
    made = cls(TREE)
    assert cls.interpret(TREE) == made
    (
        repr(made),
        made.to_json(),
        made.to_primitive(),
        hash(made),
        made["below"].on,
        cls.has_directions,
    )
    assert cls.from_json(made.to_json()) == made
    return pickle.loads(pickle.dumps(made))


def alive(references: list[weakref.ref[type]]) -> int:
    gc.collect()
    return sum(reference() is not None for reference in references)


def test_classes_made_at_run_time_are_not_kept() -> None:
    references: list[weakref.ref[type]] = []
    for index in range(300):
        cls = tree(f"Tree{index}")
        references += [weakref.ref(part) for part in parts(use(cls)) if part not in (str, tuple)]
    del cls
    assert len(references) > 1500
    assert alive(references) == 0


def test_unpickling_keeps_nothing() -> None:
    sent = pickle.dumps(tree()(TREE))
    gc.collect()
    references = []
    for _ in range(300):
        made = pickle.loads(sent)
        references += map(weakref.ref, parts(made)[:1])
        del made
        if len(references) % 50 == 0:
            gc.collect()
    assert alive(references) == 0


def test_subclasses_are_not_kept() -> None:
    """Nor by the models that they refer to, whose converters they use."""

    def used() -> list[type]:
        class Own(LogResponse):
            once = functools.cached_property(lambda self: [self])

        class Config(ConfigResponse):
            pass

        class Whole(AnyTypeSchema):
            __openapi__ = {"allOf": [ref("ConfigResponse")]}  # noqa: RUF012

        made: list[Any] = [Own(LOG), Config(CONFIG), Whole(CONFIG)]
        made[0].once, [each.to_json() for each in made]
        return [Own, Config, Whole, *map(type, made)]

    assert alive([weakref.ref(cls) for cls in used()]) == 0


def test_null_and_booleans_of_a_class_are_one_each() -> None:
    cls = make({"type": "boolean", "nullable": True})
    assert cls(None) is cls(None)
    assert cls(True) is cls(True) is not cls(False)
    assert cls(Decimal(1) == 1) is cls(True)
