"""Records of a type: which types there are, and that what goes out comes back."""

import dataclasses
import datetime
import decimal
import enum
import typing as t
import uuid

import msgspec
import pydantic
import pydantic.dataclasses
import pytest
import typing_extensions as te
from hypothesis import given, strategies as st

from flama.schemas import row_adapters as typed


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class PydanticAddress(pydantic.BaseModel):
    street: str
    since: datetime.date | None = None


class PydanticUser(pydantic.BaseModel):
    id: uuid.UUID
    name: str
    color: Color = Color.RED
    height: decimal.Decimal | None = None
    address: PydanticAddress | None = None
    tags: set[str] = set()


@dataclasses.dataclass
class DataclassAddress:
    street: str
    since: datetime.date | None = None


@dataclasses.dataclass
class DataclassUser:
    id: uuid.UUID
    name: str
    color: Color = Color.RED
    height: decimal.Decimal | None = None
    address: DataclassAddress | None = None
    tags: set[str] = dataclasses.field(default_factory=set)


@pydantic.dataclasses.dataclass(frozen=True)
class ValidatedUser:
    id: uuid.UUID
    name: str
    color: Color = Color.RED
    height: decimal.Decimal | None = None
    address: DataclassAddress | None = None
    tags: set[str] = dataclasses.field(default_factory=set)


@dataclasses.dataclass(slots=True, frozen=True, kw_only=True)
class SlottedUser:
    id: uuid.UUID
    name: str
    color: Color = Color.RED
    height: decimal.Decimal | None = None
    address: DataclassAddress | None = None
    tags: set[str] = dataclasses.field(default_factory=set)


class StructAddress(msgspec.Struct, rename="camel"):
    street: str
    since: datetime.date | None = None


class StructUser(msgspec.Struct, rename={"name": "fullName"}):
    id: uuid.UUID
    name: str
    color: Color = Color.RED
    height: decimal.Decimal | None = None
    address: StructAddress | None = None
    tags: set[str] = msgspec.field(default_factory=set)


TYPES = {
    PydanticUser: PydanticAddress,
    DataclassUser: DataclassAddress,
    ValidatedUser: DataclassAddress,
    SlottedUser: DataclassAddress,
    StructUser: StructAddress,
}
ENCODED = {"color", "address", "tags"}
ID = uuid.UUID("12345678-1234-5678-1234-567812345678")


def kept(type):
    records = typed.make_row_adapter(type, encoded=ENCODED)
    assert records is not None
    return records


def sent(type):
    records = typed.make_row_adapter(type, encoded=None)
    assert records is not None
    return records


@pytest.mark.parametrize("type", TYPES)
def test_a_row_becomes_the_type_with_the_types_of_its_fields(type):
    row = {
        "id": str(ID),
        "name": "Ann",
        "color": "blue",
        "height": decimal.Decimal("1.70"),
        "address": {"street": "Elm", "since": "2020-02-03"},
        "tags": ["a"],
        "unknown": 1,
    }

    (user,) = kept(type).read([row])

    address = TYPES[type](street="Elm", since=datetime.date(2020, 2, 3))
    assert user == type(
        id=ID, name="Ann", color=Color.BLUE, height=decimal.Decimal("1.70"), address=address, tags={"a"}
    )


@pytest.mark.parametrize("type", TYPES)
def test_a_value_becomes_data_with_json_where_that_is_kept(type):
    address = TYPES[type](street="Elm", since=datetime.date(2020, 2, 3))
    user = type(id=ID, name="Ann", color=Color.BLUE, height=decimal.Decimal(1), address=address, tags={"a"})

    assert kept(type).data(user) == {
        "id": ID,
        "name": "Ann",
        "color": "blue",
        "height": decimal.Decimal(1),
        "address": {"street": "Elm", "since": "2020-02-03"},
        "tags": ["a"],
    }


@pytest.mark.parametrize("type", TYPES)
@given(data=st.data())
def test_what_is_written_is_read_as_what_it_was(type, data):
    addresses = st.builds(TYPES[type], street=st.text(), since=st.none() | st.dates())
    user = data.draw(
        st.builds(
            type,
            id=st.uuids(),
            name=st.text(),
            color=st.sampled_from(Color),
            height=st.none() | st.decimals(allow_nan=False, allow_infinity=False),
            address=st.none() | addresses,
            tags=st.sets(st.text()),
        )
    )

    for records in (kept(type), sent(type)):
        assert records.read([dict(records.data(user))]) == [user]
        assert records.read([dict(records.data(user, changes=True))]) == [user]


@pytest.mark.parametrize("type", TYPES)
def test_what_is_sent_is_json_throughout(type):
    data = sent(type).data(type(id=ID, name="Ann", address=TYPES[type](street="Elm")))

    assert msgspec.json.decode(msgspec.json.encode(data)) == data
    assert data["id"] == str(ID)
    assert data["address"]["street"] == "Elm"


@pytest.mark.parametrize("type", TYPES)
def test_a_field_that_is_none_by_default_is_left_out_of_a_new_record(type):
    data = kept(type).data(type(id=ID, name="Ann"))

    assert data == {"id": ID, "name": "Ann", "color": "red", "tags": []}


def test_a_field_that_was_set_to_none_is_none():
    assert kept(PydanticUser).data(PydanticUser(id=ID, name="Ann", height=None))["height"] is None


def test_changes_are_what_was_set_on_a_model():
    user = PydanticUser(id=ID, name="Ann")
    user.height = None

    assert kept(PydanticUser).data(user, changes=True) == {"id": ID, "name": "Ann", "height": None}


@pytest.mark.parametrize("type", [type for type in TYPES if type is not PydanticUser])
def test_changes_are_all_fields_of_a_type_that_cannot_tell(type):
    data = kept(type).data(type(id=ID, name="Ann"), changes=True)

    assert data == {"id": ID, "name": "Ann", "color": "red", "height": None, "address": None, "tags": []}


@pytest.mark.parametrize("type", TYPES)
def test_a_dictionary_goes_in_as_well_with_whichever_fields_it_has(type):
    address = TYPES[type](street="Elm")

    data = kept(type).data({"address": address, "nonsense": 1, "color": Color.RED})

    assert data == {"address": {"street": "Elm", "since": None}, "nonsense": 1, "color": "red"}
    assert kept(type).data({"name": "Ann"}) == {"name": "Ann"}


@pytest.mark.parametrize("type", TYPES)
def test_what_is_no_data_goes_in_as_it_is(type):
    expression = object()

    assert kept(type).data({"color": expression})["color"] is expression


@pytest.mark.parametrize("type", TYPES)
def test_what_is_neither_of_the_type_nor_a_dictionary_is_refused(type):
    with pytest.raises(ValueError, match=f"a record is a {type.__name__} or a mapping, not 3"):
        kept(type).data(3)


@pytest.mark.parametrize("type", TYPES)
def test_a_row_that_does_not_fit_is_told_without_its_values(type):
    with pytest.raises(ValueError, match=f"no {type.__name__}: .*id") as caught:
        kept(type).read([{"id": "secret", "name": "Ann"}])

    assert "secret" not in str(caught.value)


def test_a_subclass_of_the_type_is_one_of_it_with_its_own_fields():
    class Admin(PydanticUser):
        level: int

    data = kept(PydanticUser).data(Admin(id=ID, name="Ann", level=3, address=PydanticAddress(street="Elm")))

    assert (data["level"], data["address"]) == (3, {"street": "Elm", "since": None})


class Movie(t.TypedDict):
    name: str
    color: Color
    year: te.NotRequired[int]


class TextMovie(te.TypedDict):
    name: str
    color: Color
    year: te.NotRequired[int]


@pytest.mark.parametrize("type", [Movie, TextMovie])
def test_a_typed_dict_is_made_of_what_it_declares(type):
    records = kept(type)

    assert records.read([{"name": "M", "color": "red", "more": 1}]) == [{"name": "M", "color": Color.RED}]
    assert records.data({"name": "M", "color": Color.RED}) == {"name": "M", "color": "red"}
    assert set(records.fields) == {"name", "color", "year"}
    with pytest.raises(ValueError, match=r"no .*Movie: .*name"):
        records.read([{"color": "red"}])
    with pytest.raises(ValueError, match="a record is a"):
        records.data(3)


class Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True)
    id: uuid.UUID
    name: str = pydantic.Field(alias="fullName")


class StrictStruct(msgspec.Struct, forbid_unknown_fields=True):
    id: uuid.UUID
    name: str


@pytest.mark.parametrize("type", [Strict, StrictStruct])
def test_columns_that_a_strict_type_does_not_know_are_left_out(type):
    (record,) = kept(type).read([{"id": str(ID), "name": "Ann", "more": 1}])

    assert (record.id, record.name) == (ID, "Ann")


def test_fields_are_kept_under_their_names_and_sent_under_their_aliases():
    record = Strict.model_validate({"id": ID, "fullName": "Ann"})

    assert kept(Strict).data(record) == {"id": ID, "name": "Ann"}
    assert sent(Strict).data(record) == {"id": str(ID), "fullName": "Ann"}
    assert sent(StructUser).data(StructUser(ID, "Ann"))["fullName"] == "Ann"
    assert kept(StructUser).data(StructUser(ID, "Ann"))["name"] == "Ann"


def test_an_unset_field_of_a_struct_is_left_out():
    class Item(msgspec.Struct):
        name: str | msgspec.UnsetType = msgspec.UNSET

    assert kept(Item).data(Item()) == kept(Item).data(Item(), changes=True) == {}


def test_extra_fields_of_a_model_are_fields():
    class Open(pydantic.BaseModel, extra="allow"):
        name: str

    (record,) = kept(Open).read([{"name": "Ann", "color": "red"}])

    assert kept(Open).data(record) == {"name": "Ann", "color": "red"}


def test_computed_fields_are_no_data():
    class Computed(pydantic.BaseModel):
        name: str

        @pydantic.computed_field
        def shout(self) -> str:
            return self.name.upper()

    assert sent(Computed).data(Computed(name="a")) == kept(Computed).data(Computed(name="a")) == {"name": "a"}


@pytest.mark.parametrize("type", [dict, dict[str, t.Any], t.Mapping[str, t.Any]], ids=str)
def test_of_dictionaries_nothing_has_to_be_made(type):
    assert typed.make_row_adapter(type, encoded=()) is None


@pytest.mark.parametrize("type", [int, "User", list[int], PydanticUser | None, DataclassUser(ID, "Ann")])
def test_what_is_no_type_of_records_is_named(type):
    with pytest.raises(TypeError, match="is no type of records"):
        typed.make_row_adapter(type, encoded=())
