"""Composition, references, recursion, discriminators and closed objects.

Sources: OpenAPI 3.0.3 Schema Object, Reference Object, Discriminator Object, and Composition and
Inheritance; JSON Schema Validation (wright-00) 5.22 to 5.25.
"""

from __future__ import annotations

from typing import Any

import pytest
from frozendict import frozendict

from humanloop.schemas import DictSchema, SchemaValidationError

from .support import accepts, deadline, errors_of, make

STRING = {"type": "string"}
NUMBER = {"type": "number"}


def ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


@pytest.mark.parametrize(
    ("schema", "value", "valid"),
    [
        ({"allOf": [{"minimum": 1}, {"maximum": 3}]}, 2, True),
        ({"allOf": [{"minimum": 1}, {"maximum": 3}]}, 4, False),
        ({"allOf": [{"minimum": 1}, {"maximum": 3}]}, 0, False),
        ({"allOf": [{"minimum": 1}], "maximum": 3}, 4, False),
        ({"allOf": [{}]}, None, True),
        ({"allOf": [STRING, NUMBER]}, 1, False),
        ({"anyOf": [STRING, {"minimum": 2}]}, "a", True),
        ({"anyOf": [STRING, {"minimum": 2}]}, 3, True),
        ({"anyOf": [STRING, {"type": "number", "minimum": 2}]}, 1, False),
        ({"anyOf": [STRING, NUMBER], "maxLength": 1}, "ab", False),
        ({"oneOf": [STRING, NUMBER]}, 1, True),
        ({"oneOf": [STRING, NUMBER]}, "a", True),
        ({"oneOf": [STRING, NUMBER]}, None, False),
        ({"oneOf": [{"type": "integer"}, {"minimum": 2}]}, 3, False),
        ({"oneOf": [{"type": "integer"}, {"minimum": 2}]}, 1, True),
        ({"oneOf": [{"type": "integer"}, {"minimum": 2}]}, 2.5, True),
        ({"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}, {"a": 1, "b": 2}, False),
        ({"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}, {"b": 2}, True),
        ({"oneOf": [{"oneOf": [STRING, NUMBER]}, {"type": "boolean"}]}, 1, True),
        ({"oneOf": [{"oneOf": [STRING, NUMBER]}, {"enum": [1]}]}, 1, False),
        ({"oneOf": [STRING, STRING]}, "a", False),
        ({"anyOf": [STRING, NUMBER], "oneOf": [NUMBER, {"type": "boolean"}]}, "a", False),
        ({"anyOf": [STRING, NUMBER], "oneOf": [NUMBER, {"type": "boolean"}]}, 1, True),
        ({"not": STRING}, 1, True),
        ({"not": STRING}, "a", False),
        ({"not": {}}, None, False),
        ({"not": {"not": STRING}}, "a", True),
        ({"not": {"not": STRING}}, 1, False),
        ({"not": {"properties": {"a": STRING}}}, {"a": "x"}, False),
        ({"not": {"properties": {"a": STRING}}}, {"a": 1}, True),
        ({"not": {"required": ["a", "b"]}, "type": "object"}, {"a": 1}, True),
    ],
)
def test_composition(schema: dict[str, Any], value: Any, valid: bool) -> None:
    assert accepts(schema, value) is valid


@pytest.mark.parametrize("value", [1, 1.5, True, None, "a", [1], {"a": 1}])
@pytest.mark.parametrize("keyword", ["allOf", "anyOf", "oneOf"])
def test_composed_schemas_take_every_json_type(keyword: str, value: Any) -> None:
    cls = make({keyword: [{}]})
    assert accepts(cls, value)
    assert isinstance(cls(value), cls)


def test_one_failing_branch_of_one_of_does_not_end_the_search() -> None:
    cls = make({"oneOf": [{"type": "object", "required": ["x"]}, STRING, NUMBER]})
    assert cls(0.5) == make(NUMBER)(0.5)
    assert cls("a") == "a"


def test_additional_properties_sees_only_the_properties_beside_it() -> None:
    """Wright-00 5.18: `additionalProperties` does not look into allOf."""
    schema = {
        "allOf": [{"properties": {"a": STRING}}],
        "properties": {"b": STRING},
        "additionalProperties": False,
    }
    assert accepts(schema, {"b": "x"})
    assert errors_of(schema, {"a": "x", "b": "y"}) == [("/a", "additionalProperties")]
    two = {
        "allOf": [{"properties": {"a": STRING}}, {"properties": {"b": STRING}}],
        "additionalProperties": {"type": "string", "maxLength": 1},
    }
    assert accepts(two, {"a": "x", "c": "y"})
    assert not accepts(two, {"a": "xx"})


def test_a_closed_branch_decides_between_branches() -> None:
    closed = {"type": "object", "properties": {"a": {}}, "additionalProperties": False}
    schema = {"oneOf": [closed, {"type": "object", "required": ["b"]}]}
    assert accepts(schema, {"a": 1})
    assert accepts(schema, {"a": 1, "b": 2})
    assert not accepts(schema, {"c": 1})


def test_undeclared_keys_are_kept_unless_the_schema_is_closed() -> None:
    assert make({"properties": {"a": {}}})({"x": [1], "a": 2}) == {"x": (1,), "a": 2}


# -- references -----------------------------------------------------------------------------------


def test_siblings_of_a_reference_are_ignored() -> None:
    """OpenAPI 3.0.3 Reference Object: "any properties added SHALL be ignored"."""
    sibling = {**ref("A"), "maxLength": 1, "type": "number", "nullable": True}
    for cls in (make(sibling, A=STRING), make({"allOf": [sibling]}, A=STRING)):
        assert accepts(cls, "abc")
        assert not accepts(cls, 1)
        assert not accepts(cls, None)
        assert isinstance(cls("abc"), cls)


def test_a_property_named_ref_is_a_property() -> None:
    cls = make({"properties": {"$ref": STRING}})
    assert accepts(cls, {"$ref": "a"})
    assert not accepts(cls, {"$ref": 1})


@pytest.mark.parametrize(
    "pointer",
    ["#/properties/a", "#/definitions/x~1y", "#/definitions/x~0y", "#/definitions/p%25q"],
)
def test_json_pointers_into_the_schema(pointer: str) -> None:
    """RFC 6901: ~1 is /, ~0 is ~, and in a fragment % is encoded."""
    cls = make(
        {
            "properties": {"a": STRING, "b": {"$ref": pointer}},
            "definitions": {"x/y": STRING, "x~y": STRING, "p%q": STRING},
        }
    )
    assert accepts(cls, {"b": "x"})
    assert errors_of(cls, {"b": 1}) == [("/b", "type")]


def test_references_to_references_and_names_with_odd_characters() -> None:
    components: dict[str, Any] = {"A": ref("B"), "B": ref("C.d-e_f"), "C.d-e_f": STRING}
    cls = make(ref("A"), **components)
    assert accepts(cls, "a")
    assert not accepts(cls, 1)


TREE = {
    "type": "object",
    "required": ["size"],
    "properties": {
        "size": NUMBER,
        "children": {"type": "array", "items": {"$ref": "#"}},
    },
}


def test_a_schema_may_refer_to_itself() -> None:
    cls = make(TREE)
    made = cls({"size": 1, "children": [{"size": 2, "children": [{"size": 3}]}]})
    assert isinstance(made.children[0].children[0], cls)
    assert made.children[0].children[0].size == 3
    bad = {"size": 1, "children": [{"children": [{"size": "x"}]}]}
    found = errors_of(cls, bad)
    assert sorted(found) == [
        ("/children/0/children/0/size", "type"),
        ("/children/0/size", "required"),
    ]


def test_schemas_may_refer_to_each_other() -> None:
    person = {"type": "object", "properties": {"pet": ref("Pet")}}
    pet = {"type": "object", "properties": {"owner": ref("Person"), "name": STRING}}
    cls = make(ref("Person"), Person=person, Pet=pet)
    assert accepts(cls, {"pet": {"owner": {"pet": {"name": "x"}}}})
    assert errors_of(cls, {"pet": {"owner": {"pet": {"name": 1}}}}) == [
        ("/pet/owner/pet/name", "type")
    ]


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"allOf": [{"$ref": "#"}]},
        {"anyOf": [{"$ref": "#"}, STRING]},
        {"oneOf": [STRING, {"$ref": "#"}]},
        {"not": {"$ref": "#"}},
        ref("A"),
        {"properties": {"a": ref("A")}},
    ],
)
def test_a_schema_that_only_leads_back_to_itself_is_refused_clearly(schema: Any) -> None:
    """There is no verdict; a ValueError when the class is made, or with the first value."""
    with deadline(), pytest.raises(ValueError, match=r"."):
        make(schema, A={"allOf": [ref("B")]}, B=ref("A"))({"a": 1})


# -- instances of what matched --------------------------------------------------------------------


def classes(value: Any) -> set[str]:
    return {c.__name__ for c in type(value).__mro__}


@pytest.mark.parametrize(
    ("schema", "value", "names"),
    [
        (ref("A"), {}, {"A"}),
        ({"allOf": [ref("A")]}, {}, {"A"}),
        ({"allOf": [ref("A"), ref("B")]}, {"b": 1}, {"A", "B"}),
        ({"anyOf": [ref("A"), ref("B")]}, {"b": 1}, {"A", "B"}),
        ({"anyOf": [ref("A"), ref("B")]}, {}, {"A"}),
        ({"oneOf": [ref("B"), ref("S")]}, {"b": 1}, {"B"}),
        ({"oneOf": [ref("B"), ref("S")]}, "s", {"S"}),
        ({"allOf": [{"anyOf": [{"oneOf": [ref("A"), STRING]}]}]}, {}, {"A"}),
        (ref("Alias"), {}, {"Alias", "A"}),
        (ref("Child"), {"b": 1}, {"Child", "A", "B"}),
        ({"not": ref("B")}, {}, set()),
        (ref("N"), 1, {"N"}),
        (ref("L"), [1], {"L"}),
        (ref("T"), True, {"T"}),
        (ref("U"), None, {"U"}),
        (ref("U"), "x", {"U", "S"}),
    ],
)
@pytest.mark.parametrize("inside", [False, True])
def test_a_value_is_an_instance_of_every_named_schema_that_it_matched(
    schema: dict[str, Any], value: Any, names: set[str], inside: bool
) -> None:
    components: dict[str, Any] = {
        "A": {"type": "object"},
        "B": {"type": "object", "required": ["b"]},
        "S": STRING,
        "N": NUMBER,
        "L": {"type": "array"},
        "T": {"type": "boolean"},
        "U": {"anyOf": [ref("S"), {"enum": [None]}]},
        "Alias": ref("A"),
        "Child": {"allOf": [ref("A"), ref("B")]},
    }
    target = {"properties": {"k": schema}} if inside else schema
    cls = make(target, **components)
    for _ in range(4):
        made = cls({"k": value})["k"] if inside else cls(value)
        assert classes(made) & set(components) == names
        assert made == value or made == tuple(value)
        if not inside:
            assert isinstance(made, cls)


def test_parts_found_by_several_branches_have_the_classes_of_all() -> None:
    a = {"properties": {"k": ref("A")}}
    b = {"properties": {"k": {"allOf": [ref("B")]}}}
    cls = make({"allOf": [a, b]}, A={"type": "object"}, B={"minProperties": 1})
    assert classes(cls({"k": {"x": 1}})["k"]) >= {"A", "B"}


def test_a_failed_branch_leaves_no_class_behind() -> None:
    """What one branch found of a part does not reach another branch that shares its schema."""
    lost = {
        "allOf": [
            ref("Shared"),
            {"properties": {"k": ref("Lost")}},
            {"required": ["absent"]},
        ]
    }
    cls = make(
        {"anyOf": [lost, ref("Shared")]},
        Shared={"anyOf": [ref("Kept")]},
        Kept={"type": "object", "properties": {"k": ref("Part")}},
        Part={"type": "object"},
        Lost={"type": "object"},
    )
    for _ in range(4):
        assert classes(cls({"k": {}})["k"]) & {"Part", "Lost"} == {"Part"}


def test_objects_without_a_name_are_frozendicts_with_accessors() -> None:
    made = make({})({"a": {"b": 1}})
    assert isinstance(made["a"], frozendict)
    assert isinstance(made["a"], DictSchema)


# -- discriminators -------------------------------------------------------------------------------

KINDS: dict[str, Any] = {
    "Cat": {
        "type": "object",
        "required": ["kind"],
        "properties": {"kind": STRING, "lives": {"type": "integer"}},
    },
    "Dog": {
        "type": "object",
        "required": ["kind", "name"],
        "properties": {"kind": STRING, "name": STRING},
    },
}


def pets(keyword: str = "oneOf", **discriminator: Any) -> Any:
    return make(
        {
            keyword: [ref("Cat"), ref("Dog")],
            "discriminator": {"propertyName": "kind", **discriminator},
        },
        **KINDS,
    )


@pytest.mark.parametrize("keyword", ["oneOf", "anyOf"])
def test_a_discriminator_names_the_schema(keyword: str) -> None:
    """OpenAPI 3.0.3 Discriminator Object: the value is a schema's name, also with a mapping."""
    for cls in (pets(keyword), pets(keyword, mapping={"feline": "#/components/schemas/Cat"})):
        assert classes(cls({"kind": "Cat", "lives": 9})) >= {"Cat"}
        assert "Dog" not in classes(cls({"kind": "Cat", "name": "both would match"}))
        assert errors_of(cls, {"kind": "Dog"}) == [("/name", "required")]


@pytest.mark.parametrize("target", ["#/components/schemas/Dog", "Dog"])
def test_a_discriminator_maps_values_to_schemas(target: str) -> None:
    """Discriminator Object, `mapping`: names or references."""
    cls = pets(mapping={"wolf": target, "Cat": target})
    assert classes(cls({"kind": "wolf", "name": "x"})) >= {"Dog"}
    assert errors_of(cls, {"kind": "wolf"}) == [("/name", "required")]
    assert errors_of(cls, {"kind": "Cat"}) == [("/name", "required")], "the mapping counts first"


@pytest.mark.parametrize(
    ("value", "places"),
    [
        ({"kind": "Fish"}, ["/kind"]),
        ({"kind": "cat"}, ["/kind"]),
        ({"kind": 1}, ["/kind"]),
        ({"kind": None}, ["/kind"]),
        ({"kind": ["Cat"]}, ["/kind"]),
        ({}, ["/kind"]),
        ([], [""]),
        ("Cat", [""]),
        (None, [""]),
    ],
)
def test_unknown_and_missing_discriminators_are_refused(value: Any, places: list[str]) -> None:
    for cls in (pets(), pets("anyOf")):
        assert not accepts(cls, value)
        assert [pointer for pointer, _ in errors_of(cls, value)] == places


def test_the_errors_of_the_named_branch_are_told() -> None:
    assert errors_of(pets(), {"kind": "Cat", "lives": "nine"}) == [("/lives", "type")]


def test_keywords_beside_a_discriminator_hold_too() -> None:
    cls = make(
        {
            "oneOf": [ref("Cat"), ref("Dog")],
            "anyOf": [{"required": ["lives"]}, {"required": ["name"]}],
            "discriminator": {"propertyName": "kind"},
        },
        **KINDS,
    )
    assert accepts(cls, {"kind": "Cat", "lives": 1})
    assert not accepts(cls, {"kind": "Cat"})


def test_a_discriminator_of_an_all_of_parent_chooses_the_child() -> None:
    """OpenAPI 3.0.3, Composition and Inheritance: "the Cat schema [is] used in conjunction with
    this schema"."""
    parent = {
        "type": "object",
        "required": ["petType"],
        "properties": {"petType": STRING},
        "discriminator": {"propertyName": "petType"},
    }
    child = {"allOf": [ref("Pet"), {"type": "object", "required": ["skill"]}]}
    cls = make(ref("Pet"), Pet=parent, Cat=child)
    assert accepts(cls, {"petType": "Cat", "skill": "hunting"})
    assert not accepts(cls, {"petType": "Cat"})
    assert classes(cls({"petType": "Cat", "skill": "hunting"})) >= {"Pet", "Cat"}
    assert errors_of(make(ref("Cat"), Pet=parent, Cat=child), {"petType": "Cat"}) == [
        ("/skill", "required")
    ]


# -- hostile --------------------------------------------------------------------------------------

ANY_JSON = {
    "oneOf": [
        STRING,
        NUMBER,
        {"type": "boolean"},
        {"type": "array", "items": {"$ref": "#"}},
        {"type": "object", "additionalProperties": {"$ref": "#"}},
    ]
}


def test_cyclic_values_get_a_clear_error() -> None:
    cycle: list[Any] = [1]
    cycle.append({"a": cycle})
    for schema in ({}, ANY_JSON, {"type": "array"}):
        with deadline(), pytest.raises(SchemaValidationError, match="contains itself"):
            make(schema)(cycle)
    wide: list[Any] = []
    wide += [wide] * 100
    with deadline(), pytest.raises(SchemaValidationError) as caught:
        make({})(wide)
    assert [error.pointer for error in caught.value.errors] == [f"/{i}" for i in range(100)]


def test_the_same_list_at_several_places_is_no_cycle() -> None:
    shared = [1]
    assert make({})({"a": shared, "b": [shared, shared]}) == {"a": (1,), "b": ((1,), (1,))}


def test_many_empty_copies_of_one_list_are_no_cycle_but_a_value() -> None:
    value: list[Any] = []
    for _ in range(12):
        value = [value, value]
    with deadline():
        assert accepts({}, value)


def test_an_error_under_many_compositions_is_found_in_time() -> None:
    value: Any = None
    for _ in range(30):
        value = [value]
    with deadline():
        assert not accepts(ANY_JSON, value)
        assert errors_of(ANY_JSON, value)


@pytest.mark.parametrize("keyword", ["anyOf", "oneOf", "allOf"])
@pytest.mark.parametrize("leaf", [0, "bad"])
def test_overlapping_recursive_branches_take_linear_time(keyword: str, leaf: Any) -> None:
    """Each branch looks at all that is below: 2 to the power of the depth, if done naively."""
    array = {"type": "array", "items": {"$ref": "#"}}
    schema = {"anyOf": [NUMBER, {keyword: [array, {**array, "maxItems": 5}]}]}
    value: Any = leaf
    for _ in range(40):
        value = [value]
    cls = make(schema)
    with deadline(3):
        for _ in range(2):
            try:
                cls(value)
            except SchemaValidationError as error:
                assert str(error)  # noqa: PT017


def test_a_wide_value_takes_linear_time() -> None:
    cls = make({"type": "object", "additionalProperties": NUMBER})
    with deadline(20):
        made = cls({str(index): index for index in range(20_000)})
        assert len(made) == 20_000
        with pytest.raises(SchemaValidationError) as caught:
            make({"properties": {"a": {}}, "additionalProperties": False})(made)
        assert len(caught.value.errors) == 20_000
        assert len(str(caught.value)) < 20_000
