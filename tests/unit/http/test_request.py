"""Bodies: what a handler is given of what was sent, and what is refused."""

import asyncio
import dataclasses
import datetime
import decimal
import enum
import http.client
import json
import typing as t
import urllib.parse
import uuid

import msgspec
import pydantic
import pytest
import typing_extensions as te

from flama import Flama, exceptions, http as flama_http, types
from flama.client import Client
from flama.http import request as request_module

pytestmark = pytest.mark.anyio


class Address(pydantic.BaseModel):
    street: str
    number: int = 1


class User(pydantic.BaseModel):
    name: str
    age: int = 18
    address: Address | None = None


class Aliased(pydantic.BaseModel):
    first_name: str = pydantic.Field(alias="firstName")


class Forbidding(pydantic.BaseModel, extra="forbid"):
    name: str


class Allowing(pydantic.BaseModel, extra="allow"):
    name: str


@dataclasses.dataclass
class Point:
    x: int
    y: int = 2


class Puppy(te.TypedDict):
    name: str
    age: te.NotRequired[int]


class Item(msgspec.Struct):
    name: str
    price: float = 1.0


class RenamedItem(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    full_name: str


class Nested(msgspec.Struct):
    items: list[Item]


def title(annotation):
    metadata = types.get_schema_metadata(annotation)
    if metadata is None:
        return repr(annotation).replace(f"{__name__}.", "")
    many = "list of " if "list" in repr(annotation) else ""
    return (
        f"{many}{'partial ' if metadata.partial else ''}{getattr(metadata.schema, '__name__', metadata.schema)} as dict"
    )


def schema(model, **options):
    return t.Annotated[types.Schema, types.SchemaMetadata(model, **options)]


async def received(annotation, *, default=dataclasses.MISSING, limit=10 * 2**20, **request):
    """The answer, and what the handler was given for its body."""
    seen = []

    def handler(data):
        seen.append(data)

    handler.__annotations__["data"] = annotation
    if default is not dataclasses.MISSING:
        handler.__defaults__ = (default,)
    app = Flama(max_body_size=limit)
    app.add_post("/", handler)
    if "content" in request:
        request = {"headers": {"content-type": "application/json"}, **request}
    async with Client(app=app) as client:
        response = await client.post("/", **request)
    return response, (seen[0] if seen else None)


GIVEN = [
    (schema(User), {"name": "A"}, {"name": "A", "age": 18, "address": None}),
    (schema(User), {"name": "A", "age": "3", "nonsense": 1}, {"name": "A", "age": 3, "address": None}),
    (
        schema(User),
        {"name": "A", "address": {"street": "S"}},
        {"name": "A", "age": 18, "address": {"street": "S", "number": 1}},
    ),
    (schema(Aliased), {"firstName": "A"}, {"first_name": "A"}),
    (schema(Allowing), {"name": "A", "more": [1]}, {"name": "A", "more": [1]}),
    (schema(Point), {"x": 1}, {"x": 1, "y": 2}),
    (schema(Puppy), {"name": "A"}, {"name": "A"}),
    (schema(Item), {"name": "A"}, {"name": "A", "price": 1.0}),
    (schema(RenamedItem), {"fullName": "A"}, {"full_name": "A"}),
    (schema(Nested), {"items": [{"name": "A"}]}, {"items": [{"name": "A", "price": 1.0}]}),
    (User, {"name": "A"}, User(name="A")),
    (Aliased, {"firstName": "A"}, Aliased(firstName="A")),
    (Point, {"x": 1}, Point(1, 2)),
    (Puppy, {"name": "A", "age": 3}, {"name": "A", "age": 3}),
    (Item, {"name": "A"}, Item("A")),
    (Nested, {"items": [{"name": "A", "price": 2}]}, Nested([Item("A", 2.0)])),
    (list[schema(User)], [{"name": "A"}], [{"name": "A", "age": 18, "address": None}]),
    (t.Annotated[types.SchemaList, types.SchemaMetadata(Point)], [{"x": 1}], [{"x": 1, "y": 2}]),
    (t.Annotated[list[types.Schema], types.SchemaMetadata(Item)], [{"name": "A"}], [{"name": "A", "price": 1.0}]),
    (list[User], [{"name": "A"}, {"name": "B"}], [User(name="A"), User(name="B")]),
    (list[Item], [], []),
    (list[Puppy], [{"name": "A"}], [{"name": "A"}]),
    (schema(User, partial=True), {"age": 3}, {"age": 3}),
    (schema(User, partial=True), {}, {}),
    (schema(User, partial=True), {"address": None}, {"address": None}),
    (schema(User, partial=True), {"nonsense": 1}, {}),
    (
        schema(User, partial=True),
        {"address": {"street": "S"}},
        {"address": {"street": "S", "number": 1}},
    ),
    (schema(Aliased, partial=True), {"firstName": "A"}, {"first_name": "A"}),
    (schema(Aliased, partial=True), {}, {}),
    (schema(Point, partial=True), {"y": 5}, {"y": 5}),
    (schema(Puppy, partial=True), {"age": 5}, {"age": 5}),
    (schema(Item, partial=True), {"price": 5}, {"price": 5.0}),
    (schema(RenamedItem, partial=True), {"fullName": "A"}, {"full_name": "A"}),
    (list[schema(User, partial=True)], [{"age": 3}, {}], [{"age": 3}, {}]),
    (User | None, {"name": "A"}, User(name="A")),
    (types.RequestData, {"any": ["thing", None, 1.5]}, {"any": ["thing", None, 1.5]}),
    (types.RequestData, [1, 2], [1, 2]),
    (types.Body, {"a": 1}, b'{"a":1}'),
]


@pytest.mark.parametrize(("annotation", "sent", "given"), GIVEN)
async def test_a_body_becomes_what_its_annotation_says(annotation, sent, given):
    response, found = await received(annotation, json=sent)

    assert response.status_code == 204, response.text
    assert found == given
    assert type(found) is type(given)


class Everything(pydantic.BaseModel):
    id: uuid.UUID
    when: datetime.datetime
    price: decimal.Decimal
    tags: set[str]
    kind: t.Literal["a"]
    parent: t.Optional["Everything"] = None


async def test_rich_types_arrive_as_such_also_nested():
    sent = {
        "id": str(uuid.UUID(int=1)),
        "when": "2026-01-02T03:04:05Z",
        "price": "1.10",
        "tags": ["x", "x"],
        "kind": "a",
    }

    _, found = await received(schema(Everything), json={**sent, "parent": sent})

    one = {
        "id": uuid.UUID(int=1),
        "when": datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC),
        "price": decimal.Decimal("1.10"),
        "tags": {"x"},
        "kind": "a",
    }
    assert found == {**one, "parent": {**one, "parent": None}}


@pytest.mark.parametrize("annotation", [schema(User, partial=True), schema(Item, partial=True)], ids=title)
async def test_a_partial_body_is_validated_in_what_it_has(annotation):
    response, _ = await received(annotation, json={"age": "x", "price": "x"})

    assert response.status_code == 400


@pytest.mark.parametrize("body", [b"", b"null", b" ", b" null\n", b"{}"], ids=repr)
@pytest.mark.parametrize(
    ("annotation", "given"),
    [
        (schema(User, partial=True), {}),
        (schema(Item, partial=True), {}),
        (schema(Puppy, partial=True), {}),
    ],
    ids=title,
)
async def test_an_empty_body_or_null_counts_as_an_empty_object(annotation, given, body):
    response, found = await received(annotation, content=body)

    assert response.status_code == 204
    assert found == given


@pytest.mark.parametrize("body", [b"", b"null"], ids=repr)
@pytest.mark.parametrize("annotation", [schema(User), User, schema(Item), Item, Point, Puppy], ids=title)
async def test_an_empty_body_for_a_schema_that_needs_a_field_is_a_400_that_names_it(annotation, body):
    response, _ = await received(annotation, content=body)

    assert response.status_code == 400
    assert response.json()["error"] == "ValidationError"


@pytest.mark.parametrize(("annotation", "default"), [(User | None, dataclasses.MISSING), (User | None, None)])
async def test_an_optional_body_that_is_not_sent_is_none(annotation, default):
    response, found = await received(annotation, default=default)

    assert response.status_code == 204
    assert found is None


WRONG = [b"[]", b"[1]", b'"text"', b"1", b"true", b'{"name": 1}', b'{"nam": "A"}', b'{"name": null}', b'[{"name":"A"}]']


@pytest.mark.parametrize("body", WRONG, ids=repr)
@pytest.mark.parametrize(
    "annotation",
    [schema(User), User, schema(Item), Puppy, schema(Forbidding), schema(Allowing), schema(RenamedItem)],
    ids=title,
)
async def test_json_of_another_shape_is_a_400(annotation, body):
    response, found = await received(annotation, content=body)

    assert found is None
    assert response.status_code == 400
    assert response.json()["error"] == "ValidationError"
    assert isinstance(response.json()["detail"], dict)


@pytest.mark.parametrize("body", [b"{}", b'"x"', b"1", b'{"name": "A"}', b"[[]]", b"[null]", b'["x"]'], ids=repr)
@pytest.mark.parametrize("annotation", [list[schema(User)], list[User], list[schema(Item)], list[Puppy]], ids=title)
async def test_anything_but_a_list_of_objects_is_a_400_where_a_list_is_asked_for(annotation, body):
    response, found = await received(annotation, content=body)

    assert found is None
    assert response.status_code == 400


@pytest.mark.parametrize(
    ("annotation", "body", "detail"),
    [
        (
            User,
            {"age": "x"},
            {
                "name": {"type": "missing", "loc": ["name"], "msg": "Field required", "input": {"age": "x"}},
                "age": {
                    "type": "int_parsing",
                    "loc": ["age"],
                    "msg": "Input should be a valid integer, unable to parse string as an integer",
                    "input": "x",
                },
            },
        ),
        (
            User,
            {"name": "A", "address": {}},
            {"address.street": {"type": "missing", "loc": ["address", "street"], "msg": "Field required", "input": {}}},
        ),
        (
            list[User],
            [{"name": "A"}, {}],
            {"1.name": {"type": "missing", "loc": [1, "name"], "msg": "Field required", "input": {}}},
        ),
        (
            Nested,
            {"items": [{"name": "A"}, {"name": 1}]},
            {"items.1.name": {"type": "value_error", "loc": ["items", 1, "name"], "msg": "Expected `str`, got `int`"}},
        ),
        (
            RenamedItem,
            {"fullName": "A", "more": 1},
            {"body": {"type": "value_error", "loc": [], "msg": "Object contains unknown field `more`"}},
        ),
        (
            Forbidding,
            {"name": "A", "more": 1},
            {"more": {"type": "extra_forbidden", "loc": ["more"], "msg": "Extra inputs are not permitted", "input": 1}},
        ),
    ],
)
async def test_what_is_wrong_is_told_by_field(annotation, body, detail):
    response, _ = await received(annotation, json=body)

    assert response.status_code == 400
    assert response.json() == {"status_code": 400, "detail": detail, "error": "ValidationError"}


class Failing(pydantic.BaseModel):
    name: str

    @pydantic.field_validator("name")
    @classmethod
    def check(cls, value):
        if value == "bad":
            raise ValueError("bad name")
        return value


async def test_an_error_of_a_validator_of_the_user_s_is_a_400_with_its_text():
    response, _ = await received(Failing, json={"name": "bad"})

    assert response.status_code == 400
    assert response.json()["detail"]["name"]["msg"] == "Value error, bad name"


NO_JSON = [
    b"{",
    b"nul",
    b'{"name": "A"',
    b"{'name': 'A'}",
    b'{"name": "A"} x',
    b"\xff\xfe",
    b'{"name": "\xff"}',
    b"NaN x",
]


@pytest.mark.parametrize("body", NO_JSON, ids=repr)
@pytest.mark.parametrize("annotation", [schema(User), schema(Item), Puppy, Point, types.RequestData], ids=title)
async def test_a_body_that_is_no_json_is_a_400_that_says_so(annotation, body):
    response, found = await received(annotation, content=body)

    assert found is None
    assert response.status_code == 400
    assert response.json()["error"] == "DecodeError"
    assert isinstance(response.json()["detail"], str)


DEEP = 10_000
HOSTILE = {
    "NaN": b'{"name": "A", "age": NaN, "price": NaN, "x": NaN}',
    "infinity": b'{"name": "A", "age": -Infinity, "price": 1e999, "x": 1e999}',
    "huge integer": b'{"name": "A", "age": ' + b"9" * 5000 + b', "price": ' + b"9" * 5000 + b', "x": 1}',
    "integer of 70 bits": b'{"name": 1180591620717411303424, "age": 1180591620717411303424}',
    "number of 70 bits": b'{"name": "A", "price": 1180591620717411303424, "x": 1180591620717411303424}',
    "wrong type of 70 bits": b'{"name": {"a": 1180591620717411303424}, "x": {"a": -1180591620717411303424}}',
    "huge exponent": b'{"name": "A", "age": 1e1000000, "price": 1e1000000, "x": 1e1000000}',
    "NUL": b'{"name": "\\u0000", "x": 1}',
    "raw NUL": b'{"name": "\x00", "x": 1}',
    "lone surrogate": b'{"name": "\\ud800", "x": 1}',
    "lone surrogate in a key": b'{"\\ud800": 1}',
    "reversed surrogates": b'{"name": "\\udc00\\ud800", "x": 1}',
    "invalid UTF-8": b'{"name": "\xed\xa0\x80", "x": 1}',
    "overlong UTF-8": b'{"name": "\xc0\xaf", "x": 1}',
    "byte order mark": b'\xef\xbb\xbf{"name": "A", "x": 1}',
    "UTF-16": '{"name": "A", "x": 1}'.encode("utf-16"),
    "deep lists": b"[" * DEEP + b"]" * DEEP,
    "deep lists, open": b"[" * DEEP,
    "deep objects": b'{"name":' * DEEP + b"1" + b"}" * DEEP,
    "deep in an extra field": b'{"name": "A", "x": 1, "more": ' + b"[" * DEEP + b"]" * DEEP + b"}",
    "deep in a known field": b'{"name": ' + b"[" * DEEP + b"]" * DEEP + b', "x": 1}',
    "a thousand deep": b'{"name": ' + b"[" * 900 + b"]" * 900 + b', "x": ' + b"[" * 900 + b"]" * 900 + b"}",
    "twice the same key": b'{"name": "A", "name": 1, "x": 1, "x": "y"}',
    "binary": bytes(range(256)),
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize(
    "annotation",
    [
        User, schema(User), schema(User, partial=True), list[User], schema(Allowing), schema(Item), Item, list[Puppy],
        Puppy, Point, schema(Forbidding), types.RequestData, schema(Item, partial=True),
    ],
    ids=title,
)  # fmt: skip
async def test_no_body_is_a_server_error(annotation, body):
    response, _ = await received(annotation, content=body)

    assert response.status_code in (204, 400)
    assert len(response.content) < 20_000 + 3 * len(body)


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
async def test_what_was_taken_of_a_hostile_body_can_be_answered_or_refused(body):
    app = Flama()

    @app.post("/")
    def echo(data: types.RequestData):
        return data

    async with Client(app=app) as client:
        response = await client.post("/", content=body, headers={"content-type": "application/json"})

    assert response.status_code in (200, 204, 400)


@pytest.mark.parametrize(
    ("annotation", "body"),
    [
        (User, {"name": ["secret" * 5_000], "age": 1}),
        (list[User], [0] * 10_000),
        (list[User], [{"nonsense": "secret" * 100}] * 100),
        (schema(Forbidding), {"name": "A"} | {f"secret{i}": "secret" for i in range(5_000)}),
        (schema(Item), {"name": "A", "price": "secret" * 5_000}),
    ],
)
async def test_the_error_of_a_big_body_does_not_repeat_it(annotation, body):
    response, _ = await received(annotation, json=body)

    assert response.status_code == 400
    assert "secretsecret" not in response.text
    assert len(response.content) < len(json.dumps(body)) * 2


@pytest.mark.parametrize(
    ("type_", "status"),
    [
        ("application/json", 204),
        ("application/json; charset=utf-8", 204),
        ("APPLICATION/JSON", 204),
        (None, 415),
        ("text/plain", 415),
        ("application/xml", 415),
        ("application/vnd.api+json", 204),
        ("application/octet-stream", 415),
        ("nonsense", 415),
        ("", 415),
        ("\xff", 415),
    ],
)
@pytest.mark.parametrize("annotation", [schema(User), schema(Item), types.RequestData], ids=title)
async def test_a_content_type_that_nothing_here_reads_is_a_415(annotation, type_, status):
    headers = {} if type_ is None else {"content-type": type_.encode("latin-1")}

    response, _ = await received(annotation, content=b'{"name": "A"}', headers=headers)

    assert response.status_code == status
    if status == 415:
        assert response.json()["error"] == "NoCodecAvailable"
        assert "application/json" in response.json()["detail"]


async def test_the_raw_body_is_given_whatever_its_content_type():
    response, found = await received(types.Body, content=b"\xff\x00", headers={"content-type": "image/png"})

    assert response.status_code == 204
    assert found == b"\xff\x00"


class Form(pydantic.BaseModel):
    name: str
    age: int = 0
    tags: list[str] = []


class Colour(enum.Enum):
    RED = "red"


class StructForm(msgspec.Struct):
    name: str
    age: int = 0
    colour: Colour = Colour.RED


@pytest.mark.parametrize(
    ("annotation", "given"),
    [
        (Form, Form(name="A b", age=3, tags=["x", "y"])),
        (schema(Form), {"name": "A b", "age": 3, "tags": ["x", "y"]}),
        (schema(Form, partial=True), {"name": "A b", "age": 3, "tags": ["x", "y"]}),
        (StructForm, StructForm("A b", 3)),
        (types.RequestData, {"name": "A b", "age": "3", "tags": ["x", "y"]}),
    ],
)
@pytest.mark.parametrize("encoding", ["urlencoded", "multipart"])
async def test_a_form_is_validated_as_json_is(annotation, given, encoding):
    fields = {"name": "A b", "age": "3", "tags": ["x", "y"]}
    empty = [("nothing", ("", b""))]

    response, found = await received(annotation, data=fields, **({"files": empty} if encoding == "multipart" else {}))

    if encoding == "multipart" and annotation is types.RequestData:
        found.pop("nothing", None)
    assert response.request.headers["content-type"].startswith(
        "multipart/form-data" if encoding == "multipart" else "application/x-www-form-urlencoded"
    )
    assert response.status_code == 204, response.text
    assert found == given


async def test_one_value_of_a_form_for_a_field_that_takes_many_is_a_list_of_one():
    response, found = await received(Form, data={"name": "A", "tags": "x"})

    assert response.status_code == 204
    assert found.tags == ["x"]


@pytest.mark.parametrize("annotation", [Form, StructForm, schema(Form)], ids=title)
async def test_a_form_that_does_not_fit_is_a_400_by_field(annotation):
    response, _ = await received(annotation, data={"name": "A", "age": "x"})

    assert response.status_code == 400
    assert "age" in response.json()["detail"]


@pytest.mark.parametrize("annotation", [Form, StructForm, schema(Form), schema(Form, partial=True)], ids=title)
@pytest.mark.parametrize("data", [{}, {"age": "x"}, {"name": "A"}], ids=repr)
@pytest.mark.parametrize("field", ["other", "name", "age", "tags"])
async def test_a_form_with_a_file_that_does_not_fit_is_a_400(annotation, data, field):
    response, _ = await received(annotation, data=data, files={field: b"content"})

    assert response.status_code in (204, 400)
    assert (response.status_code == 400) == (not _fits(annotation, data, field))


def _fits(annotation, data, field):
    needs_name = annotation in (Form, StructForm, schema(Form))
    known = {"name", "age"} if annotation is StructForm else {"name", "age", "tags"}
    return field not in known and "age" not in data and ("name" in data or not needs_name)


@pytest.mark.parametrize("annotation", [list[Form], list[schema(Form)]], ids=title)
async def test_a_form_where_a_list_is_asked_for_is_a_400(annotation):
    response, _ = await received(annotation, data={"name": "A"})

    assert response.status_code == 400


async def test_an_uploaded_file_is_given_by_the_name_of_its_field_and_closed_afterwards():
    files = []
    app = Flama()

    @app.post("/")
    async def handler(upload: flama_http.UploadFile, other: flama_http.UploadFile | None = None):
        files.append(upload)
        return [upload.filename, upload.content_type, (await upload.read()).decode(), other]

    async with Client(app=app) as client:
        response = await client.post("/", files={"upload": ("a.txt", b"hello" * 1000, "text/plain")}, data={"x": "y"})

    assert response.json() == ["a.txt", "text/plain", "hello" * 1000, None]
    assert files[0].file.closed


async def test_files_are_closed_when_the_handler_fails_or_the_form_does_not_fit():
    files = []
    app = Flama()

    class WithFile(pydantic.BaseModel, arbitrary_types_allowed=True):
        upload: flama_http.UploadFile
        number: int

        @pydantic.field_validator("upload", mode="before")
        @classmethod
        def note(cls, value):
            files.append(value)
            return value

    @app.post("/fails/")
    async def fails(upload: flama_http.UploadFile):
        files.append(upload)
        raise exceptions.NotFoundError(resource="x")

    @app.post("/model/")
    async def model(data: WithFile):
        return data.upload.filename

    async with Client(app=app) as client:
        failed = await client.post("/fails/", files={"upload": b"x"})
        fits = await client.post("/model/", files={"upload": b"x"}, data={"number": "1"})
        unfit = await client.post("/model/", files={"upload": b"x"}, data={"number": "x"})

    assert [response.status_code for response in (failed, fits, unfit)] == [404, 200, 400]
    assert [file.file.closed for file in files] == [True, True, True]


@pytest.mark.parametrize("request_", [{"data": {"upload": "text"}}, {"files": {"other": b"x"}}], ids=["text", "other"])
async def test_a_file_that_was_not_sent_is_a_400_by_name(request_):
    app = Flama()

    @app.post("/")
    async def handler(upload: flama_http.UploadFile): ...

    async with Client(app=app) as client:
        response = await client.post("/", **request_)

    assert response.status_code == 400
    assert list(response.json()["detail"]) == ["upload"]


@pytest.mark.parametrize(
    ("type_", "body"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=", b"x"),
        ("multipart/form-data; boundary=b", b"x"),
        ("multipart/form-data; boundary=b", b"--b\r\n"),
        ("multipart/form-data; boundary=b", b"--b\r\ncontent-disposition: form-data\r\n\r\nx\r\n--b--"),
        ("multipart/form-data; boundary=b", b"--b\r\nnonsense\r\n\r\nx\r\n--b--"),
        ("multipart/form-data; boundary=b", b'--b\r\ncontent-disposition: form-data; name="\xff"\r\n\r\n\xff\r\n--b--'),
        ("multipart/form-data; boundary=" + "b" * 300, b"x"),
        ("multipart/form-data; boundary=\xff", b"x"),
        (
            "multipart/form-data; boundary=b; charset=nonsense",
            b'--b\r\ncontent-disposition: form-data; name="a"\r\n\r\nx\r\n--b--',
        ),
        ("application/x-www-form-urlencoded", b"\xff=%ff&%zz&=&&a=%00&name=%ED%A0%80"),
        ("application/x-www-form-urlencoded", b"a=1&" * 5_000),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\ncontent-disposition: form-data; name="a"\r\n\r\nx\r\n' * 2_000 + b"--b--",
        ),
        ("application/x-www-form-urlencoded; charset=nonsense", b"a=1"),
    ],
    ids=[f"form {i}" for i in range(14)],
)
@pytest.mark.parametrize(
    "annotation", [Form, schema(Form, partial=True), types.RequestData, flama_http.UploadFile], ids=title
)
async def test_no_form_is_a_server_error(annotation, type_, body):
    response, _ = await received(annotation, content=body, headers={"content-type": type_.encode("latin-1")})

    assert response.status_code in (204, 400, 413)


async def test_a_body_and_a_request_object_share_what_was_read():
    app = Flama()

    @app.post("/")
    async def handler(request: flama_http.Request, data: schema(User), raw: types.Body, other: types.RequestData):
        return [data["name"], raw.decode(), (await request.body()).decode(), await request.json(), other]

    async with Client(app=app) as client:
        response = await client.post("/", json={"name": "A"})

    sent = '{"name":"A"}'
    assert response.json() == ["A", sent, sent, {"name": "A"}, {"name": "A"}]


async def test_two_parameters_are_made_of_the_members_of_a_body_that_have_their_names():
    app = Flama()

    @app.post("/")
    async def handler(user: User, item: Item):
        return [user.name, item.name]

    async with Client(app=app) as client:
        response = await client.post("/", json={"user": {"name": "A"}, "item": {"name": "B"}})

    assert response.json() == ["A", "B"]


async def test_a_request_object_reads_its_body_in_pieces():
    app = Flama()

    @app.post("/")
    async def handler(request: flama_http.Request):
        return [chunk.decode() async for chunk in request.stream()]

    async def pieces():
        yield b"one"
        yield b"two"

    async with Client(app=app) as client:
        response = await client.post("/", content=pieces())

    assert "".join(response.json()) == "onetwo"


async def test_a_request_object_reads_a_form():
    app = Flama()

    @app.post("/")
    async def handler(request: flama_http.Request):
        async with request.form() as form:
            return {"a": form["a"], "file": (await form["file"].read()).decode()}

    async with Client(app=app) as client:
        response = await client.post("/", data={"a": "b"}, files={"file": b"content"})

    assert response.json() == {"a": "b", "file": "content"}


LIMIT = 1000


class Sender:
    """A body sent in pieces that counts how many were taken."""

    def __init__(self, piece=b"x" * 100, count=10_000, headers=()):
        self.checkout_nowait, self.piece, self.count, self.headers = 0, piece, count, list(headers)
        self.sent = []

    async def receive(self):
        self.checkout_nowait += 1
        return {"type": "http.request", "body": self.piece, "more_body": self.checkout_nowait < self.count}

    async def send(self, message):
        self.sent.append(message)

    async def post(self, app):
        scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": self.headers}
        async with Client(app=app):
            await app(scope, self.receive, self.send)
        return self.sent[0]["status"]


def of_model(data: User): ...


def of_struct(data: Item): ...


def of_body(body: types.Body): ...


def of_data(data: types.RequestData): ...


async def of_request(request: flama_http.Request):
    await request.body()


async def of_request_stream(request: flama_http.Request):
    async for _ in request.stream():
        pass


async def of_request_form(request: flama_http.Request):
    await request.form()


MULTIPART = b'--b\r\ncontent-disposition: form-data; name="f"; filename="f"\r\n\r\n'


@pytest.mark.parametrize(
    ("handler", "headers", "piece"),
    [
        (of_model, [], b" " * 100),
        (of_struct, [], b" " * 100),
        (of_body, [], b"x" * 100),
        (of_data, [], b" " * 100),
        (of_request, [], b"x" * 100),
        (of_request_stream, [], b"x" * 100),
        (of_model, [(b"content-type", b"application/x-www-form-urlencoded")], b"a=12345678&" * 10),
        (of_data, [(b"content-type", b"multipart/form-data; boundary=b")], MULTIPART + b"x" * 100),
        (of_request_form, [(b"content-type", b"multipart/form-data; boundary=b")], MULTIPART + b"x" * 100),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
@pytest.mark.parametrize("announced", [True, False], ids=["announced", "chunked"])
async def test_a_body_over_the_limit_is_a_413_without_being_read_whole(handler, headers, piece, announced):
    app = Flama(max_body_size=LIMIT)
    app.add_post("/", handler)
    length = [(b"content-length", str(len(piece) * 10_000).encode())] if announced else []
    sender = Sender(piece, headers=[*headers, *length])

    status = await sender.post(app)

    assert status == 413
    assert sender.checkout_nowait <= (0 if announced else LIMIT // len(piece) + 1)
    assert json.loads(sender.sent[1]["body"]) == {
        "status_code": 413,
        "detail": f"The body is larger than {LIMIT} bytes",
        "error": "BodyTooLarge",
    }


@pytest.mark.parametrize("length", [b"x", b"-1", b"1.5", b"", b"9" * 10_000, "²".encode("latin-1"), b"+5"], ids=repr)
async def test_an_announced_length_that_is_no_number_is_no_server_error(length):
    app = Flama(max_body_size=LIMIT)
    app.add_post("/", of_body)

    status = await Sender(b"x", 3, [(b"content-length", length)]).post(app)

    assert status in (204, 400, 413)


@pytest.mark.parametrize("handler", [of_model, of_struct, of_body, of_data, of_request])
async def test_a_body_over_the_limit_is_a_413_when_it_comes_unannounced_and_all_at_once(handler):
    app = Flama(max_body_size=LIMIT)
    app.add_post("/", handler)

    status = await Sender(b" " * (LIMIT + 1), 1).post(app)

    assert status == 413


async def test_a_body_of_the_limit_is_taken_and_one_byte_more_is_not():
    for size, status in ((LIMIT, 204), (LIMIT + 1, 413)):
        response, _ = await received(types.Body, content=b"x" * size, limit=LIMIT)
        assert response.status_code == status


async def test_without_a_limit_a_form_of_any_size_is_taken():
    response, found = await received(
        types.RequestData, data={"a": "x" * 3 * 2**20}, files={"f": b"y" * 3 * 2**20}, limit=None
    )

    assert response.status_code == 204
    assert len(found["a"]) == 3 * 2**20


async def test_a_client_that_goes_away_amid_its_body_is_no_error(caplog):
    app = Flama()
    app.add_post("/", of_model)
    messages = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]
    sent = []

    async def receive():
        return messages.pop(0)

    async def send(message):
        sent.append(message)

    async with Client(app=app):
        await app({"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": []}, receive, send)

    assert sent == []
    assert caplog.records == []


def test_a_body_over_the_limit_is_refused_over_a_socket_before_it_is_sent(serve):
    app = Flama(max_body_size=LIMIT)
    app.add_post("/", of_model)
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(serve(app)).netloc, timeout=5)

    connection.putrequest("POST", "/")
    connection.putheader("content-length", str(10**12))
    connection.putheader("content-type", "application/json")
    connection.endheaders()
    response = connection.getresponse()
    status = response.status
    connection.close()

    assert status == 413


@pytest.mark.parametrize(
    "body",
    [b"[" * 10_000, b'{"name": "\xff"}', b'{"name": NaN}', bytes(range(256))],
    ids=["deep", "UTF-8", "NaN", "binary"],
)
def test_hostile_bodies_are_answered_alike_over_a_socket(serve, body):
    app = Flama()
    app.add_post("/", of_model)
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(serve(app)).netloc, timeout=5)

    connection.request("POST", "/", body, {"content-type": "application/json"})
    status = connection.getresponse().status
    connection.close()

    assert status == 400


async def test_bodies_of_concurrent_requests_are_apart():
    app = Flama()

    @app.post("/")
    async def handler(data: schema(User)):
        await asyncio.sleep(0)
        return data["name"]

    async with Client(app=app) as client:
        found = await asyncio.gather(*(client.post("/", json={"name": f"n{i}"}) for i in range(50)))

    assert [response.json() for response in found] == [f"n{i}" for i in range(50)]


async def test_the_dictionary_that_a_handler_is_given_is_its_own():
    app = Flama()

    class WithDefault(pydantic.BaseModel):
        tags: list[str] = []

    @app.post("/")
    async def handler(data: schema(WithDefault)):
        data["tags"].append("x")
        data["more"] = 1
        return data

    async with Client(app=app) as client:
        found = [(await client.post("/", json={})).json() for _ in range(2)]

    assert found == [{"tags": ["x"], "more": 1}] * 2


@pytest.mark.parametrize("model", [int, "User", list[int], None], ids=repr)
async def test_a_schema_that_is_none_fails_the_start(model):
    with pytest.raises(exceptions.ApplicationError, match="schema"):
        await received(schema(model), json={})


async def test_the_first_of_several_content_types_and_lengths_counts():
    async def receive():
        return {"type": "http.request", "body": b"{}", "more_body": False}

    form, json_type = (b"content-type", b"multipart/form-data"), (b"content-type", b"application/json")
    sizes = [(b"content-length", b"2"), (b"content-length", b"9")]

    assert await request_module.read_json({"headers": [json_type, form, *sizes]}, receive, 5) == b"{}"
    assert await request_module.read_json({"headers": [form, json_type, *sizes]}, receive, 5) is None
    with pytest.raises(exceptions.BodyTooLarge):
        await request_module.read_json({"headers": [json_type, *reversed(sizes)]}, receive, 5)
