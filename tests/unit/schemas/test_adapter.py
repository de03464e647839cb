"""Schemas: which annotations are one, and what is special of each library."""

import collections.abc
import dataclasses
import json
import typing as t

import msgspec
import pydantic
import pydantic.dataclasses
import pytest
import typing_extensions as te

from flama import exceptions, schemas, types
from flama.schemas.adapter import json_schema


class Model(pydantic.BaseModel):
    name: str
    age: int = pydantic.Field(default=1, gt=0)


class Item(msgspec.Struct):
    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    name: str


@pydantic.dataclasses.dataclass
class Validated:
    name: str


class Puppy(t.TypedDict):
    name: str


class TextPuppy(te.TypedDict):
    name: str


def as_dictionary(model, **options):
    return schemas.adapter(t.Annotated[types.Schema, types.SchemaMetadata(model, **options)])


@pytest.mark.parametrize(
    "annotation",
    [int, str, list[int], None, t.Any, object, "Model", int | None, type, Model(name="x")],
    ids=repr,
)
def test_what_is_no_schema_has_no_adapter(annotation):
    assert schemas.adapter(annotation) is None


@pytest.mark.parametrize("model", [Model, Item, Slotted, Validated, TextPuppy], ids=lambda model: model.__name__)
def test_a_model_a_list_of_it_and_their_dictionaries_are_schemas(model):
    body = b'{"name": "A"}'
    whole = {"name": "A", "age": 1} if model is Model else {"name": "A"}

    one, many = schemas.adapter(model).decode(body), schemas.adapter(list[model]).decode(b"[" + body + b"]")

    assert many == [one]
    assert as_dictionary(model).decode(body) == whole
    assert json.loads(schemas.adapter(model).encode(one)) == whole


def test_a_typed_dict_of_the_standard_library_is_a_schema_too():
    assert as_dictionary(Puppy).decode(b'{"name": "A"}') == {"name": "A"}


@pytest.mark.parametrize("annotation", [types.Schema, types.SchemaList], ids=repr)
def test_schema_metadata_is_found_and_makes_lists_of_lists(annotation):
    metadata = types.SchemaMetadata(Model, partial=True)

    assert types.get_schema_metadata(t.Annotated[annotation, metadata]) == metadata
    assert types.get_schema_metadata(annotation) is None
    assert types.is_schema(t.Annotated[annotation, metadata])
    assert types.is_schema_partial(list[t.Annotated[types.Schema, metadata]])
    assert not types.is_schema(annotation)


def test_a_root_model_gives_its_root():
    class Names(pydantic.RootModel[list[str]]):
        pass

    assert schemas.adapter(Names).decode(b'["a"]').root == ["a"]
    assert as_dictionary(Names).decode(b'["a"]') == ["a"]


def test_a_generic_model_is_a_schema():
    T = t.TypeVar("T")

    class Page(pydantic.BaseModel, t.Generic[T]):
        items: list[T]

    assert schemas.adapter(Page[Model]).decode(b'{"items": [{"name": "A"}]}').items == [Model(name="A")]


def test_a_union_of_models_in_a_field_becomes_a_dictionary():
    class Cat(pydantic.BaseModel):
        kind: t.Literal["cat"]

    class Dog(pydantic.BaseModel):
        kind: t.Literal["dog"]

    class Home(pydantic.BaseModel):
        pet: Cat | Dog = pydantic.Field(discriminator="kind")

    assert as_dictionary(Home).decode(b'{"pet": {"kind": "dog"}}') == {"pet": {"kind": "dog"}}


def test_models_deep_in_containers_become_dictionaries():
    class Deep(pydantic.BaseModel):
        by_name: dict[str, list[Model]]
        pair: tuple[Model, int]
        any: t.Any = None

    found = as_dictionary(Deep).decode(
        b'{"by_name": {"x": [{"name": "A"}]}, "pair": [{"name": "B"}, 1], "any": {"a": [1]}}'
    )

    assert found == {
        "by_name": {"x": [{"name": "A", "age": 1}]},
        "pair": ({"name": "B", "age": 1}, 1),
        "any": {"a": [1]},
    }


def test_a_named_tuple_in_a_field_stays_what_it_is():
    class Pair(t.NamedTuple):
        a: int
        b: int

    class Holder(pydantic.BaseModel):
        pair: Pair
        model: Model

    found = as_dictionary(Holder).decode(b'{"pair": [1, 2], "model": {"name": "A"}}')

    assert found == {"pair": Pair(1, 2), "model": {"name": "A", "age": 1}}


def test_a_set_of_frozen_models_becomes_something_that_can_hold_dictionaries():
    class Tag(pydantic.BaseModel, frozen=True):
        name: str

    class Tagged(pydantic.BaseModel):
        tags: set[Tag]

    found = as_dictionary(Tagged).decode(b'{"tags": [{"name": "a"}]}')

    assert list(found["tags"]) == [{"name": "a"}]


def test_an_abstract_container_in_a_field_is_taken():
    class Holder(pydantic.BaseModel):
        mapping: collections.abc.Mapping[str, Model]
        sequence: collections.abc.Sequence[Model]

    found = as_dictionary(Holder).decode(b'{"mapping": {"a": {"name": "A"}}, "sequence": [{"name": "B"}]}')

    assert found == {"mapping": {"a": {"name": "A", "age": 1}}, "sequence": [{"name": "B", "age": 1}]}


def test_private_attributes_and_computed_fields_are_not_data():
    class Rich(pydantic.BaseModel):
        name: str
        _secret: str = pydantic.PrivateAttr("x")

        @pydantic.computed_field
        @property
        def shout(self) -> str:
            return self.name.upper()

    assert as_dictionary(Rich).decode(b'{"name": "a"}') == {"name": "a"}
    assert json.loads(schemas.adapter(Rich).encode(Rich(name="a"))) == {"name": "a", "shout": "A"}


@pytest.mark.parametrize("body", [b'{"age": 0}', b'{"age": null}', b'{"name": null}', b'{"age": "x"}'], ids=repr)
def test_a_partial_schema_keeps_the_constraints_of_what_is_sent(body):
    with pytest.raises(exceptions.ValidationError):
        as_dictionary(Model, partial=True).decode(body)


def test_a_partial_schema_runs_the_validators_of_the_fields_that_are_sent_only():
    class Strict(pydantic.BaseModel):
        name: str
        age: int

        @pydantic.field_validator("name", "age")
        @classmethod
        def check(cls, value):
            assert value is not None
            return value

    adapter = as_dictionary(Strict, partial=True)

    assert adapter.decode(b'{"age": 1}') == {"age": 1}
    assert adapter.decode(b"{}") == {}


def test_the_model_of_a_partial_schema_is_not_changed():
    as_dictionary(Model, partial=True)

    with pytest.raises(exceptions.ValidationError):
        schemas.adapter(Model).decode(b"{}")
    assert Model.model_fields["name"].is_required()


def test_a_partial_schema_of_a_model_that_forbids_more_forbids_more():
    class Forbidding(pydantic.BaseModel, extra="forbid"):
        name: str

    class Item(msgspec.Struct, forbid_unknown_fields=True):
        name: str

    @pydantic.dataclasses.dataclass(config={"extra": "forbid"})
    class Data:
        name: str

    for model in (Forbidding, Item, Data):
        with pytest.raises(exceptions.ValidationError):
            as_dictionary(model, partial=True).decode(b'{"more": 1}')


@pytest.mark.parametrize("decorate", [dataclasses.dataclass, pydantic.dataclasses.dataclass], ids=["plain", "pydantic"])
def test_a_partial_dataclass_keeps_what_is_said_of_its_fields(decorate):
    @decorate
    class Data:
        name: t.Annotated[str, pydantic.Field(max_length=2, description="What it is called")]
        age: int = pydantic.Field(default=1, gt=0, alias="Age")

    partial = as_dictionary(Data, partial=True)
    annotation = t.Annotated[types.Schema, types.SchemaMetadata(Data, partial=True)]
    _, described = json_schema(annotation, output=False, reference="#/{name}")

    assert partial.decode(b'{"Age": 2}') == {"age": 2}
    for body in (b'{"Age": 0}', b'{"name": "abc"}'):
        with pytest.raises(exceptions.ValidationError):
            partial.decode(body)
    assert described["PartialData"]["properties"]["name"]["description"] == "What it is called"


def test_a_partial_dataclass_takes_fields_by_their_names_where_it_does_so_itself():
    @pydantic.dataclasses.dataclass(config={"validate_by_name": True})
    class Data:
        age: int = pydantic.Field(default=1, alias="Age")

    assert [as_dictionary(Data, partial=True).decode(body) for body in (b'{"Age": 2}', b'{"age": 2}')] == [
        {"age": 2}
    ] * 2


def test_a_struct_with_a_tag_and_a_default_is_partial_too():
    class Cat(msgspec.Struct, tag="cat", rename={"name": "Name"}):
        name: str
        age: int = 3

    assert as_dictionary(Cat).decode(b'{"type": "cat", "Name": "A"}') == {"name": "A", "age": 3}
    assert as_dictionary(Cat, partial=True).decode(b'{"Name": "A"}') == {"name": "A"}


def test_errors_are_by_dotted_name_the_first_of_each_and_body_for_the_whole():
    errors = [
        {"type": "a", "loc": ("x", 0, "y"), "msg": "first"},
        {"type": "b", "loc": ("x", 0, "y"), "msg": "second"},
        {"type": "c", "loc": (), "msg": "whole"},
    ]

    detail = schemas.error_detail(errors)

    assert detail == {
        "x.0.y": {"type": "a", "loc": ["x", 0, "y"], "msg": "first"},
        "body": {"type": "c", "loc": [], "msg": "whole"},
    }
    assert list(schemas.error_detail(errors[:1], ("p",))) == ["p.x.0.y"]


@pytest.mark.parametrize(("annotation", "text", "value"), [(int, "3", 3), (list[int], ["1", "2"], [1, 2])], ids=repr)
def test_a_parameter_s_reader_gives_the_value_or_the_errors(annotation, text, value):
    read = schemas.parameter_reader(annotation, many=isinstance(text, list))

    assert read(text) == value
    with pytest.raises(ValueError, match="parsing"):
        read("x" if isinstance(text, str) else ["x"])


def test_a_field_whose_name_the_model_takes_from_an_alias_is_validated_in_the_answer_either_way():
    class Aliased(pydantic.BaseModel):
        first_name: str = pydantic.Field(alias="firstName")

    adapter = schemas.adapter(Aliased)

    assert adapter.encode({"firstName": "A"}) == adapter.encode({"first_name": "A"}) == b'{"firstName":"A"}'


def test_a_struct_s_answer_is_made_of_its_fields_names_either_way():
    class Renamed(msgspec.Struct, rename="camel"):
        first_name: str

    adapter = schemas.adapter(Renamed)

    assert adapter.encode({"firstName": "A"}) == adapter.encode({"first_name": "A"}) == b'{"firstName":"A"}'


@pytest.mark.parametrize("model", [Model, Item, Slotted, Puppy], ids=lambda model: model.__name__)
def test_a_value_that_does_not_fit_can_not_be_encoded(model):
    with pytest.raises(exceptions.SerializationError):
        schemas.adapter(model).encode({"nonsense": 1})
