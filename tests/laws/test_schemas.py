"""What a schema takes and gives is the same whichever library the model is of."""

import asyncio
import contextlib
import dataclasses
import datetime
import decimal
import itertools
import json
import typing as t
import uuid

import hypothesis
import msgspec
import pydantic
import pytest
import typing_extensions as te
from hypothesis import strategies as st

from flama import exceptions, schemas, types

TEXT = st.text(st.characters(codec="utf-8"), max_size=10)
# The years that both libraries write with four digits; microseconds are what both keep.
MOMENTS = st.datetimes(
    datetime.datetime(1000, 1, 1),  # noqa: DTZ001 - the zone is given beside
    datetime.datetime(9000, 1, 1),  # noqa: DTZ001
    timezones=st.just(datetime.UTC),
)
FIELDS = {
    int: st.integers(-(2**63), 2**63 - 1),
    str: TEXT,
    bool: st.booleans(),
    float: st.floats(allow_nan=False, allow_infinity=False),
    uuid.UUID: st.uuids(),
    datetime.date: st.dates(datetime.date(1000, 1, 1)),
    datetime.datetime: MOMENTS,
    decimal.Decimal: st.decimals(-(10**9), 10**9, places=3),
    list[int]: st.lists(st.integers(-100, 100), max_size=3),
    dict[str, int]: st.dictionaries(TEXT, st.integers(-100, 100), max_size=3),
    str | None: st.none() | TEXT,
    t.Literal["a", "b"]: st.sampled_from(["a", "b"]),
}
SPECIFICATIONS = st.lists(st.sampled_from(list(FIELDS)), min_size=1, max_size=5).map(
    lambda annotations: {f"f{index}": annotation for index, annotation in enumerate(annotations)}
)


def models(fields):
    """The same model, in each of the forms that are taken for a schema."""
    return [
        pydantic.create_model("Model", **{name: (annotation, ...) for name, annotation in fields.items()}),
        dataclasses.make_dataclass("Data", fields.items()),
        te.TypedDict("Dictionary", fields),
        msgspec.defstruct("Item", fields.items()),
    ]


def as_dictionary(model, **options):
    return schemas.adapter(t.Annotated[types.Schema, types.SchemaMetadata(model, **options)])


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(st.data())
def test_a_value_that_was_encoded_is_decoded_as_it_was(data):
    fields = data.draw(SPECIFICATIONS)
    value = {name: data.draw(FIELDS[annotation]) for name, annotation in fields.items()}

    for model in models(fields):
        adapter = as_dictionary(model)
        assert adapter.decode(adapter.encode(value)) == value


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(st.data())
def test_all_libraries_read_what_each_of_them_writes(data):
    fields = data.draw(SPECIFICATIONS)
    value = {name: data.draw(FIELDS[annotation]) for name, annotation in fields.items()}
    adapters = [as_dictionary(model) for model in models(fields)]

    for writer in adapters:
        for reader in adapters:
            assert reader.decode(writer.encode(value)) == value


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(st.data())
def test_a_partial_schema_gives_the_very_fields_that_were_sent(data):
    fields = data.draw(SPECIFICATIONS)
    sent = data.draw(st.sets(st.sampled_from(list(fields))))
    value = {name: data.draw(FIELDS[fields[name]]) for name in sent}
    body = msgspec.json.encode({**value, "unknown": 1})

    for model in models(fields):
        assert as_dictionary(model, partial=True).decode(body) == value


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["f0", "f1", "x"]), inner, max_size=3),
    max_leaves=8,
)


@hypothesis.settings(max_examples=100, deadline=None)
@hypothesis.given(SPECIFICATIONS, JSON.map(pydantic.TypeAdapter(t.Any).dump_json) | st.binary(max_size=30))
def test_a_body_is_valid_or_refused_by_an_error_that_is_answered(fields, body):
    for model in models(fields):
        for annotation in (model, list[model], t.Annotated[types.Schema, types.SchemaMetadata(model, partial=True)]):
            adapter = schemas.adapter(annotation)
            try:
                value = adapter.decode(body)
            except (exceptions.ValidationError, exceptions.DecodeError) as error:
                msgspec.json.encode(error.detail)  # it can be told to the client
            else:
                adapter.encode(value)


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(st.data())
def test_a_model_that_was_decoded_holds_what_the_dictionary_does(data):
    fields = data.draw(SPECIFICATIONS)
    value = {name: data.draw(FIELDS[annotation]) for name, annotation in fields.items()}

    for model in models(fields):
        body = as_dictionary(model).encode(value)
        decoded = schemas.adapter(model).decode(body)
        assert (decoded if isinstance(decoded, dict) else {name: getattr(decoded, name) for name in fields}) == value


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(SPECIFICATIONS)
def test_a_schema_has_the_names_of_its_fields_whichever_library_it_is_of(fields):
    for model in models(fields):
        assert schemas.names(model) == schemas.names(model, output=True) == tuple(fields)


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(JSON)
def test_the_names_that_a_body_has_are_those_of_its_objects(content):
    body = msgspec.json.encode(content)
    objects = content if isinstance(content, list) else [content]
    expected = list(dict.fromkeys(name for each in objects if isinstance(each, dict) for name in each))

    named = [as_dictionary(model).names(body) for model in models({"f0": int})]

    assert named[0] == named[1] == expected
    assert named[2] == named[3] == (expected if all(isinstance(each, dict) for each in objects) else [])


WORDS = st.text("abc", min_size=1, max_size=2)
PATHS = st.lists(WORDS, min_size=2, max_size=2).map(lambda path: pydantic.AliasPath(*path))
ALIASES = (
    st.none()
    | WORDS
    | PATHS
    | st.lists(WORDS | PATHS, min_size=1, max_size=3).map(lambda choices: pydantic.AliasChoices(*choices))
)
CONFIGS = st.fixed_dictionaries({"extra": st.just("forbid")}, optional={"validate_by_name": st.just(True)})


@hypothesis.settings(max_examples=200, deadline=None)
@hypothesis.given(st.lists(ALIASES, min_size=1, max_size=3), CONFIGS, WORDS | st.sampled_from(["f0", "f1", "f2"]))
def test_a_field_may_be_sent_by_the_names_that_its_schema_tells_and_by_no_other(aliases, config, name):
    fields = {f"f{n}": (t.Any, pydantic.Field(None, validation_alias=alias)) for n, alias in enumerate(aliases)}
    model = pydantic.create_model("Model", __config__=config, **fields)
    # whatever a path may lead to
    body = msgspec.json.encode(
        {name: dict.fromkeys(("a", "b", "c", *map("".join, itertools.product("abc", "abc"))), 1)}
    )

    try:
        schemas.adapter(model).decode(body)
        is_known = True
    except exceptions.ValidationError as error:
        is_known = all(each["type"] != "extra_forbidden" for each in error.detail.values())

    assert is_known == (name in schemas.names(model))


# Large bodies


class Part(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")

    name: str
    count: int = 0
    inner: "Part | None" = None


class Piece(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    count: int = 0
    inner: "Piece | None" = None


class Entry(te.TypedDict):
    name: te.Required[str]
    count: te.NotRequired[int]


NAMED = st.fixed_dictionaries(
    {"name": TEXT | st.just(1)},
    optional={"count": st.integers(0, 9) | TEXT, "inner": st.none() | st.just({"name": "a"}) | st.just({}), "x": TEXT},
)
RECORDS = st.lists(NAMED | st.just(None) | st.just([]), max_size=12) | st.lists(st.just({}), max_size=120) | NAMED


def outcome(decode):
    """Return what a body is decoded to; of a refusal, all but the inputs, which no large body's error has."""
    try:
        return decode()
    except exceptions.ValidationError as error:
        return [{key: value for key, value in each.items() if key != "input"} for each in error.detail.values()]
    except exceptions.DecodeError:
        return exceptions.DecodeError


@hypothesis.given(st.sampled_from([Part, Piece, Entry]), st.booleans(), RECORDS, st.integers(0, 2))
def test_a_list_is_decoded_in_slices_as_it_is_at_once(model, plain, records, spaces):
    annotation = list[t.Annotated[types.Schema, types.SchemaMetadata(model)]] if plain else list[model]
    adapter = schemas.adapter(annotation)
    body = json.dumps(records, indent=spaces or None).encode()

    sliced = outcome(lambda: asyncio.run(schemas.decode_large(adapter, body, slice_size=30)))
    names = asyncio.run(schemas.names_of_large(adapter, body, 1_000, slice_size=30))

    assert sliced == outcome(lambda: adapter.decode(body))
    if not isinstance(records, list) or all(isinstance(record, dict) for record in records):
        assert sorted(names) == sorted(adapter.names(body))


@hypothesis.given(RECORDS, st.integers(1, 40), st.sampled_from([b"[%b", b"%b]", b"%b,", b"[%b,]", b"[,%b]", b"[%b}"]))
def test_a_list_that_is_no_json_is_none_in_slices(records, size, wrong):
    adapter = schemas.adapter(list[Part])
    body = wrong % json.dumps(records).encode()

    sliced = outcome(lambda: asyncio.run(schemas.decode_large(adapter, body, slice_size=size)))

    assert sliced == outcome(lambda: adapter.decode(body)) == exceptions.DecodeError


class Nested(pydantic.BaseModel):
    numbers: list[int] = []
    named: dict[str, int] = {}
    either: list[int] | list[str] = []
    parts: list[Part] = []
    pairs: tuple[int, str] | None = None
    unique: set[int] = set()


FEW = st.lists(st.integers() | TEXT | st.none(), max_size=3)


@hypothesis.given(
    st.fixed_dictionaries(
        {},
        optional={
            "numbers": FEW,
            "named": st.dictionaries(TEXT, st.integers(0, 9) | TEXT, max_size=3),
            "either": FEW,
            "parts": st.lists(NAMED, max_size=3),
            "pairs": st.none() | FEW,
            "unique": FEW,
        },
    )
)
def test_a_large_record_has_the_value_of_a_small_one_or_the_first_of_its_collections_errors(record):
    adapter, body = schemas.adapter(Nested), json.dumps(record).encode()
    small = outcome(lambda: adapter.decode(body))
    big = outcome(lambda: adapter.decode(body + b" " * schemas.LARGE))

    assert big == small if isinstance(small, Nested) else big != [] and all(error in small for error in big)


@hypothesis.given(st.lists(st.sampled_from([{}, {"a": [1, 2, 3]}, 1, "a,b", [], None])), st.integers(1, 8))
def test_a_body_holds_as_many_records_as_its_list_has_elements(records, most):
    whole, member = json.dumps(records).encode(), json.dumps({"other": 1, "parts": records, "last": []}).encode()

    for body, fields in ((whole, ()), (member, ["parts"])):
        with pytest.raises(exceptions.TooManyRecords) if len(records) > most else contextlib.nullcontext():
            schemas.RecordLimit(most, fields).check(body)
        schemas.RecordLimit(None, fields).check(body)
    schemas.RecordLimit(most, ["last"]).check(member)
