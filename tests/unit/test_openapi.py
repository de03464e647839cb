"""The OpenAPI document: what it says of routes, parameters, bodies, answers."""

import collections.abc
import dataclasses
import datetime
import decimal
import enum
import functools
import subprocess
import sys
import typing as t
import uuid

import msgspec
import openapi_spec_validator
import pydantic
import pytest

from flama import Component, Flama, exceptions, http, types
from flama.routing import Router
from flama.schemas.adapter import json_schema

ERROR = {"$ref": "#/components/schemas/APIError"}


class Kind(enum.Enum):
    CAT = "cat"
    DOG = "dog"


class Toy(pydantic.BaseModel):
    label: str


class Puppy(pydantic.BaseModel):
    name: str = pydantic.Field(min_length=1)
    age: int | None = pydantic.Field(None, ge=0)
    kind: Kind = Kind.DOG


class Owner(pydantic.BaseModel):
    name: str
    toys: list[Toy]


class Tag(msgspec.Struct):
    label: str
    weight: int = 1


class Point(t.TypedDict):
    x: int


@dataclasses.dataclass
class Size:
    height: int
    width: int = 1


PUPPY = t.Annotated[types.Schema, types.SchemaMetadata(Puppy)]
PARTIAL = t.Annotated[types.Schema, types.SchemaMetadata(Puppy, partial=True)]


def described(app):
    openapi_spec_validator.validate(app.openapi)
    return app.openapi


def document(handler, path="/x/", method="POST", app=None, **options):
    app = app or Flama()
    app.add_route(path, handler, [method], **options)
    return described(app)


def operation(handler, path="/x/", method="POST", **options):
    paths = document(handler, path, method, **options)["paths"]
    [item] = paths.values()
    return item[method.lower()]


def parameters(handler, path="/x/", **options):
    return {p["name"]: p for p in operation(handler, path, "GET", **options).get("parameters", ())}


def schemas_of(annotation, default=t.Any):
    def handler(value): ...

    handler.__annotations__["value"] = annotation
    if default is not t.Any:
        handler.__defaults__ = (default,)
    return parameters(handler)["value"]


def body(handler):
    return operation(handler)["requestBody"]


def answers(returned):
    def handler(): ...

    handler.__annotations__["return"] = returned
    responses = operation(handler, method="GET")["responses"]
    return {status: answer.get("content") for status, answer in responses.items() if status not in ("400", "default")}


def answer_as_json(returned):
    return answers(returned)["200"]["application/json"]["schema"]


# The document


def test_an_application_without_routes_has_a_valid_document():
    document = described(Flama())

    assert document["openapi"] == "3.1.0"
    assert document["info"] == {"title": "Flama", "version": "0.1.0"}
    assert document["paths"] == {}


def test_what_is_given_is_merged_into_the_document():
    security = {"token": {"type": "http", "scheme": "bearer"}}
    given = {
        "info": {"title": "Puppies", "description": "All of them."},
        "servers": [{"url": "https://example.com"}],
        "tags": [{"name": "puppy"}],
        "security": [{"token": []}],
        "components": {"securitySchemes": security},
    }

    document = described(Flama(openapi=given))

    assert document["info"] == {"title": "Puppies", "version": "0.1.0", "description": "All of them."}
    assert {name: document[name] for name in ("servers", "tags", "security")} == {
        name: given[name] for name in ("servers", "tags", "security")
    }
    assert document["components"]["securitySchemes"] == security
    assert "APIError" in document["components"]["schemas"]


def test_paths_are_written_without_converters():
    def handler(id: int, rest: str): ...

    assert list(document(handler, "/a/{id:int}/b/{rest:path}")["paths"]) == ["/a/{id}/b/{rest}"]


def test_an_operation_is_described_by_its_docstring():
    def handler():
        """Give a puppy,
        any.

        It may bark.

        Or not.
        """

    found = operation(handler, tags=["puppy"])

    assert found["operationId"] == "handler"
    assert found["summary"] == "Give a puppy, any."
    assert found["description"] == "It may bark.\n\nOr not."
    assert found["tags"] == ["puppy"]


def test_a_partial_function_is_described_by_the_function_s_own_docstring():
    def handler(scale: int, value: int):
        """Scale."""

    found = operation(functools.partial(handler, scale=2), name="scaled")

    assert found["summary"] == "Scale."


def test_a_handler_without_docstring_has_no_prose():
    def handler(): ...

    assert operation(handler).keys() == {"operationId", "responses"}


def test_a_route_is_left_out_when_it_says_so():
    assert document(lambda: 1, include_in_schema=False)["paths"] == {}


def test_web_sockets_are_left_out():
    async def handler(websocket: http.WebSocket): ...

    app = Flama()
    app.add_websocket_route("/socket/", handler)

    assert described(app)["paths"] == {}


def test_operations_have_unique_ids():
    def named(): ...

    app = Flama()
    app.add_route("/a/", named, ["GET", "POST"])
    app.add_get("/b/", named)
    app.add_get("/c/", named)
    app.add_get("/d/", named)

    paths = described(app)["paths"]

    assert [(path, op["operationId"]) for path, item in paths.items() for op in item.values()] == [
        ("/a/", "named_get"),
        ("/a/", "named_post"),
        ("/b/", "named"),
        ("/c/", "named_2"),
        ("/d/", "named_3"),
    ]


def test_methods_that_openapi_does_not_know_are_left_out():
    paths = document(lambda: 1, method="QUERY")["paths"]

    assert paths == {}


def test_of_two_routes_that_are_alike_the_first_is_described():
    def first(): ...
    def second(): ...

    app = Flama()
    app.add_get("/x/", first)
    app.add_get("/x/", second)

    assert described(app)["paths"]["/x/"]["get"]["operationId"] == "first"


def test_a_path_with_other_names_for_its_parameters_is_the_same_path():
    app = Flama()
    app.add_get("/puppy/{id:int}/", lambda id: id, name="get")
    app.add_put("/puppy/{puppy_id:uuid}/", lambda puppy_id: puppy_id, name="put")

    item = described(app)["paths"]["/puppy/{id}/"]

    assert item["get"]["parameters"][0]["schema"] == {"type": "integer"}
    assert item["put"]["parameters"][0] == {
        "name": "id",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "format": "uuid"},
    }


def test_routes_that_only_the_types_of_parameters_tell_apart_cannot_be_described():
    app = Flama()
    app.add_get("/puppy/{id:int}/", lambda id: id, name="by_id")
    app.add_get("/puppy/{name}/", lambda name: name, name="by_name")

    with pytest.raises(exceptions.ApplicationError, match=r"'by_id' of .* and 'by_name' of .* include_in_schema=False"):
        _ = app.openapi


def test_mounted_routers_and_applications_are_described_under_their_paths():
    def deep(token: Token) -> str: ...

    router = Router()
    router.add_get("/list/", list, name="list")
    inner = Flama()
    inner.add_get("/deep/{id:int}/", deep)
    outer = Flama(components=[TokenComponent()])
    outer.mount("/router", router, name="router")
    outer.mount("/inner/", inner, name="inner")

    paths = described(outer)["paths"]

    assert {path: item["get"]["operationId"] for path, item in paths.items()} == {
        "/router/list/": "router:list",
        "/inner/deep/{id}/": "inner:deep",
    }
    assert [p["name"] for p in paths["/inner/deep/{id}/"]["get"]["parameters"]] == ["x-token", "id"]


def test_a_route_comes_before_one_of_a_mount_that_it_hides():
    inner = Flama()
    inner.add_get("/x/", lambda: 1, name="hidden")
    app = Flama()
    app.mount("/inner", inner)
    app.add_get("/inner/x/", lambda: 1, name="served")

    assert described(app)["paths"]["/inner/x/"]["get"]["operationId"] == "served"


def test_an_error_names_the_handler_that_cannot_be_described():
    class Odd: ...

    def takes(data: t.Annotated[types.Schema, types.SchemaMetadata(Calls)]): ...
    def answers() -> Odd: ...

    def later() -> dict[str, "Later"]: ...

    for handler in (takes, answers, later):
        app = Flama()
        app.add_post("/odd/", handler)
        with pytest.raises(exceptions.ApplicationError, match=f"The handler '{handler.__name__}' of '/odd/' can't"):
            _ = app.openapi


def struct(label_type):
    class Twin(msgspec.Struct):
        label: label_type

    return Twin


class Twins(msgspec.Struct):
    one: struct(str)
    other: struct(int)


def store_twins(data: Twins): ...


NAMES_TWINS_APART = tuple(map(int, msgspec.__version__.split(".")[:2])) >= (0, 23)


@pytest.mark.skipif(not NAMES_TWINS_APART, reason="msgspec names Structs of one name apart from 0.23 on")
def test_structs_of_one_name_and_module_are_described_apart():
    app = Flama()
    app.add_post("/twins/", store_twins)

    schemas = app.openapi["components"]["schemas"]

    fields = schemas["Twins"]["properties"].values()
    twins = [schemas[field["$ref"].removeprefix("#/components/schemas/")] for field in fields]
    assert [twin["properties"]["label"] for twin in twins] == [{"type": "string"}, {"type": "integer"}]


@pytest.mark.skipif(NAMES_TWINS_APART, reason="msgspec could not name Structs of one name apart before 0.23")
def test_structs_of_one_name_and_module_are_refused_where_msgspec_mixes_them_up():
    app = Flama()
    app.add_post("/twins/", store_twins)

    with pytest.raises(
        exceptions.ApplicationError, match=r"The handler 'store_twins' of '/twins/' can't.*another model"
    ):
        _ = app.openapi


class Later(t.NamedTuple):
    when: "Never"  # noqa: F821 - that is the point


class Calls(pydantic.BaseModel):
    call: collections.abc.Callable[[], int] = int


# Parameters


class Token:
    pass


class TokenComponent(Component):
    def resolve(self, x_token: t.Annotated[str, types.Header()]) -> Token: ...


def test_a_parameter_says_where_it_comes_from():
    def handler(
        id: uuid.UUID,
        q: str,
        x_scale: t.Annotated[int, types.Header()],
        agent: t.Annotated[str | None, types.Header("User-Agent")],
        session: t.Annotated[str, types.Cookie("sid")] = "none",
    ): ...

    found = parameters(handler, "/{id:uuid}/")

    assert {name: (p["in"], p["required"]) for name, p in found.items()} == {
        "id": ("path", True),
        "q": ("query", True),
        "x-scale": ("header", True),
        "User-Agent": ("header", False),
        "sid": ("cookie", False),
    }
    assert found["sid"]["schema"] == {"type": "string", "default": "none"}


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (str, {"type": "string"}),
        (uuid.UUID, {"type": "string", "format": "uuid"}),
        (datetime.date, {"type": "string", "format": "date"}),
        (datetime.datetime, {"type": "string", "format": "date-time"}),
        (int | None, {"type": "integer"}),
        (int | uuid.UUID | None, {"anyOf": [{"type": "integer"}, {"type": "string", "format": "uuid"}]}),
        (t.Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        (Kind, {"$ref": "#/components/schemas/Kind"}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (t.Annotated[int, pydantic.Field(ge=1, le=9)], {"type": "integer", "minimum": 1, "maximum": 9}),
        (t.Annotated[decimal.Decimal, pydantic.Field(ge=1)], {"type": "number", "minimum": 1.0}),
    ],
    ids=str,
)
def test_a_parameter_has_the_schema_of_its_type(annotation, schema):
    assert schemas_of(annotation)["schema"] == schema


def test_a_number_as_text_is_described_by_a_pattern():
    number, text = schemas_of(decimal.Decimal)["schema"]["anyOf"]

    assert number == {"type": "number"}
    assert text["pattern"]


def test_a_number_that_is_answered_as_text_may_have_an_exponent():
    schema, _ = json_schema(decimal.Decimal, output=True, reference="{name}")

    assert schema == {"type": "string"}


@pytest.mark.parametrize(
    ("annotation", "default", "described"),
    [
        (int, 10, 10),
        (Kind, Kind.CAT, "cat"),
        (datetime.date, datetime.date(2026, 1, 2), "2026-01-02"),
        (list[int], [1], [1]),
        (list[int], (), []),
    ],
    ids=str,
)
def test_a_default_is_part_of_the_schema(annotation, default, described):
    found = schemas_of(annotation, default)

    assert found["required"] is False
    assert found["schema"]["default"] == described


@pytest.mark.parametrize("default", [None, object()], ids=["None", "an object"])
def test_a_default_that_a_request_cannot_hold_is_not_told(default):
    found = schemas_of(int | None, default)

    assert found["required"] is False
    assert "default" not in found["schema"]


def test_a_list_may_be_left_out():
    assert schemas_of(list[int])["required"] is False


def test_the_description_of_a_field_is_that_of_the_parameter():
    found = schemas_of(t.Annotated[int, pydantic.Field(description="How many")])

    assert found["description"] == "How many"
    assert found["schema"] == {"type": "integer"}


def test_a_header_brings_one_value_at_a_time():
    def handler(x_ids: t.Annotated[list[int], types.Header()]): ...

    assert parameters(handler)["x-ids"]["schema"] == {"type": "integer"}


@pytest.mark.parametrize("name", ["Accept", "Authorization", "Content-Type"])
def test_headers_that_openapi_describes_elsewhere_are_no_parameters(name):
    def handler(value: t.Annotated[str, types.Header(name)]): ...

    assert parameters(handler) == {}


def test_a_parameter_of_the_path_is_described_whoever_asks_for_it():
    def handler(path: types.PathParams): ...

    assert parameters(handler, "/{id:int}/{rest:path}") == {
        "id": {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}},
        "rest": {"name": "rest", "in": "path", "required": True, "schema": {"type": "string"}},
    }


def test_a_parameter_of_the_path_has_the_narrower_type():
    def handler(a: str, b: int, c): ...

    found = parameters(handler, "/{a:int}/{b}/{c:float}/")

    assert {name: p["schema"]["type"] for name, p in found.items()} == {"a": "integer", "b": "integer", "c": "number"}


def test_what_components_ask_for_is_asked_of_the_request_once():
    class Session:
        pass

    class SessionComponent(Component):
        def resolve(self, token: Token, limit: int = 1) -> Session: ...

    def handler(session: Session, token: Token, limit: int): ...

    found = parameters(handler, app=Flama(components=[TokenComponent(), SessionComponent()]))

    assert found.keys() == {"x-token", "limit"}
    assert found["limit"]["required"] is True


def test_what_the_framework_gives_is_no_parameter():
    def handler(scope: types.Scope, app: types.App, request: http.Request, headers: http.Headers): ...

    assert parameters(handler) == {}


# Bodies


def test_a_model_is_taken_as_json_or_as_a_form():
    def handler(data: t.Annotated[types.Schema, types.SchemaMetadata(Size)]): ...

    reference = {"schema": {"$ref": "#/components/schemas/Size"}}
    assert body(handler) == {
        "required": True,
        "content": {
            "application/json": reference,
            "application/x-www-form-urlencoded": reference,
            "multipart/form-data": reference,
        },
    }


def test_a_form_has_no_null():
    def handler(data: PUPPY): ...

    content = body(handler)["content"]

    assert content["application/json"]["schema"] == {"$ref": "#/components/schemas/Puppy"}
    form = content["application/x-www-form-urlencoded"]["schema"]
    assert form["properties"]["age"] == {"type": "integer", "minimum": 0}
    assert form["required"] == ["name"]


@pytest.mark.parametrize(
    "annotation", [Owner, list[Tag], list[PUPPY], t.Annotated[types.SchemaList, types.SchemaMetadata(Tag)]], ids=str
)
def test_what_a_form_cannot_hold_is_taken_as_json_alone(annotation):
    def handler(data): ...

    handler.__annotations__["data"] = annotation

    assert list(body(handler)["content"]) == ["application/json"]


@pytest.mark.parametrize("annotation", [PARTIAL, PUPPY | None, list[Tag]], ids=str)
def test_a_body_that_may_be_missing_is_not_required(annotation):
    def handler(data): ...

    handler.__annotations__["data"] = annotation

    assert body(handler)["required"] is False


def test_a_partial_schema_has_a_component_of_its_own_without_defaults():
    def handler(data: PARTIAL) -> PARTIAL: ...

    components = document(handler)["components"]["schemas"]

    assert components.keys() == {"APIError", "Kind", "PartialPuppy"}
    assert "required" not in components["PartialPuppy"]
    assert ["default" in field for field in components["PartialPuppy"]["properties"].values()] == [False] * 3


def test_a_partial_field_keeps_what_its_author_added_to_the_schema():
    class Noted(pydantic.BaseModel):
        a: int = pydantic.Field(json_schema_extra={"x-note": "a"})
        b: int = pydantic.Field(1, json_schema_extra=lambda schema: schema.update({"x-note": "b"}))

    def handler(data: t.Annotated[types.Schema, types.SchemaMetadata(Noted, partial=True)]): ...

    fields = document(handler)["components"]["schemas"]["PartialNoted"]["properties"]

    assert [(field["x-note"], "default" in field) for field in fields.values()] == [("a", False), ("b", False)]


def test_a_partial_struct_has_no_required_fields():
    def handler(data: t.Annotated[types.Schema, types.SchemaMetadata(Tag, partial=True)]): ...

    partial = document(handler)["components"]["schemas"]["PartialTag"]

    assert partial["required"] == []
    assert partial["properties"] == {"label": {"type": "string"}, "weight": {"type": "integer"}}


def test_files_are_taken_as_parts_of_a_form():
    def handler(photo: http.UploadFile, tag: Tag, spare: http.UploadFile | None): ...

    found = body(handler)

    file = {"type": "string", "format": "binary"}
    files = {"type": "object", "properties": {"photo": file, "spare": file}, "required": ["photo"]}
    assert found["content"] == {
        "multipart/form-data": {"schema": {"allOf": [{"$ref": "#/components/schemas/Tag"}, files]}}
    }
    assert found["required"] is True


def test_a_file_may_be_the_field_of_a_model():
    class Photo(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
        file: http.UploadFile

    def handler(photo: Photo): ...

    assert document(handler)["components"]["schemas"]["Photo"]["properties"]["file"]["format"] == "binary"


@pytest.mark.parametrize(("annotation", "kinds"), [(types.RequestData, 3), (types.Body, 1)], ids=str)
def test_a_body_of_any_kind_is_described_as_that(annotation, kinds):
    def handler(data): ...

    handler.__annotations__["data"] = annotation
    found = body(handler)

    assert found["required"] is False
    schemas = [content["schema"] for content in found["content"].values()]
    assert schemas == [{"maxItems": 10_000} if annotation is types.RequestData else {}, {}, {}][:kinds]


# Answers


@pytest.mark.parametrize(
    ("returned", "schema"),
    [
        (Puppy, {"$ref": "#/components/schemas/Puppy"}),
        (PUPPY, {"$ref": "#/components/schemas/Puppy"}),
        (list[Tag], {"type": "array", "items": {"$ref": "#/components/schemas/Tag"}}),
        (Point, {"$ref": "#/components/schemas/Point"}),
        (Size, {"$ref": "#/components/schemas/Size"}),
        (Puppy | Owner, {"anyOf": [{"$ref": "#/components/schemas/Puppy"}, {"$ref": "#/components/schemas/Owner"}]}),
        (dict[str, Tag], {"type": "object", "additionalProperties": {"$ref": "#/components/schemas/Tag"}}),
        (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (str, {"type": "string"}),
        (int, {"type": "integer"}),
        (types.Schema, {"type": "object", "additionalProperties": True}),
    ],
    ids=str,
)
def test_an_answer_has_the_schema_of_its_type(returned, schema):
    assert answer_as_json(returned) == schema


@pytest.mark.parametrize(
    ("returned", "answered"),
    [
        (None, {"204": None}),
        (t.Any, {"2XX": None}),
        (bytes, {"200": {"application/json": {}}}),
        (http.Response, {"2XX": None}),
        (http.PlainTextResponse, {"2XX": {"text/plain": {}}}),
        (http.JSONResponse, {"2XX": {"application/json": {}}}),
        (http.RedirectResponse, {"3XX": None}),
        (http.ServerSentEventResponse, {"2XX": {"text/event-stream": {}}}),
        (collections.abc.AsyncIterator[dict[str, int]], {"200": {"application/x-ndjson": {}}}),
        (t.AsyncIterator[str], {"200": {"text/plain": {}}}),
        (collections.abc.Generator[bytes, None, None], {"200": {"application/octet-stream": {}}}),
        (collections.abc.AsyncIterable, {"200": {"application/x-ndjson": {}}}),
    ],
    ids=str,
)
def test_an_answer_has_the_status_and_media_type_of_what_is_returned(returned, answered):
    assert answers(returned) == answered


def test_an_optional_answer_may_have_no_content():
    assert answers(Point | None) == {
        "200": {"application/json": {"schema": {"$ref": "#/components/schemas/Point"}}},
        "204": None,
    }


def test_an_answer_of_unknown_type_is_some_success():
    assert operation(lambda: 1)["responses"]["2XX"] == {"description": "Successful response"}


def test_errors_have_one_schema():
    def handler() -> None: ...

    responses = operation(handler)["responses"]

    assert responses["default"]["content"] == {"application/json": {"schema": ERROR}}
    assert "400" not in responses


def test_what_can_be_invalid_is_answered_so():
    def body(data: Tag): ...
    def required(q: str): ...
    def converted(n: int = 1): ...
    def optional(q: str | None): ...
    def by_path(id: int): ...
    def narrowed(id: Kind): ...

    assert "400" in operation(body)["responses"]
    assert "400" in operation(required)["responses"]
    assert "400" in operation(converted)["responses"]
    assert "400" not in operation(optional)["responses"]
    assert "400" not in operation(by_path, "/{id:int}/")["responses"]
    assert "400" in operation(narrowed, "/{id}/")["responses"]


# Names of models


def model(name, **fields):
    return pydantic.create_model(name, **fields)


def components(*annotations):
    app = Flama()
    for number, annotation in enumerate(annotations):

        def handler(data): ...

        handler.__annotations__["data"] = annotation
        app.add_post(f"/{number}/", handler, name=str(number))
    return described(app)["components"]["schemas"]


def test_one_model_is_one_component():
    assert components(Owner, list[Owner], Toy).keys() == {"APIError", "Owner", "Toy"}


def test_models_of_one_name_are_told_apart():
    one, other = model("Puppy", a=int), model("Puppy", b=int)

    found = components(one, other, Puppy)

    assert found.keys() == {"APIError", "Kind", "Puppy", "PuppyInput", "Puppy2"}
    assert [next(iter(found[name]["properties"])) for name in ("Puppy", "PuppyInput", "Puppy2")] == ["a", "b", "name"]


def test_models_of_one_name_of_two_libraries_are_told_apart():
    assert components(model("Tag", a=int), Tag).keys() == {"APIError", "Tag", "TagInput"}


def test_models_that_differ_only_in_what_they_refer_to_are_told_apart():
    one = model("Box", toy=(model("Thing", a=(int, ...)), ...))
    other = model("Box", toy=(model("Thing", b=(int, ...)), ...))

    found = components(one, other)

    assert found["Box"]["properties"]["toy"] == {"$ref": "#/components/schemas/Thing"}
    assert found["BoxInput"]["properties"]["toy"] == {"$ref": "#/components/schemas/ThingInput"}
    assert list(found["ThingInput"]["properties"]) == ["b"]


def test_a_model_that_is_sent_otherwise_than_taken_is_two_components():
    class Priced(pydantic.BaseModel):
        price: decimal.Decimal

    def handler(data: Priced) -> Priced: ...

    found = document(handler)

    responses = found["paths"]["/x/"]["post"]["responses"]
    assert found["components"]["schemas"].keys() == {"APIError", "Priced", "PricedOutput"}
    assert responses["200"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/PricedOutput"}


def test_a_model_named_like_the_errors_schema_gets_another_name():
    found = components(model("APIError", a=int))

    assert "status_code" in found["APIError"]["properties"]
    assert list(found["APIErrorInput"]["properties"]) == ["a"]


def test_a_model_may_refer_to_itself():
    assert components(Node)["Node"]["properties"]["next"]["anyOf"][0] == {"$ref": "#/components/schemas/Node"}


class Node(pydantic.BaseModel):
    next: "Node | None" = None


# All of it together


class Given(pydantic.BaseModel):
    name: str = pydantic.Field(min_length=1, max_length=20)
    age: int | None = pydantic.Field(None, ge=0, le=30)
    kind: Kind = Kind.DOG


class Stored(Given):
    id: uuid.UUID
    since: datetime.date = datetime.date(2026, 1, 1)


def puppies():  # noqa: C901 - a list of handlers
    app, stored = Flama(), {}

    def found(id):
        if id not in stored:
            raise exceptions.NotFoundError(resource="puppy", id=id)
        return stored[id]

    @app.get("/puppy/")
    def list_puppies(
        limit: t.Annotated[int, pydantic.Field(ge=1, le=100)] = 10,
        kind: Kind | None = None,
        since: datetime.date | None = None,
        ids: list[uuid.UUID] | None = None,
    ) -> list[Stored]:
        return [puppy for puppy in stored.values() if kind in (None, puppy["kind"])][:limit]

    @app.post("/puppy/")
    def create(data: t.Annotated[types.Schema, types.SchemaMetadata(Given)]) -> Stored:
        id = uuid.uuid4()
        stored[id] = {**data, "id": id}
        return stored[id]

    @app.get("/puppy/{id:uuid}/")
    def retrieve(id: uuid.UUID) -> Stored:
        return found(id)

    @app.put("/puppy/{id:uuid}/")
    def update(id: uuid.UUID, data: t.Annotated[types.Schema, types.SchemaMetadata(Given)]) -> Stored:
        stored[id] = {**found(id), **data}
        return stored[id]

    @app.patch("/puppy/{puppy:uuid}/")
    def change(puppy: uuid.UUID, data: t.Annotated[types.Schema, types.SchemaMetadata(Given, partial=True)]) -> Stored:
        stored[puppy] = {**found(puppy), **data}
        return stored[puppy]

    @app.delete("/puppy/{id:uuid}/")
    def delete(id: uuid.UUID) -> None:
        del stored[found(id)["id"]]

    @app.post("/label/")
    def labels(tags: list[Label]) -> list[Label]:
        return tags

    @app.get("/sum/{a:int}/")
    def total(
        a: int,
        b: decimal.Decimal,
        x_scale: t.Annotated[int, types.Header()] = 1,
        sid: t.Annotated[str | None, types.Cookie()] = None,
    ) -> dict[str, decimal.Decimal]:
        return {"sum": a * x_scale + b}

    @app.post("/photo/")
    def photo(file: http.UploadFile, label: str = "none") -> int:
        return file.size or 0

    @app.get("/text/")
    def text() -> http.PlainTextResponse:
        return http.PlainTextResponse("text")

    return app


class Label(msgspec.Struct):
    text: str
    is_shown: bool = True


def test_an_application_keeps_to_its_document(serve, tmp_path):
    # Schemathesis would also have refused what a schema doesn't allow. Pydantic is lenient, as its users know it: it
    # takes false for 0, which no JSON Schema says of an integer.
    options = ["--max-examples=10", "--seed=1", "--exclude-checks=negative_data_rejection", "--no-color"]
    url = f"{serve(puppies())}/schema/"

    run = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "run", url, *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert run.returncode == 0, run.stdout + run.stderr
    assert "Tested: 10" in run.stdout
