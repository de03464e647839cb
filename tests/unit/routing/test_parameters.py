"""What a handler can ask for by name and type: from the path, the query, headers and cookies."""

import datetime
import decimal
import enum
import typing as t
import urllib.parse
import uuid

import pydantic
import pytest

from flama import Flama, exceptions, http, types
from flama.client import Client

pytestmark = pytest.mark.anyio


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Size(enum.StrEnum):
    SMALL = "s"


UserId = t.NewType("UserId", int)
Positive = t.Annotated[int, pydantic.Field(gt=0)]
MISSING = object()
UUID = uuid.UUID("12345678-1234-5678-1234-567812345678")


async def received(annotation, default=MISSING, template="/", path="/", **request):
    """The answer's status, and what the handler was given for its parameter ``p``."""
    seen = []

    def handler(p):
        seen.append(p)

    handler.__annotations__["p"] = annotation
    if default is not MISSING:
        handler.__defaults__ = (default,)
    app = Flama()
    app.add_get(template, handler)
    async with Client(app=app) as client:
        response = await client.get(path, **request)
    return response, (seen[0] if seen else MISSING)


VALUES = [
    (str, "x", "x"),
    (str, "", ""),
    (str, "é/ +&", "é/ +&"),
    (int, "1", 1),
    (int, "-5", -5),
    (float, "1.5", 1.5),
    (bool, "true", True),
    (bool, "false", False),
    (bool, "1", True),
    (bool, "0", False),
    (bytes, "x", b"x"),
    (uuid.UUID, str(UUID), UUID),
    (decimal.Decimal, "1.10", decimal.Decimal("1.10")),
    (datetime.date, "2026-02-03", datetime.date(2026, 2, 3)),
    (datetime.datetime, "2026-02-03T04:05:06", datetime.datetime(2026, 2, 3, 4, 5, 6)),  # noqa: DTZ001
    (datetime.datetime, "2026-02-03T04:05:06Z", datetime.datetime(2026, 2, 3, 4, 5, 6, tzinfo=datetime.UTC)),
    (datetime.time, "04:05:06", datetime.time(4, 5, 6)),
    (datetime.timedelta, "PT1M30S", datetime.timedelta(seconds=90)),
    (Colour, "red", Colour.RED),
    (Level, "2", Level.HIGH),
    (Size, "s", Size.SMALL),
    (t.Literal["a", "b"], "b", "b"),
    (t.Literal[1, 2], "2", 2),
    (UserId, "7", 7),
    (Positive, "3", 3),
    (t.Annotated[str, pydantic.Field(min_length=2)], "ab", "ab"),
    (t.Optional[int], "3", 3),  # noqa: UP045 - this spelling is what is tested
    (int | None, "3", 3),
    (uuid.UUID | str, "x", "x"),
    (t.Annotated[int | None, pydantic.Field(gt=0)], "3", 3),
]


def ids(value):
    return repr(value)[:60] if value is not MISSING else "missing"


@pytest.mark.parametrize(("annotation", "text", "value"), VALUES, ids=ids)
async def test_a_value_of_every_type_is_read_from_the_query(annotation, text, value):
    response, found = await received(annotation, params={"p": text})

    assert response.status_code == 204
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(("annotation", "text", "value"), [row for row in VALUES if row[1]], ids=ids)
async def test_a_value_of_every_type_is_read_from_the_path(annotation, text, value):
    response, found = await received(annotation, template="/{p}/", path=f"/{urllib.parse.quote(text, safe='')}/")

    assert response.status_code == 204
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [row for row in VALUES if row[1].isascii() and row[1] and "&" not in row[1]],
    ids=ids,
)
@pytest.mark.parametrize("place", ["header", "cookie"])
async def test_a_value_of_every_type_is_read_from_headers_and_cookies(place, annotation, text, value):
    marker, headers = {
        "header": (types.Header("x-p"), {"X-P": text}),
        "cookie": (types.Cookie("c"), {"cookie": f"a=b; c={text}; d=e"}),
    }[place]

    response, found = await received(t.Annotated[annotation, marker], headers=headers)

    assert response.status_code == 204
    assert found == value
    assert type(found) is type(value)


MALFORMED = [
    (int, "x", "int_parsing"),
    (int, "", "int_parsing"),
    (int, "1.5", "int_parsing"),
    (int, "9" * 5000, "int_parsing_size"),
    (float, "x", "float_parsing"),
    (bool, "maybe", "bool_parsing"),
    (uuid.UUID, "1", "uuid_parsing"),
    (decimal.Decimal, "x", "decimal_parsing"),
    (datetime.date, "2026-02-30", None),
    (datetime.datetime, "yesterday", None),
    (datetime.time, "25:00", None),
    (datetime.timedelta, "soon", None),
    (Colour, "green", "enum"),
    (Level, "3", "enum"),
    (Level, "HIGH", "enum"),
    (t.Literal["a"], "b", "literal_error"),
    (UserId, "x", "int_parsing"),
    (Positive, "0", "greater_than"),
    (t.Optional[int], "x", "int_parsing"),  # noqa: UP045 - this spelling is what is tested
    (list[int], "x", None),
]


@pytest.mark.parametrize(("annotation", "text", "kind"), MALFORMED, ids=ids)
async def test_a_malformed_value_is_a_400_by_name(annotation, text, kind):
    response, found = await received(annotation, params={"p": text})

    content = response.json()
    [(name, detail)] = content["detail"].items()
    assert found is MISSING
    assert response.status_code == 400
    assert (content["status_code"], content["error"]) == (400, "ValidationError")
    assert name.split(".")[0] == detail["loc"][0] == "p"
    assert kind is None or detail["type"] == kind
    assert detail["msg"]


@pytest.mark.parametrize(
    "annotation",
    [str, int, uuid.UUID, Colour, Positive, UserId, t.Annotated[str, types.Header()], t.Annotated[str, types.Cookie()]],
    ids=ids,
)
async def test_a_missing_value_is_a_400_by_name(annotation):
    response, found = await received(annotation)

    assert found is MISSING
    assert response.status_code == 400
    assert response.json() == {
        "status_code": 400,
        "detail": {"p": {"type": "missing", "loc": ["p"], "msg": "Field required", "input": None}},
        "error": "ValidationError",
    }


@pytest.mark.parametrize(
    ("annotation", "default", "value"),
    [
        (int, 5, 5),
        (int | None, MISSING, None),
        (t.Optional[str], "d", "d"),  # noqa: UP045 - this spelling is what is tested
        (int | None, None, None),
        (list[int], MISSING, []),
        (list[int], [1], [1]),
        (list[int] | None, None, None),
        (Colour, Colour.BLUE, Colour.BLUE),
        (t.Annotated[int | None, types.Header()], MISSING, None),
        (t.Annotated[int, types.Cookie()], 3, 3),
        (Positive, -1, -1),
    ],
    ids=ids,
)
async def test_a_value_that_is_not_sent_is_the_default_or_none_or_an_empty_list(annotation, default, value):
    response, found = await received(annotation, default)

    assert response.status_code == 204
    assert found == value


@pytest.mark.parametrize(
    ("annotation", "query", "value"),
    [
        (list[int], "p=1&p=2&q=3", [1, 2]),
        (list[str], "p=a&p=&p=b", ["a", "", "b"]),
        (list[Colour], "p=red", [Colour.RED]),
        (list[int] | None, "p=1", [1]),
        (set[int], "p=1&p=1", {1}),
        (tuple[int, ...], "p=1&p=2", (1, 2)),
        (list[uuid.UUID], f"p={UUID}", [UUID]),
        (t.Annotated[list[int], pydantic.Field(max_length=2)], "p=1&p=2", [1, 2]),
        (int, "p=1&p=2", 2),
        (str, "p", ""),
        (str, "p=a+b%20c", "a b c"),
        (str, "p=%C3%A9", "é"),
        (str, "p=a%3Db%26c", "a=b&c"),
    ],
    ids=ids,
)
async def test_a_list_takes_all_the_values_and_a_scalar_the_last(annotation, query, value):
    response, found = await received(annotation, path=f"/?{query}")

    assert response.status_code == 204
    assert found == value


async def test_too_many_values_for_a_bounded_list_are_a_400():
    response, _ = await received(t.Annotated[list[int], pydantic.Field(max_length=2)], path="/?p=1&p=2&p=3")

    assert response.status_code == 400


async def test_an_element_that_is_malformed_is_named_by_its_place():
    response, _ = await received(list[int], path="/?p=1&p=x")

    assert response.json()["detail"]["p.1"]["loc"] == ["p", 1]


@pytest.mark.parametrize(
    ("marker", "request_"),
    [
        (types.Header(), {"headers": {"P": "3"}}),
        (types.Header("X-Count"), {"headers": {"x-count": "3"}}),
        (types.Cookie(), {"headers": {"cookie": "p=3"}}),
        (types.Cookie("other"), {"headers": {"cookie": "other=3"}}),
        (types.QueryParam(), {"params": {"p": "3"}}),
        (types.QueryParam("from"), {"params": {"from": "3"}}),
    ],
    ids=repr,
)
async def test_a_marker_says_where_the_value_is_and_under_which_name(marker, request_):
    _, found = await received(t.Annotated[int, marker], **request_)

    assert found == 3


async def test_a_header_s_name_is_the_parameter_s_with_dashes_and_its_case_does_not_matter():
    app = Flama()

    @app.get("/")
    def handler(x_request_id: t.Annotated[str, types.Header()], accept: t.Annotated[list[str], types.Header()]):
        return [x_request_id, accept]

    async with Client(app=app) as client:
        response = await client.get("/", headers=[("X-Request-ID", "r"), ("Accept", "a"), ("accept", "b")])

    assert response.json()[0] == "r"
    assert {"a", "b"} <= set(response.json()[1])


async def test_a_path_parameter_can_be_taken_under_another_name():
    _, found = await received(t.Annotated[int, types.PathParam("id")], template="/{id}/", path="/3/")

    assert found == 3


async def test_a_path_parameter_that_the_path_does_not_have_fails_the_start():
    with pytest.raises(exceptions.ApplicationError, match=r"/\{id\}/.*nope"):
        await received(t.Annotated[int, types.PathParam("nope")], template="/{id}/", path="/3/")


async def test_the_path_goes_before_the_query():
    _, found = await received(int, template="/{p}/", path="/1/?p=2")

    assert found == 1


async def test_a_query_parameter_may_share_its_name_with_one_of_the_path_when_marked():
    _, found = await received(t.Annotated[int, types.QueryParam()], template="/{p}/", path="/1/?p=2")

    assert found == 2


@pytest.mark.parametrize(
    ("template", "annotation", "path", "value"),
    [
        ("/{p:int}/", str, "/7/", "7"),
        ("/{p:int}/", Level, "/2/", Level.HIGH),
        ("/{p:int}/", decimal.Decimal, "/7/", decimal.Decimal(7)),
        ("/{p:uuid}/", str, f"/{UUID}/", str(UUID)),
        ("/{p:path}", str, "/a/b", "a/b"),
        ("/{p}/", datetime.date, "/2026-01-01/", datetime.date(2026, 1, 1)),
    ],
)
async def test_a_path_parameter_becomes_what_the_handler_s_annotation_says(template, annotation, path, value):
    response, found = await received(annotation, template=template, path=path)

    assert response.status_code == 204
    assert found == value
    assert type(found) is type(value)


async def test_a_malformed_value_in_the_path_is_a_400_where_the_template_takes_any():
    response, _ = await received(uuid.UUID, template="/{p}/", path="/nonsense/")

    assert response.status_code == 400


@pytest.mark.parametrize(
    "query", ["p=%00", "p=%FF", "p=%ED%A0%80", "%", "=", "&&&", "p=" + "x" * 20_000, "p=%zz", ";p"]
)
@pytest.mark.parametrize("annotation", [str, str | None, int | None, bytes | None, list[str]], ids=repr)
async def test_no_query_is_a_server_error(query, annotation):
    response, _ = await received(annotation, path=f"/?{query}")

    assert response.status_code in (204, 400)


@pytest.mark.parametrize("header", [b"\xff\xfe", b"a=\xff; b", b";;;==", b'p="a', b"p=\x80"])
@pytest.mark.parametrize("name", [b"cookie", b"x-p"])
async def test_no_header_is_a_server_error(name, header):
    app = Flama()

    @app.get("/")
    def handler(
        p: t.Annotated[int | None, types.Cookie()], x_p: t.Annotated[str | None, types.Header()], cookies: types.Cookies
    ):
        return [p, x_p, cookies]

    async with Client(app=app) as client:
        response = await client.get("/", headers=[(name, header)])

    assert response.status_code in (200, 400)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (types.Path, "/x/7/"),
        (types.Method, "GET"),
        (types.Scheme, "http"),
        (types.Server, ("localapp", 80)),
        (types.URL, "http://localapp/x/7/?q=1&q=2"),
        (types.QueryString, "q=1&q=2"),
        (types.PathParams, {"id": 7}),
        (types.Cookies, {"a": "b"}),
        (types.Body, b""),
    ],
    ids=ids,
)
async def test_a_part_of_the_connection_is_given_by_its_type(annotation, value):
    _, found = await received(annotation, template="/x/{id:int}/", path="/x/7/?q=1&q=2", headers={"cookie": "a=b"})

    assert found == value


async def test_the_whole_request_its_headers_and_query_are_given_by_their_types():
    app = Flama()

    @app.get("/{id}/")
    async def handler(
        request: http.Request,
        headers: http.Headers,
        query: http.QueryParams,
        scope: types.Scope,
        receive: types.Receive,
        send: types.Send,
    ):
        return {
            "method": request.method,
            "id": request.path_params["id"],
            "header": headers["x-a"],
            "query": query.getlist("q"),
            "scope": scope["type"],
            "callable": callable(receive) and callable(send),
            "client": request.client.host,
        }

    async with Client(app=app) as client:
        response = await client.get("/7/?q=1&q=2", headers={"x-a": "b"})

    assert response.json() == {
        "method": "GET",
        "id": "7",
        "header": "b",
        "query": ["1", "2"],
        "scope": "http",
        "callable": True,
        "client": "127.0.0.1",
    }


@pytest.mark.parametrize("annotation", [object, complex, list[object], list[list[int]], type[int]], ids=repr)
async def test_an_annotation_that_no_string_can_be_fails_the_start(annotation):
    with pytest.raises(exceptions.ApplicationError, match="'p' for function 'handler'"):
        await received(annotation)
