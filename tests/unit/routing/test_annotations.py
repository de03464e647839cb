"""Annotations of handlers: aliases, unions, lists and mappings, several bodies, and what the document says of them."""

import dataclasses
import datetime
import enum
import sys
import typing as t

import jsonschema
import msgspec
import pydantic
import pytest
import typing_extensions as te

from flama import Component, Flama, exceptions, http, types
from flama._annotations import unwrap
from flama.client import Client
from flama.ddd import Database, HTTPResourceRepository, MemoryRepository, MemoryWorker, WorkerComponent
from flama.resources import CRUDResource

pytestmark = pytest.mark.anyio

JSON = {"content-type": "application/json"}

T = t.TypeVar("T")
U = t.TypeVar("U")
Ts = te.TypeVarTuple("Ts")


class Cat(pydantic.BaseModel):
    kind: t.Literal["cat"] = "cat"
    lives: int


class Dog(pydantic.BaseModel):
    kind: t.Literal["dog"]
    barks: bool


class Bird(msgspec.Struct, tag="bird", tag_field="kind"):
    wings: int


class Fish(msgspec.Struct, tag="fish", tag_field="kind", rename="camel"):
    fin_count: int


@dataclasses.dataclass
class Stone:
    weight: int


class Plain(te.TypedDict):
    n: int


class Colour(enum.Enum):
    RED = "red"


def alias(name, value, *parameters):
    return te.TypeAliasType(name, value, type_params=parameters)


POSITIVE = pydantic.Field(gt=0)
Number = alias("Number", int)
Positive = alias("Positive", t.Annotated[Number, POSITIVE])
Numbers = alias("Numbers", list[Number])
Token = alias("Token", t.Annotated[str, types.Header()])
Maybe = alias("Maybe", T | None, T)
Same = alias("Same", T, T)
Swapped = alias("Swapped", dict[U, T], T, U)
Many = alias("Many", tuple[*Ts], Ts)
Json = alias("Json", "dict[str, Json] | list[Json] | int | str | None")
Tree = alias("Tree", "T | list[Tree[T]]", T)
Itself = alias("Itself", "Itself")
Pet = alias("Pet", t.Annotated[Cat | Dog, pydantic.Field(discriminator="kind")])
Kitten = alias("Kitten", Cat)
Kittens = alias("Kittens", list[Kitten])
Winged = alias("Winged", Bird | Fish)
Schema = alias("Schema", t.Annotated[types.Schema, types.SchemaMetadata(Kitten)])

UNWRAPPED = [
    (Number, int),
    (Positive, t.Annotated[int, POSITIVE]),
    (Numbers, list[int]),
    (Maybe[Number], int | None),
    (Same[Numbers], list[int]),
    (Swapped[int, str], dict[str, int]),
    (Many[int, str], tuple[int, str]),
    (Number | None, int | None),
    (dict[str, Numbers], dict[str, list[int]]),
    (t.List[Number], t.List[int]),  # noqa: UP006
    (t.Annotated[Number, "note"], t.Annotated[int, "note"]),
    (type[Kitten], type[Cat]),
    (te.Required[Number], te.Required[int]),
    (Json, dict[str, Json] | list[Json] | int | str | None),
    (Tree[Number], t.Union[int, list[Tree[Number]]]),  # noqa: UP007
    (Itself, Itself),
    (int, int),
    (t.Any, t.Any),
    (t.Literal["a"], t.Literal["a"]),
]


@pytest.mark.parametrize(("annotation", "expected"), UNWRAPPED, ids=repr)
def test_an_alias_is_what_it_stands_for(annotation, expected):
    assert unwrap(annotation) == expected


STATEMENTS = """
type Number = int
type Pair[T] = tuple[T, T]
type Nested = dict[str, Nested] | Number
type Swapped[A, B] = dict[B, A]
"""


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the type statement came with Python 3.12")
def test_a_type_statement_is_what_it_stands_for():
    names = {}
    exec(STATEMENTS, names)

    assert unwrap(names["Pair"][names["Number"]]) == tuple[int, int]
    assert unwrap(names["Swapped"][int, str]) == dict[str, int]
    assert unwrap(names["Nested"] | None) == dict[str, names["Nested"]] | int | None


@pytest.mark.parametrize("annotation", [int, list[int], int | None, dict[str, list[Cat]], t.Annotated[int, []]])
def test_an_annotation_without_aliases_stays_itself(annotation):
    assert unwrap(annotation) is annotation


def test_an_alias_of_what_is_not_there_fails_by_name():
    app = Flama()
    app.add_get("/", annotated(alias("Missing", "NoSuchType")))

    with pytest.raises(exceptions.ApplicationError, match=r"annotation of '.*' can't be evaluated.*NoSuchType"):
        app._compile()


def annotated(annotation, *, default=..., returned=...):
    """A handler with one parameter of this annotation, which returns what it was passed."""

    async def handler(value):
        return value

    async def optional(value=default):
        return value

    made = handler if default is ... else optional
    made.__annotations__ = {"value": annotation} | ({} if returned is ... else {"return": returned})
    return made


CAT, DOG = {"kind": "cat", "lives": 9}, {"kind": "dog", "barks": True}
BIRD, FISH = {"kind": "bird", "wings": 2}, {"kind": "fish", "finCount": 3}

READ = [
    ("GET", Number, {"params": {"value": 3}}, 3),
    ("GET", Positive, {"params": {"value": 3}}, 3),
    ("GET", Maybe[Number], {}, None),
    ("GET", Numbers, {"params": {"value": [3, 4]}}, [3, 4]),
    ("GET", Same[Numbers], {"params": {"value": [3, 4]}}, [3, 4]),
    ("GET", list[Positive], {"params": {"value": [3, 4]}}, [3, 4]),
    ("GET", t.Sequence[int], {"params": {"value": [3, 4]}}, [3, 4]),
    ("GET", int | list[int], {"params": {"value": 3}}, 3),
    ("GET", int | list[int], {"params": {"value": [3, 4]}}, [3, 4]),
    ("GET", list[int] | list[str], {"params": {"value": ["a", "b"]}}, ["a", "b"]),
    ("GET", int | str, {"params": {"value": "a"}}, "a"),
    ("GET", Token, {"headers": {"value": "t"}}, "t"),
    ("GET", Token | None, {"headers": {"value": "t"}}, "t"),
    ("GET", Token | None, {}, None),
    ("GET", Maybe[Token], {"headers": {"value": "t"}, "params": {"value": "q"}}, "t"),
    ("GET", list[Token], {"headers": [("value", "a"), ("value", "b")]}, ["a", "b"]),
    ("GET", t.Annotated[Colour | None, types.Cookie()], {"headers": {"cookie": "value=red"}}, "red"),
    ("POST", Kitten, {"json": CAT}, CAT),
    ("POST", Kittens, {"json": [CAT]}, [CAT]),
    ("POST", Schema, {"json": CAT}, CAT),
    ("POST", list[Schema], {"json": [CAT]}, [CAT]),
    ("POST", Pet, {"json": DOG}, DOG),
    ("POST", Cat | Dog, {"json": DOG}, DOG),
    ("POST", Cat | int, {"json": 3}, 3),
    ("POST", Cat | list[Dog], {"json": [DOG]}, [DOG]),
    ("POST", list[Pet], {"json": [CAT, DOG]}, [CAT, DOG]),
    ("POST", list[list[Pet]], {"json": [[CAT], [DOG]]}, [[CAT], [DOG]]),
    ("POST", tuple[Pet, ...], {"json": [CAT, DOG]}, [CAT, DOG]),
    ("POST", Pet | None, {"json": DOG}, DOG),
    ("POST", Winged, {"json": FISH}, {"kind": "fish", "finCount": 3}),
    ("POST", list[Winged], {"json": [BIRD, FISH]}, [BIRD, FISH]),
    ("POST", Cat | Stone, {"json": {"weight": 3}}, {"weight": 3}),
    ("POST", dict, {"json": {"any": [1]}}, {"any": [1]}),
    ("POST", dict[str, t.Any], {"json": {"any": [1]}}, {"any": [1]}),
    ("POST", t.Mapping[str, int], {"json": {"a": 1}}, {"a": 1}),
    ("POST", dict[str, Pet], {"json": {"a": DOG}}, {"a": DOG}),
    ("POST", dict[str, list[Pet]], {"json": {"a": [DOG]}}, {"a": [DOG]}),
    ("POST", dict[str, Winged], {"json": {"a": BIRD}}, {"a": BIRD}),
    ("POST", dict[str, Schema], {"json": {"a": CAT}}, {"a": CAT}),
    ("POST", list[dict[str, int]], {"json": [{"a": 1}]}, [{"a": 1}]),
    ("POST", list[Plain], {"json": [{"n": 1}]}, [{"n": 1}]),
    ("POST", list, {"json": [1, "a"]}, [1, "a"]),
    ("POST", Json, {"json": {"a": [1, {"b": "c"}]}}, {"a": [1, {"b": "c"}]}),
    ("POST", t.Annotated[types.Schema, types.SchemaMetadata(Pet)], {"json": DOG}, DOG),
    ("POST", t.Annotated[types.Schema, types.SchemaMetadata(Winged)], {"json": BIRD}, {"wings": 2}),
    ("POST", t.Annotated[types.SchemaList, types.SchemaMetadata(Pet)], {"json": [DOG]}, [DOG]),
    ("POST", Cat | Dog, {"data": {"kind": "cat", "lives": "9"}}, CAT),
    ("POST", Winged, {"data": {"kind": "fish", "finCount": "3"}}, FISH),
]


@pytest.mark.parametrize(("method", "annotation", "sent", "expected"), READ, ids=map(repr, range(len(READ))))
async def test_a_handler_is_passed_what_its_annotation_stands_for(method, annotation, sent, expected):
    app = Flama()
    app.add_route("/", annotated(annotation), [method])

    async with Client(app=app) as client:
        response = await client.request(method, "/", **sent)
        document = (await client.get("/schema/")).status_code

    answered = None if response.status_code == 204 else response.json()
    assert (answered, document) == (expected, 200), response.text


REFUSED = [
    (dict[str, int], {"json": {"a": "x"}}, 400),
    (dict[str, int], {"json": [1]}, 400),
    (dict[str, t.Any], {"content": b'{"a": NaN}'}, 400),
    (dict, {"content": b"{"}, 400),
    (Cat | Dog, {"json": {}}, 400),
    (Pet, {"json": {"kind": "bird"}}, 400),
    (list[Pet], {"json": [CAT, {"kind": "dog"}]}, 400),
    (Cat | Dog, {"content": b""}, 400),
    (dict[str, int], {"data": {"a": "1"}}, 415),
    (Cat | list[Dog], {"data": {"kind": "cat"}}, 415),
    (list[http.UploadFile], {"files": {"other": ("a", b"1")}}, 400),
    (list[http.UploadFile], {"data": {"value": "text"}}, 400),
]


@pytest.mark.parametrize(("annotation", "sent", "status"), REFUSED, ids=repr)
async def test_a_body_that_does_not_fit_is_the_clients_fault(annotation, sent, status):
    app = Flama()
    app.add_post("/", annotated(annotation))

    async with Client(app=app) as client:
        response = await client.post("/", headers=JSON if "content" in sent else None, **sent)

    assert response.status_code == status, response.text


HIDDEN = {"hidden": 1}
ENCODED = [
    (Kitten, CAT | HIDDEN, CAT),
    (Kittens, [CAT | HIDDEN], [CAT]),
    (Schema, CAT | HIDDEN, CAT),
    (Maybe[Kitten], CAT | HIDDEN, CAT),
    (Pet, DOG | HIDDEN, DOG),
    (Cat | Dog, DOG | HIDDEN, DOG),
    (list[Cat | Dog], [CAT | HIDDEN, DOG | HIDDEN], [CAT, DOG]),
    (dict[str, Kitten], {"a": CAT | HIDDEN}, {"a": CAT}),
    (Cat | http.Response, CAT | HIDDEN, CAT),
    (Cat | http.Response | None, CAT | HIDDEN, CAT),
    (Winged, FISH | HIDDEN, FISH),
    (Winged, {"kind": "fish", "fin_count": 3, "hidden": 1}, FISH),
    (list[Winged], [BIRD | HIDDEN], [BIRD]),
    (Tree[Kitten], [[CAT | HIDDEN]], [[CAT]]),
    (dict[str, t.Any], CAT | HIDDEN, CAT | HIDDEN),
]


class Tom(Cat):
    hidden: int = 1


@pytest.mark.parametrize(("returned", "value", "expected"), ENCODED, ids=repr)
async def test_an_answer_has_the_fields_of_what_the_annotation_stands_for(returned, value, expected):
    app = Flama()

    async def handler():
        return value

    handler.__annotations__ = {"return": returned}
    app.add_get("/", handler)

    async with Client(app=app) as client:
        response = await client.get("/")

    assert response.json() == expected


@pytest.mark.parametrize("returned", [Kitten, Pet, Cat | Dog, list[Pet], dict[str, Cat | Dog]], ids=repr)
async def test_an_answer_has_no_fields_of_a_subclass(returned):
    app = Flama()
    tom = Tom(lives=9)
    value = {list: [tom], dict: {"a": tom}}.get(t.get_origin(returned), tom)

    async def handler():
        return value

    handler.__annotations__ = {"return": returned}
    app.add_get("/", handler)

    async with Client(app=app) as client:
        response = await client.get("/")

    assert "lives" in response.text
    assert "hidden" not in response.text


async def test_pages_have_the_fields_of_what_the_annotation_stands_for():
    app = Flama()

    @app.get("/", pagination="page_number")
    async def handler() -> Kittens:
        return [CAT | HIDDEN]

    async with Client(app=app) as client:
        response = await client.get("/")

    assert response.json()["data"] == [CAT]


async def test_components_know_an_alias_and_its_type_as_one():
    class CatComponent(Component):
        def resolve(self) -> Kitten:
            return Cat(lives=7)

    class NumbersComponent(Component):
        def resolve(self) -> frozenset[Number]:
            return frozenset([1])

    app = Flama(components=[CatComponent(), NumbersComponent()])

    @app.get("/")
    def handler(by_alias: Kitten, by_type: Cat, numbers: frozenset[int]):
        return [by_alias.lives, by_type.lives, list(numbers)]

    async with Client(app=app) as client:
        response = await client.get("/")

    assert response.json() == [7, 7, [1]]


class Records(MemoryRepository):
    _key = "id"
    _resource_name = "record"


Later = alias("Later", "DefinedLater")
Aliased = alias("Aliased", Records)
Annotated = alias("Annotated", t.Annotated[Records, Database("reports")])


async def test_the_members_of_a_worker_may_be_aliases():
    class Unit(MemoryWorker):
        records: Aliased
        reports: Annotated

    class LateUnit(MemoryWorker):
        records: Later

    globals()["DefinedLater"] = Records
    declared = Unit._declarations.resolve()

    assert {name: each.repository for name, each in declared.items()} == {"records": Records, "reports": Records}
    assert declared["reports"].hints == (Database("reports"),)
    assert LateUnit._declarations.repositories() == {"records": Records}


def test_the_type_of_a_repository_s_records_may_be_an_alias():
    class Cats(HTTPResourceRepository[Kitten]):
        _resource = "/cat"

    assert HTTPResourceRepository[Kitten] is HTTPResourceRepository[Cat]
    assert Cats._record is Cat


async def test_the_schema_of_a_resource_may_be_an_alias():
    class Named(pydantic.BaseModel):
        id: Number
        tags: Numbers = []

    class Things(MemoryRepository):
        _key = "id"
        _resource_name = "thing"

    class Unit(MemoryWorker):
        things: Things

    class Thing(CRUDResource):
        repository = Things
        schema = alias("NamedAlias", Named)

    app = Flama(components=[WorkerComponent(Unit())])
    app.resources.add_resource("/thing/", Thing)

    async with Client(app=app) as client:
        made = await client.post("/thing/", json={"id": 1, "tags": [2]})
        found = await client.get("/thing/?id=1")

    assert (made.status_code, found.json()["data"]) == (201, [{"id": 1, "tags": [2]}])


class Search(pydantic.BaseModel):
    a: int = 1
    b: list[str] = []
    day: datetime.date | None = None
    colour: Colour | None = pydantic.Field(None, description="Of what it is.")
    ids: Numbers = []


class Needing(msgspec.Struct):
    n: int


SEARCHES = [
    (Search, {"a": 3, "b": ["x", "y"]}, {"a": 3, "b": ["x", "y"], "day": None, "colour": None, "ids": []}),
    (Search, {"day": "2026-02-03", "ids": 3}, {"a": 1, "b": [], "day": "2026-02-03", "colour": None, "ids": [3]}),
    (Search, {"a": "x"}, 400),
    (Search, {"colour": "blue"}, 400),
    (Needing, {"n": 3}, {"n": 3}),
    (Needing, {}, 400),
    (Needing | None, {}, None),
    (Stone, {"weight": 3}, {"weight": 3}),
    (Plain, {"n": "3"}, {"n": 3}),
    (alias("Searching", Needing), {"n": 3}, {"n": 3}),
]


@pytest.mark.parametrize(("model", "params", "expected"), SEARCHES, ids=repr)
async def test_a_query_may_be_read_as_a_model(model, params, expected):
    app = Flama()
    app.add_get("/", annotated(t.Annotated[model, types.QueryParam()]))

    async with Client(app=app) as client:
        response = await client.get("/", params=params)

    answered = {204: None, 400: 400}.get(response.status_code, None if response.status_code == 204 else response.text)
    assert answered == expected or response.json() == expected


def test_the_fields_of_a_query_s_model_are_parameters_of_the_document():
    app = Flama()

    @app.get("/")
    def handler(search: t.Annotated[Search, types.QueryParam()], needing: t.Annotated[Needing, types.QueryParam()]): ...

    found = {each["name"]: each for each in app.openapi["paths"]["/"]["get"]["parameters"]}

    assert {name: each["required"] for name, each in found.items()} == {
        **dict.fromkeys(("a", "b", "day", "colour", "ids"), False),
        "n": True,
    }
    assert {each["in"] for each in found.values()} == {"query"}
    assert found["a"]["schema"] == {"type": "integer", "default": 1}
    assert found["colour"]["description"] == "Of what it is."


async def test_files_of_one_name_are_a_list():
    app = Flama()

    @app.post("/")
    async def handler(uploads: list[http.UploadFile], more: list[http.UploadFile] | None = None):
        return [[upload.filename for upload in uploads], more]

    async with Client(app=app) as client:
        response = await client.post("/", files=[("uploads", ("a", b"1")), ("uploads", ("b", b"2"))])
    form = app.openapi["paths"]["/"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]

    assert response.json() == [["a", "b"], None]
    assert form["required"] == ["uploads"]
    assert form["properties"]["uploads"] == {
        "type": "array",
        "items": {"type": "string", "format": "binary"},
        "minItems": 1,
    }


def two(cat: Cat, dog: Dog):
    return [cat, dog]


def one_may_lack(cat: Cat, dog: Dog | None = None, extra: dict[str, int] | None = None):
    return [cat, dog, extra]


TWO = [
    (two, {"cat": CAT, "dog": DOG}, [CAT, DOG]),
    (two, {"cat": CAT, "dog": DOG, "other": 1}, [CAT, DOG]),
    (two, {"cat": CAT}, ["dog"]),
    (two, {"cat": {"lives": "x"}, "dog": DOG}, ["cat.lives"]),
    (two, [CAT, DOG], ["body"]),
    (two, None, ["body"]),
    (one_may_lack, {"cat": CAT}, [CAT, None, None]),
    (one_may_lack, {"cat": CAT, "dog": None, "extra": {"a": 1}}, [CAT, None, {"a": 1}]),
    (one_may_lack, {"cat": CAT, "extra": 3}, ["extra"]),
]


@pytest.mark.parametrize(
    ("handler", "sent", "expected"), TWO, ids=lambda value: getattr(value, "__name__", repr(value))
)
async def test_two_bodies_are_the_members_of_their_names(handler, sent, expected):
    app = Flama()
    app.add_post("/", handler)

    async with Client(app=app) as client:
        response = await client.post("/", content=msgspec.json.encode(sent), headers=JSON)

    assert ([*response.json()["detail"]] if response.status_code == 400 else response.json()) == expected


async def test_a_body_that_a_component_reads_is_a_member_beside_the_handlers():
    class Owner(str): ...

    class OwnerComponent(Component):
        def resolve(self, cat: Cat) -> Owner:
            return Owner(cat.lives)

    app = Flama(components=[OwnerComponent()])

    @app.post("/both/")
    def both(owner: Owner, dog: Dog):
        return [owner, dog]

    @app.post("/same/")
    def same(owner: Owner, cat: Cat):
        return [owner, cat]

    async with Client(app=app) as client:
        found = [
            (await client.post("/both/", json={"cat": CAT, "dog": DOG})).json(),
            (await client.post("/same/", json=CAT)).json(),
        ]

    assert found == [["9", DOG], ["9", CAT]]


UNREADABLE = [
    (complex, "value"),
    (object, "value"),
    (t.Any, "value"),
    (list[object], "value"),
    (list[list[int]], "value"),
    (dict[str, http.UploadFile], "value"),
    (dict[str, Component], "value"),
    (Bird | dict[str, Stone], "value"),
    (t.Annotated[Cat, types.Header()], "value"),
    (t.Annotated[Cat | Dog, types.QueryParam()], "value"),
    (t.Annotated[list[Cat], types.Cookie()], "value"),
    (t.Annotated[types.Schema, types.SchemaMetadata(Pet, partial=True)], "value"),
    (Itself, "value"),
]


@pytest.mark.parametrize(("annotation", "name"), UNREADABLE, ids=repr)
async def test_what_can_not_be_read_fails_at_start_up_by_the_names_of_parameter_and_handler(annotation, name):
    app = Flama()
    app.add_post("/", annotated(annotation))

    with pytest.raises(exceptions.ApplicationError, match=f"'{name}'.* function 'handler'"):
        async with app.lifespan():
            raise AssertionError("it must not start")


class Nested(pydantic.BaseModel):
    inner: Cat


async def test_a_query_s_model_with_objects_in_it_fails_at_start_up_by_the_fields_name():
    app = Flama()
    app.add_get("/", annotated(t.Annotated[Nested, types.QueryParam()]))

    with pytest.raises(exceptions.ComponentError, match=r"'value' .*Nested: inner, in function 'handler'"):
        async with app.lifespan():
            raise AssertionError("it must not start")


async def test_a_file_beside_what_no_form_can_hold_fails_at_start_up():
    app = Flama()

    @app.post("/")
    def handler(upload: http.UploadFile, data: dict[str, int]): ...

    with pytest.raises(exceptions.ComponentError, match=r"'data' .*the file 'upload'.* function 'handler'"):
        async with app.lifespan():
            raise AssertionError("it must not start")


async def test_what_can_not_be_encoded_fails_at_start_up_by_the_handlers_name():
    app = Flama()

    class Odd: ...

    def handler() -> Cat | Odd: ...

    app.add_get("/", handler)

    with pytest.raises(exceptions.ApplicationError, match="the handler 'handler' returns can't be encoded"):
        async with app.lifespan():
            raise AssertionError("it must not start")


BODIES = [
    annotated(Pet),
    annotated(Cat | Dog),
    annotated(Pet | None),
    annotated(Pet | None, default=None),
    annotated(list[Pet]),
    annotated(dict[str, int]),
    annotated(dict[str, Pet]),
    annotated(dict),
    annotated(Winged),
    annotated(Cat | int),
    annotated(t.Annotated[types.Schema, types.SchemaMetadata(Pet)]),
    two,
    one_may_lack,
]
SENT = [
    CAT, DOG, BIRD, FISH, {}, {"a": 1}, {"a": "x"}, {"a": CAT}, {"a": None}, [], [CAT], [CAT, DOG], [BIRD], [None], 3,
    "x", None, {"kind": "cat"}, {"lives": 9}, {"cat": CAT, "dog": DOG}, {"cat": CAT}, {"cat": CAT, "dog": None},
    {"cat": CAT, "extra": {"a": 1}}, {"cat": CAT, "extra": {"a": "x"}}, {"dog": DOG}, {"cat": None, "dog": DOG},
]  # fmt: skip


@pytest.mark.parametrize("handler", BODIES, ids=map(str, range(len(BODIES))))
async def test_a_body_is_accepted_if_it_is_valid_by_the_document_and_only_then(handler):
    app = Flama()
    app.add_post("/", handler)
    document = app.openapi
    body = document["paths"]["/"]["post"]["requestBody"]
    schema = {**body["content"]["application/json"]["schema"], "components": document["components"]}
    validator = jsonschema.Draft202012Validator(schema)

    async with Client(app=app) as client:
        accepted = [
            (await client.post("/", content=msgspec.json.encode(each), headers=JSON)).status_code < 400 for each in SENT
        ]
        without = (await client.post("/", content=b"")).status_code < 400

    assert dict(zip(map(repr, SENT), accepted, strict=True)) == {repr(sent): validator.is_valid(sent) for sent in SENT}
    assert without is not body["required"]
