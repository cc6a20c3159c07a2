"""The same behaviour everywhere: whatever `frozendict` is, and from however many threads.

`frozendict` is a C type on Python 3.10, a subclass of dict in pure Python on later versions, and
may be a built-in that is no dict (PEP 814). Each is put to the test in a process of its own, since
the classes are made of it on import; all have to tell the same story.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

PURE = """
import sys
sys.modules["frozendict._frozendict"] = None  # as if the extension were not there
import frozendict
assert not frozendict.c_ext
"""

BUILTIN = """
import sys
import types
from collections.abc import Mapping


class frozendict:
    "What PEP 814 describes: immutable, hashable, a mapping, and not a dict."

    __slots__ = ("_items",)
    get, keys, values = Mapping.get, Mapping.keys, Mapping.values
    items, __contains__ = Mapping.items, Mapping.__contains__

    def __new__(cls, *arguments, **keys):
        self = object.__new__(cls)
        object.__setattr__(self, "_items", dict(*arguments, **keys))
        return self

    def __getitem__(self, key):
        return self._items[key]

    def __iter__(self):
        return iter(self._items)

    def __len__(self):
        return len(self._items)

    def __eq__(self, other):
        if not isinstance(other, (dict, frozendict)):
            return NotImplemented
        return self._items == dict(other)

    def __hash__(self):
        return hash(frozenset(self.items()))

    def __or__(self, other):
        return frozendict({**self, **other})

    def __ror__(self, other):
        return frozendict({**other, **self})

    def __repr__(self):
        return f"frozendict({self._items!r})"

    def __reduce__(self):
        return frozendict, (self._items,)

    def __setattr__(self, name, value):
        raise AttributeError(name)

    __delattr__ = __setattr__
    __class_getitem__ = classmethod(types.GenericAlias)


Mapping.register(frozendict)
sys.modules["frozendict"] = types.ModuleType("frozendict")
sys.modules["frozendict"].frozendict = frozendict
"""

STORY = """
import copy
import pickle
import pprint
from collections.abc import Mapping
from frozendict import frozendict
from humanloop import schemas
from humanloop.model import ConfigResponse, LogResponse, ModelConfigResponse, ProviderApiKeys

value = {
    "id": "data_1",
    "config": {"id": "config_1", "type": "model", "model": "gpt-4", "temperature": 0.5},
    "messages": [{"role": "user", "content": "hi", "name": None}],
    "inputs": {"a": [1, {"b": True}], "empty": {}},
    "output": "text " * 20,
}
tree = schemas.schema_from_openapi(
    {
        "properties": {"on": {"type": "boolean"}, "part": {"$ref": "#/components/schemas/Part"}},
        "additionalProperties": {"$ref": "#"},
    },
    components={"Part": {"allOf": [{"type": "object"}, {"required": ["a"]}]}},
    name="Tree",
)
branch = {"on": True, "part": {"a": [{}]}, "below": {"part": {"a": 1.5}, "below": {}}}

for cls, given in [(LogResponse, value), (tree, branch), (schemas.AnyTypeSchema, branch)] * 3:
    made, again = cls(given), cls.from_json(schemas.to_json(given))
    print(cls.__name__, type(made).__name__, isinstance(made, (frozendict, Mapping)), len(made))
    print(made)
    pprint.pprint(made, width=60)
    print(made.to_json(), made.to_primitive() == given, list(made), list(made.items())[:1])
    print(made == again, again == made, made == dict(made), frozendict(made) == made, made != given)
    print(hash(made) == hash(again) == hash(frozendict(made)), made in {again}, {made: 1}[again])
    for copied in (copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made)),
                   cls(made), cls(frozendict(given)), made.copy(), made.set("x", {}).delete("x")):
        print(copied == made, type(copied) is type(made), hash(copied) == hash(made))
    union = made | {"new": 1}
    print(type(union) is frozendict, len(union), type({"new": 1} | made) is frozendict)
    print(sorted(made), "on" in made, made.get("nothing", 5), made.get_item("nothing"))
    print([*reversed(list(made))], {**made} == made, made.keys() >= {"nothing"})

log = LogResponse(value)
print(log.config.temperature * 2, log.inputs["a"][1], log.messages[0].role, type(log.inputs))
print(isinstance(log.config, ConfigResponse), isinstance(log.config, ModelConfigResponse))
print(ProviderApiKeys(openai="hidden"), tree(part={"a": {"api_key": "hidden"}}))
print(LogResponse(frozendict(value)) == log, LogResponse(frozendict(value, user="u")).user)

match log:
    case {"id": str(name), "config": ConfigResponse(model=model)}:
        print("matched", name, model)

for change in (
    "made['id'] = 1", "del made['id']", "made.id = 1", "del made.id", "made.update(id=1)",
    "made.pop('id')", "made.popitem()", "made.clear()", "made.new = 1", "made.__dict__",
    "object.__setattr__(made, '__class__', schemas.DictSchema)", "made.nothing",
):
    made = LogResponse(value)
    try:
        exec(change)
    except (TypeError, AttributeError):
        print(change, "refused", made == log)

for cls, bad in [(LogResponse, {**value, "config": {"temprature": 1}, "duration": {}}),
                 (tree, {"on": 1, "part": {}, "below": {"below": 5}}), (tree, {1: 2}),
                 (schemas.DictSchema, []), (LogResponse, frozendict(id=5))]:
    try:
        cls(bad)
    except schemas.SchemaValidationError as error:
        print(error, error.errors, str(pickle.loads(pickle.dumps(error))) == str(error))

deep = {}
for _ in range(150):
    deep = {"a": deep}
one, two = tree(deep), tree(deep)
print(one == two, hash(one) == hash(two), repr(one) == repr(two))
print(pickle.loads(pickle.dumps(one)) == two)
"""


def told(program: str) -> str:
    """What a program prints in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def story() -> str:
    return told(STORY)


def test_the_story_is_a_good_one(story: str) -> None:
    assert "hidden" not in story
    assert "matched data_1 gpt-4" in story
    assert story.count("refused True") == 12
    assert story.endswith("True True True\nTrue\n")


@pytest.mark.parametrize("kind", [PURE, BUILTIN], ids=["pure Python", "built-in"])
def test_every_kind_of_frozendict_tells_the_same(kind: str, story: str) -> None:
    assert told(kind + STORY).splitlines() == story.splitlines()


THREADS = """
import pickle
import sys
import threading
from humanloop import model
from humanloop.schemas import BoolClass, schema_from_openapi

sys.setswitchinterval(1e-6)
config = {"id": "c", "type": "model", "model": "m", "temperature": 0.5}
ref = "#/components/schemas/"
components = {
    "Node": {"type": "object", "properties": {
        "next": {"$ref": ref + "Node"}, "on": {"type": "boolean"}, "kind": {"$ref": ref + "Kind"},
        "tag": {"anyOf": [{"$ref": ref + "Kind"}, {"$ref": ref + "Text"}]}}},
    "Kind": {"type": "string", "enum": ["a", "b"]},
    "Text": {"minLength": 1},
    "Both": {"allOf": [{"$ref": ref + "Node"}, {"required": ["on"]}]},
}
node = {"on": True, "kind": "a", "tag": "b", "next": {"on": False, "next": {}, "tag": [1]}}
jobs = [(lambda name=name: getattr(model, name), value) for name, value in {
    "LogResponse": {"id": "x", "config": config, "messages": [{"role": "user"}]},
    "ConfigResponse": config,
    "ExperimentStatus": "In progress",
    "Feedback": {"type": "rating", "value": 1},
    "AgentConfigResponse": {"id": "i", "type": "agent", "name": "a", "agent_class": "x",
                            "model_config": {"model": "m"}, "tools": []},
}.items()]
for name in ("Node", "Both"):
    cls = schema_from_openapi({"anyOf": [{"$ref": ref + name}, {"$ref": ref + "Text"}]},
                              components=components)
    jobs.append((lambda cls=cls: cls, node))
jobs.append((lambda cls=schema_from_openapi({"type": "boolean"}): cls, True))

barrier = threading.Barrier(32)
made = [[] for _ in jobs]
failed = []


def run():
    for (get, value), results in zip(jobs, made):
        barrier.wait()
        try:
            results.extend(get()(value) for _ in range(4))
        except BaseException as error:
            failed.append(error)


def classes(value):
    inner = value.values() if hasattr(value, "values") else value if type(value) is tuple else ()
    return type(value), tuple(map(classes, inner))


threads = [threading.Thread(target=run) for _ in range(32)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not failed, failed
for (get, value), results in zip(jobs, made):
    assert len(results) == 128
    assert len({classes(item) for item in results}) == 1, {classes(item) for item in results}
    assert len(set(results)) == len(set(map(repr, results))) == 1
    assert all(isinstance(item, get()) and item == results[0] for item in results)
    assert pickle.loads(pickle.dumps(results[0])) == results[0]
assert len(set(map(id, made[-1]))) == 1, "one instance of each class stands for true"
print("done")
"""


def test_threads_may_make_the_first_instances_of_all_classes_together() -> None:
    assert told(THREADS) == "done\n"
