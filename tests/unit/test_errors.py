"""Errors: how each of them is answered, wherever it escapes."""

import asyncio
import logging
import typing as t

import httpx
import msgspec
import pydantic
import pytest
import starlette.exceptions

from flama import Component, Flama, exceptions, types
from flama.client import Client
from flama.http import JSONResponse, PlainTextResponse
from flama.middleware import Middleware
from flama.rest import errors
from flama.routing import Mount

pytestmark = pytest.mark.anyio


async def get(app, path="/", **request):
    async with Client(app=app) as client:
        return await client.get(path, **request)


def raising(error, **options):
    """An application whose handler raises."""
    app = Flama(**options)

    @app.get("/")
    async def handler():
        raise error

    return app


DOMAIN = [
    exceptions.IntegrityError(resource="user", kind="unique", constraint="user_email", fields=("email",)),
    exceptions.NotFoundError(resource="user", id="alice"),
    exceptions.AlreadyExistsError(resource="user", id=1),
    exceptions.MultipleRecordsError(resource="user"),
    exceptions.ConflictError(resource="user", retryable=True),
    exceptions.PreconditionFailedError(resource="user"),
    exceptions.InvalidDataError(resource="user", detail="too long"),
    exceptions.UnknownColumnError(resource="user", names=["nmae"], columns=["name"]),
    exceptions.PermissionDeniedError(resource="user"),
    exceptions.UnauthenticatedError(resource="user"),
    exceptions.UnavailableError(resource="user", retry_after=3),
    exceptions.TooManyRequestsError(resource="user", retry_after=1.5),
    exceptions.InvalidResponseError(resource="user"),
]


@pytest.mark.parametrize("error", DOMAIN, ids=lambda error: type(error).__name__)
async def test_a_domain_error_is_answered_by_its_status_and_arrives_as_it_left(error):
    response = await get(raising(error))

    assert response.status_code == errors.STATUS[type(error)]
    assert response.headers["content-type"] == "application/json"
    assert response.json()["error"] == type(error).__name__
    assert response.json()["status_code"] == response.status_code
    decoded = errors.decode(response.status_code, response.content, response.headers, resource="x", write=False)
    assert (type(decoded), vars(decoded)) == (type(error), vars(error))


@pytest.mark.parametrize("error", DOMAIN, ids=lambda error: type(error).__name__)
async def test_a_domain_error_is_a_problem_for_who_asks_for_one(error):
    response = await get(raising(error), headers={"accept": "application/problem+json, application/json;q=0.5"})
    arrived = errors.decode(response.status_code, response.content, response.headers, resource="", write=True)

    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == response.status_code
    assert response.json()["type"] == f"urn:problem-type:flama:{type(error).__name__}"
    assert vars(arrived) == vars(error)


async def test_what_is_wrong_with_each_field_is_a_member_of_the_problem():
    error = exceptions.ValidationError({"name": {"msg": "Field required"}})
    response = await get(raising(error), headers={"accept": "application/problem+json"})

    assert response.json() == {
        "type": "urn:problem-type:flama:ValidationError",
        "title": "Bad Request",
        "status": 400,
        "errors": {"name": {"msg": "Field required"}},
    }


async def test_a_subclass_of_a_domain_error_is_answered_as_what_it_is_a_kind_of():
    class PuppyNotFound(exceptions.NotFoundError):
        pass

    response = await get(raising(PuppyNotFound(resource="puppy", id=3)))

    assert (response.status_code, response.json()["error"]) == (404, "NotFoundError")


@pytest.mark.parametrize(
    ("error", "status", "detail", "name"),
    [
        (exceptions.HTTPException(404), 404, "Not Found", "HTTPException"),
        (exceptions.HTTPException(418, "short and stout"), 418, "short and stout", "HTTPException"),
        (exceptions.HTTPException(400, {"a": [1]}), 400, {"a": [1]}, "HTTPException"),
        (exceptions.ValidationError({"x": "bad"}), 400, {"x": "bad"}, "ValidationError"),
        (exceptions.DecodeError("no JSON"), 400, "no JSON", "DecodeError"),
        (exceptions.BodyTooLarge(3), 413, "The body is larger than 3 bytes", "BodyTooLarge"),
        (starlette.exceptions.HTTPException(403, "no"), 403, "no", "HTTPException"),
    ],
)
async def test_an_http_exception_is_answered_in_the_shape_of_all_errors(error, status, detail, name):
    response = await get(raising(error))

    assert response.status_code == status
    assert response.json() == {"status_code": status, "detail": detail, "error": name}


async def test_the_headers_of_an_http_exception_are_sent():
    response = await get(raising(exceptions.HTTPException(401, headers={"WWW-Authenticate": "Basic"})))

    assert response.headers["www-authenticate"] == "Basic"


async def test_retry_after_is_sent_as_a_header_too():
    response = await get(raising(exceptions.UnavailableError(resource="user", retry_after=1.2)))

    assert response.headers["retry-after"] == "2"


@pytest.mark.parametrize("status", [204, 304])
async def test_a_status_that_can_have_no_body_is_answered_without(status):
    response = await get(raising(exceptions.HTTPException(status)))

    assert (response.status_code, response.content) == (status, b"")


class Value:
    pass


def component(error, *, late=False, generator=False):
    class ValueComponent(Component):
        async def resolve(self) -> Value:
            if not late:
                raise error
            yield Value()
            raise error

    class Plain(Component):
        def resolve(self) -> Value:
            raise error

    return ValueComponent() if generator or late else Plain()


def in_handler(error):
    return raising(error)


def in_sync_handler(error):
    app = Flama()

    @app.get("/")
    def handler():
        raise error

    return app


def in_component(error):
    app = Flama(components=[component(error)])

    @app.get("/")
    def handler(value: Value): ...

    return app


def in_generator_component(error):
    app = in_component(error)
    app._components[:] = [component(error, generator=True)]
    return app


def in_tear_down(error):
    app = in_component(error)
    app._components[:] = [component(error, late=True)]
    return app


def in_middleware(error):
    class Failing(Middleware):
        async def __call__(self, scope, receive, send):
            raise error

    return Flama(middleware=[Failing()])


def in_mounted_application(error):
    return Flama(routes=[Mount("/", raising(error))])


def in_mounted_asgi_application(error):
    async def asgi(scope, receive, send):
        raise error

    return Flama(routes=[Mount("/", asgi)])


def in_iterator_before_the_first_element(error):
    app = Flama()

    @app.get("/")
    async def handler():
        raise error
        yield

    return app


PLACES = [
    in_handler,
    in_sync_handler,
    in_component,
    in_generator_component,
    in_tear_down,
    in_middleware,
    in_mounted_application,
    in_mounted_asgi_application,
    in_iterator_before_the_first_element,
]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
async def test_a_domain_error_is_answered_by_status_wherever_it_escapes(place):
    response = await get(place(exceptions.NotFoundError(resource="user", id="x")))

    assert response.status_code == 404
    assert (response.json()["error"], response.json()["resource"]) == ("NotFoundError", "user")


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
async def test_an_unexpected_error_is_500_without_details_wherever_it_escapes_and_the_server_learns_of_it(
    place, caplog
):
    app = place(ValueError("postgresql://admin:hunter2@db/secrets"))

    response = await get(app)

    assert (response.status_code, response.text) == (500, "Internal Server Error")
    assert any("hunter2" in str(record.exc_info) for record in caplog.records if record.levelno == logging.ERROR)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_errors_are_answered_over_a_socket_as_in_process(place, serve):
    missing, broken = serve(place(exceptions.NotFoundError(resource="user"))), serve(place(ValueError("secret")))

    answers = [httpx.get(url + "/") for url in (missing, broken)]

    assert [answer.status_code for answer in answers] == [404, 500]
    assert "secret" not in answers[1].text


@pytest.mark.parametrize("place", [in_handler, in_component, in_middleware, in_sync_handler])
async def test_with_debug_an_unexpected_error_is_answered_with_its_traceback_and_no_credentials(place):
    app = place(ValueError("can't connect to postgresql://admin:hunter2@db/secrets"))
    app._errors.debug = True

    response = await get(app)

    assert response.status_code == 500
    assert "Traceback" in response.text
    assert "ValueError: can't connect to postgresql://admin:***@db/secrets" in response.text
    assert "hunter2" not in response.text
    assert response.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    "url",
    [
        "mysql+asyncmy://root:hunter2@127.0.0.1/x",
        "https://user:hunter2@host/path?x=1",
        "redis://:hunter2@host",
        "postgresql://u:p%40hunter2@h/d",
        "postgresql://u:p@hunter2@h/d",
        "postgresql://h/d?user=u&password=hunter2",
        "http://hunter2@host/x",
    ],
)
async def test_with_debug_the_credentials_of_any_url_are_redacted(url):
    response = await get(raising(RuntimeError(f"no connection to {url}, sorry"), debug=True))

    assert "Traceback" in response.text
    assert "hunter2" not in response.text


async def test_with_debug_a_domain_error_is_answered_as_without():
    error = exceptions.NotFoundError(resource="user")

    plain, debug = await get(raising(error)), await get(raising(error, debug=True))

    assert plain.content == debug.content


async def test_with_debug_the_values_of_variables_are_not_shown():
    app = Flama(debug=True)

    @app.get("/{id}/")
    def handler(id: str):
        password = id * 2
        raise ValueError(len(password))

    response = await get(app, "/hunter2/")

    assert "Traceback" in response.text
    assert "hunter2" not in response.text


class Base(Exception):
    pass


class Derived(Base):
    pass


async def answer(scope, receive, send, exc):
    return JSONResponse({"handled": type(exc).__name__}, 499)


def answer_synchronously(scope, receive, send, exc):
    return JSONResponse({"handled": type(exc).__name__}, 499)


@pytest.mark.parametrize("handler", [answer, answer_synchronously])
@pytest.mark.parametrize(
    ("key", "error"),
    [
        (Base, Base()),
        (Base, Derived()),
        (Exception, Derived()),
        (404, exceptions.HTTPException(404)),
        (404, starlette.exceptions.HTTPException(404)),
        (exceptions.HTTPException, exceptions.ValidationError()),
        (exceptions.NotFoundError, exceptions.NotFoundError(resource="user")),
        (exceptions.RepositoryException, exceptions.NotFoundError(resource="user")),
    ],
    ids=lambda value: repr(value) if isinstance(value, int | type) else None,
)
async def test_an_exception_handler_answers_for_a_status_a_class_and_its_subclasses(handler, key, error):
    app = raising(error)
    app.add_exception_handler(key, handler)

    response = await get(app)

    assert (response.status_code, response.json()) == (499, {"handled": type(error).__name__})


async def test_the_handler_of_the_nearest_class_is_taken():
    app = raising(Derived())
    app.add_exception_handler(Base, lambda *_: PlainTextResponse("base"))
    app.add_exception_handler(Derived, lambda *_: PlainTextResponse("derived"))
    app.add_exception_handler(Exception, lambda *_: PlainTextResponse("any"))

    assert (await get(app)).text == "derived"


async def test_a_handler_for_a_status_answers_the_domain_errors_of_that_status_too():
    app = raising(exceptions.NotFoundError(resource="user"))
    app.add_exception_handler(404, lambda *_: PlainTextResponse("nothing here", 404))

    async with Client(app=app) as client:
        found = [(await client.get(path)).text for path in ("/", "/unknown/")]

    assert found == ["nothing here", "nothing here"]


async def test_a_handler_for_500_answers_what_nobody_expected_and_the_server_learns_of_it_all_the_same(caplog):
    app = raising(ValueError("bug"))
    app.add_exception_handler(500, lambda *_: PlainTextResponse("sorry", 500))

    response = await get(app)

    assert (response.status_code, response.text) == (500, "sorry")


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nope/", 404), ("POST", "/", 405)])
async def test_a_handler_for_a_status_answers_what_the_router_refuses(method, path, status):
    app = raising(ValueError())
    app.add_exception_handler(status, lambda *_: PlainTextResponse("refused", status))

    async with Client(app=app) as client:
        response = await client.request(method, path)

    assert (response.status_code, response.text) == (status, "refused")


async def test_an_exception_handler_is_given_the_connection():
    seen = []

    async def handler(scope, receive, send, exc):
        seen.append((scope["path"], exc, callable(receive), callable(send)))
        return PlainTextResponse("")

    error = Base()
    app = raising(error)
    app.add_exception_handler(Base, handler)

    await get(app)

    assert seen == [("/", error, True, True)]


async def test_a_mounted_application_answers_its_own_errors():
    inner = raising(Base())
    app = Flama(routes=[Mount("/inner", inner)])
    app.add_exception_handler(Base, lambda *_: PlainTextResponse("outer"))

    unhandled = await get(app, "/inner/")
    inner.add_exception_handler(Base, lambda *_: PlainTextResponse("inner"))
    handled = await get(app, "/inner/")

    assert (unhandled.status_code, unhandled.text) == (500, "Internal Server Error")
    assert handled.text == "inner"


@pytest.mark.parametrize(
    "failure", [exceptions.NotFoundError(resource="x"), ValueError("secret")], ids=["known", "not"]
)
async def test_an_exception_handler_that_fails_itself_is_a_500_without_details(failure):
    def handler(scope, receive, send, exc):
        raise failure

    app = raising(Base())
    app.add_exception_handler(Base, handler)

    response = await get(app)

    assert response.status_code == 500
    assert "secret" not in response.text


async def test_an_exception_group_of_a_task_group_is_answered_as_unexpected():
    app = Flama()

    @app.get("/")
    async def handler():
        async with asyncio.TaskGroup() as group:
            group.create_task(_fail())

    async def _fail():
        raise ValueError("secret")

    response = await get(app)

    assert (response.status_code, response.text) == (500, "Internal Server Error")


async def test_detail_that_json_can_not_hold_is_a_500_without_it():
    response = await get(raising(exceptions.HTTPException(400, {"when": object()})))

    assert (response.status_code, response.text) == (500, "Internal Server Error")


async def test_an_error_s_text_with_lone_surrogates_is_answered():
    response = await get(raising(exceptions.HTTPException(400, "\ud800")))

    assert response.status_code == 400


@pytest.mark.parametrize("place", ["body", "query", "path", "header", "cookie"])
async def test_an_error_about_what_was_sent_is_of_the_reference_s_shape(place):
    class Model(pydantic.BaseModel):
        number: int

    def of_body(data: Model): ...

    def of_query(number: int): ...

    def of_header(number: t.Annotated[int, types.Header()]): ...

    def of_cookie(number: t.Annotated[int, types.Cookie()]): ...

    app = Flama()
    app.add_post("/body/", of_body)
    app.add_post("/query/", of_query)
    app.add_post("/path/{number}/", of_query)
    app.add_post("/header/", of_header)
    app.add_post("/cookie/", of_cookie)
    request = {
        "body": {"json": {"number": "x"}},
        "query": {"params": {"number": "x"}},
        "path": {},
        "header": {"headers": {"number": "x"}},
        "cookie": {"headers": {"cookie": "number=x"}},
    }[place]

    async with Client(app=app) as client:
        response = await client.post(f"/{place}/" + ("x/" if place == "path" else ""), **request)

    content = response.json()
    assert response.status_code == content["status_code"] == 400
    assert content["error"] == "ValidationError"
    assert content["detail"]["number"] == {
        "type": "int_parsing",
        "loc": ["number"],
        "msg": "Input should be a valid integer, unable to parse string as an integer",
        "input": "x",
    }


async def test_a_value_that_does_not_fit_the_declared_answer_is_a_500_that_tells_nothing_of_it():
    class Out(msgspec.Struct):
        number: int

    app = Flama()

    @app.get("/")
    def handler() -> Out:
        return {"number": "hunter2"}

    response = await get(app)

    assert response.status_code == 500
    assert response.json()["error"] == "SerializationError"
    assert "hunter2" not in response.text


class Out(pydantic.BaseModel):
    password: str

    @pydantic.field_validator("password")
    @classmethod
    def check(cls, value):
        raise ValueError(f"{value} is too weak")


async def test_an_answer_that_does_not_fit_is_a_bug_that_the_server_learns_of_and_the_client_does_not(caplog):
    app = Flama()

    @app.get("/")
    def handler() -> Out:
        return {"password": "hunter2"}

    response = await get(app)

    assert response.status_code == 500
    assert "hunter2" not in response.text
    assert any(record.levelno == logging.ERROR for record in caplog.records)
