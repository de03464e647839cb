import asyncio
import contextlib
import contextvars
import logging
import sys
import threading

import anyio
import httpx
import pytest
import sqlalchemy
import starlette.applications
import starlette.background
import starlette.requests
import starlette.responses
import starlette.routing
from sqlalchemy.ext.asyncio import create_async_engine

from flama import Flama
from flama.client import ASGITransport, Client, HTTPError, HTTPStatusError, LifespanContextManager
from flama.exceptions import ApplicationError
from flama.types import AppStatus

pytestmark = pytest.mark.anyio


def respond(status=200, *chunks, headers=(), before=None, between=None, after=None):
    """An application that answers like this, and awaits what it is given on the way."""

    async def app(scope, receive, send):
        assert scope["type"] == "http"
        if before:
            await before(scope, receive)
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})
        for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            if between:
                await between()
        await send({"type": "http.response.body", "body": b""})
        if after:
            await after(scope, receive)

    return app


def living(app):
    """The application, also for a server that insists on the lifespan protocol."""

    async def alive(scope, receive, send):
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        for phase in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{phase}.complete"})

    return alive


async def happens(event):
    return await asyncio.to_thread(event.wait, 5)


@pytest.fixture(params=["in process", "socket"])
async def connect(request, serve):
    """A function that gives a client of an application, in this process or over a socket."""
    async with contextlib.AsyncExitStack() as stack:

        async def connected(app):
            if request.param == "in process":
                return await stack.enter_async_context(Client(app=app))
            return await stack.enter_async_context(Client(base_url=serve(living(app))))

        yield connected


async def whole(client, method, path, **kwargs):
    return await client.request(method, path, **kwargs)


async def bit_by_bit(client, method, path, **kwargs):
    async with client.stream(method, path, **kwargs) as response:
        await response.aread()
    return response


@pytest.fixture(params=[whole, bit_by_bit])
def call(request):
    return request.param


class TestAnswers:
    """What comes back is the same in this process and over a socket, whole or bit by bit."""

    async def test_an_answer_has_its_status_headers_and_body(self, connect, call):
        client = await connect(respond(201, b"one", b"two", headers=[(b"x-a", b"1"), (b"x-a", b"2")]))

        response = await call(client, "GET", "/")

        assert (response.status_code, response.content) == (201, b"onetwo")
        assert response.headers.get_list("x-a") == ["1", "2"]

    async def test_the_scope_is_a_servers(self, connect, call):
        seen = {}

        async def note(scope, receive):
            seen.update(scope)

        client = await connect(respond(before=note))
        await call(client, "GET", "/a%2Fb/%C3%A9 x?q=%20&r", headers={"X-Upper": "Value"})

        assert seen["path"] == "/a/b/é x"
        assert seen["raw_path"] == b"/a%2Fb/%C3%A9%20x"
        assert seen["query_string"] == b"q=%20&r"
        assert (b"x-upper", b"Value") in seen["headers"]
        assert seen["http_version"] == "1.1"
        assert seen["scheme"] == "http"
        assert seen["client"][0] == "127.0.0.1"
        assert isinstance(seen["server"][1], int)

    async def test_a_body_arrives_whole(self, connect, call):
        async def echo(scope, receive, send):
            if scope["type"] != "http":  # which Starlette asserts, and python -O doesn't
                raise NotImplementedError
            body = await starlette.requests.Request(scope, receive).body()
            await starlette.responses.Response(body)(scope, receive, send)

        async def chunks():
            for number in range(3):
                yield b"%d" % number
                await asyncio.sleep(0)

        client = await connect(echo)

        assert (await call(client, "POST", "/", content=b"all at once")).content == b"all at once"
        assert (await call(client, "POST", "/", content=chunks())).content == b"012"

    async def test_a_failing_body_is_the_callers_error(self, connect, call):
        disconnected = threading.Event()

        async def read(scope, receive):
            while (message := await receive())["type"] == "http.request":
                assert message.get("more_body")
            disconnected.set()

        async def chunks():
            yield b"some"
            raise OSError("the file is gone")

        client = await connect(respond(before=read))

        with pytest.raises(OSError, match="the file is gone"):
            await call(client, "POST", "/", content=chunks())
        assert await happens(disconnected)

    @pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
    async def test_what_may_have_no_body_has_none(self, connect, call, method, status):
        client = await connect(respond(status, b"x" * 100_000))

        assert (await call(client, method, "/")).content == b""

    async def test_an_exception_is_a_500(self, connect, call):
        async def fail(scope, receive):
            raise LookupError("a bug")

        client = await connect(respond(before=fail))
        response = await call(client, "GET", "/")

        assert (response.status_code, response.text) == (500, "Internal Server Error")

    async def test_no_answer_at_all_is_a_500(self, connect, call):
        async def silent(scope, receive, send):
            pass

        assert (await call(await connect(silent), "GET", "/")).status_code == 500

    async def test_an_exception_within_an_answer_cuts_it_off(self, connect, call):
        async def fail():
            raise LookupError("a bug")

        client = await connect(respond(200, b"part", between=fail))

        with pytest.raises(httpx.RemoteProtocolError):
            await call(client, "GET", "/")

    async def test_an_answer_that_is_left_open_is_cut_off(self, connect, call):
        async def half(scope, receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"part", "more_body": True})

        with pytest.raises(httpx.RemoteProtocolError):
            await call(await connect(half), "GET", "/")

    @pytest.mark.parametrize("chunks", [[b"short"], [b"much", b" too long"]])
    async def test_an_answer_that_is_not_as_long_as_it_says_is_cut_off(self, connect, call, chunks):
        client = await connect(respond(200, *chunks, headers=[(b"Content-Length", b"9")]))

        with pytest.raises(httpx.RemoteProtocolError):
            await call(client, "GET", "/")

    async def test_a_head_may_tell_the_length_of_what_it_leaves_out(self, connect, call):
        client = await connect(respond(200, headers=[(b"content-length", b"9")]))

        response = await call(client, "HEAD", "/")

        assert (response.headers["content-length"], response.content) == ("9", b"")

    async def test_an_exception_after_the_answer_changes_nothing(self, connect, call):
        async def fail(scope, receive):
            raise LookupError("a bug")

        response = await call(await connect(respond(200, b"done", after=fail)), "GET", "/")

        assert response.content == b"done"

    async def test_an_application_that_cancels_itself_has_failed(self, connect, call):
        async def cancelled(scope, receive):
            task = asyncio.create_task(asyncio.sleep(5))
            task.cancel()
            await task

        assert (await call(await connect(respond(before=cancelled)), "GET", "/")).status_code == 500

    async def test_a_disconnect_follows_the_answer(self, connect, call):
        seen = []
        ended = threading.Event()

        async def note(scope, receive):
            seen.append((await receive())["type"])

        async def note_the_end(scope, receive):
            await note(scope, receive)
            ended.set()

        client = await connect(respond(before=note, after=note_the_end))
        await call(client, "GET", "/")
        assert await happens(ended)

        assert seen == ["http.request", "http.disconnect"]

    async def test_starlette_answers(self, connect, call):
        async def numbers():
            for number in range(1000):
                yield f"{number} " * 100

        async def stream(request):
            assert not await request.is_disconnected()
            return starlette.responses.StreamingResponse(numbers())

        app = starlette.applications.Starlette(routes=[starlette.routing.Route("/{id}", stream)])
        response = await call(await connect(app), "GET", "/1")

        assert len(response.text.split()) == 100_000

    async def test_redirects_are_not_followed(self, connect, call):
        client = await connect(respond(307, headers=[(b"location", b"/elsewhere")]))

        assert (await call(client, "GET", "/")).status_code == 307


class TestStreams:
    async def test_an_endless_answer_is_read_bit_by_bit_and_closed_early(self, connect):
        ended = threading.Event()

        async def endless(scope, receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            try:
                while True:
                    await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})
                    disconnect = asyncio.ensure_future(receive())
                    await asyncio.wait({disconnect}, timeout=0.001)
                    if disconnect.done() and disconnect.result()["type"] == "http.disconnect":
                        break
                    disconnect.cancel()
            finally:
                ended.set()

        client = await connect(endless)
        async with client.stream("GET", "/") as response:
            chunks = response.aiter_raw()
            assert [await anext(chunks) for _ in range(3)]

        assert await happens(ended)

    async def test_a_sender_waits_for_a_reader_that_lags_behind(self):
        sent = 0

        async def app(scope, receive, send):
            nonlocal sent
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for _ in range(100):
                await send({"type": "http.response.body", "body": b"x" * 10_000, "more_body": True})
                sent += 1
            await send({"type": "http.response.body", "body": b""})

        async with Client(app=app) as client, client.stream("GET", "/") as response:
            await asyncio.sleep(0.01)
            ahead = sent
            body = await response.aread()

        assert 1 <= ahead < 10
        assert len(body) == 1_000_000

    async def test_sending_to_a_caller_that_went_away_fails_in_the_application(self):
        errors = []

        async def app(scope, receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            try:
                await asyncio.sleep(60)
            finally:
                try:
                    await send({"type": "http.response.body", "body": b"late"})
                except OSError as error:
                    errors.append(error)

        async with Client(app=app) as client, client.stream("GET", "/"):
            pass

        assert len(errors) == 1

    async def test_answers_that_nobody_closed_end_with_the_client(self):
        ended = asyncio.Event()

        async def hang():
            try:
                await asyncio.sleep(60)
            finally:
                ended.set()

        async with Client(app=respond(200, b"x", between=hang)) as client:
            response = await client.send(client.build_request("GET", "/"), stream=True)
            assert response.status_code == 200

        assert ended.is_set()

    async def test_background_work_is_done_when_the_answer_is_closed(self, call):
        done = []

        async def work():
            await asyncio.sleep(0.01)
            done.append(1)

        async def endpoint(request):
            return starlette.responses.Response("x", background=starlette.background.BackgroundTask(work))

        app = starlette.applications.Starlette(routes=[starlette.routing.Route("/", endpoint)])
        async with Client(app=app) as client:
            await call(client, "GET", "/")

        assert done == [1]


class TestCancelling:
    @pytest.mark.parametrize("scope", ["task", "anyio"])
    async def test_a_cancelled_call_cancels_the_application_and_waits_for_it(self, call, scope):
        log = []

        async def slow(scope, receive):
            try:
                await asyncio.sleep(60)
            finally:
                with anyio.CancelScope(shield=True):
                    await asyncio.sleep(0.01)
                log.append("cleaned up")

        async with Client(app=respond(before=slow)) as client:
            if scope == "anyio":
                with anyio.move_on_after(0.01):
                    await call(client, "GET", "/")
            else:
                task = asyncio.create_task(call(client, "GET", "/"))
                await asyncio.sleep(0.01)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            log.append("returned")

        assert log == ["cleaned up", "returned"]

    async def test_a_timeout_inside_the_application_is_its_own(self, call):
        async def slow(scope, receive):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await asyncio.sleep(60)

        async with Client(app=respond(202, before=slow)) as client:
            assert (await call(client, "GET", "/")).status_code == 202

    async def test_a_call_cancelled_at_any_await_leaves_nothing_behind(self, call):
        inside = set()

        async def app(scope, receive, send):
            if scope["type"] == "lifespan":
                raise RuntimeError
            try:
                inside.add(id(scope))
                await receive()
                await asyncio.sleep(0)
                await send({"type": "http.response.start", "status": 200, "headers": []})
                for _ in range(3):
                    await asyncio.sleep(0)
                    await send({"type": "http.response.body", "body": b"x" * 50_000, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
                await receive()
            finally:
                try:
                    await asyncio.sleep(0)
                finally:
                    inside.discard(id(scope))

        async def chunks():
            yield b"x"

        before = asyncio.all_tasks()
        async with Client(app=app) as client:
            done = 0
            for turns in range(60):
                task = asyncio.create_task(call(client, "POST", "/", content=chunks()))
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                done += not isinstance(*await asyncio.gather(task, return_exceptions=True), asyncio.CancelledError)
                assert not inside
                assert asyncio.all_tasks() == before
            assert 0 < done < 60


@contextlib.contextmanager
def begun_generators():
    """Collect the asynchronous generators that begin, those of flama and of this module."""
    firstiter, finalizer = sys.get_asyncgen_hooks()
    begun = []

    def begin(generator):
        if "httpx" not in generator.ag_code.co_filename:
            begun.append(generator)
        firstiter(generator)

    sys.set_asyncgen_hooks(begin, finalizer)
    try:
        yield begun
    finally:
        sys.set_asyncgen_hooks(firstiter, finalizer)


def unfinished(generators):
    return [generator.__qualname__ for generator in generators if generator.ag_frame is not None]


async def receive_once(scope, receive):
    await receive()


class TestGenerators:
    """An asynchronous generator is closed with its call, and isn't left to the event loop."""

    async def test_that_of_a_request_is_closed_when_the_application_does_not_read_it_to_its_end(self, connect, call):
        async def chunks():
            while True:
                yield b"x"
                await asyncio.sleep(0.001)

        client = await connect(respond(before=receive_once))
        with begun_generators() as generators:
            await call(client, "POST", "/", content=chunks())

        assert any("chunks" in generator.__qualname__ for generator in generators)
        assert unfinished(generators) == []

    async def test_that_of_a_request_is_closed_when_the_call_is_cancelled(self, connect, call):
        waiting = asyncio.Event()

        async def chunks():
            yield b"x"
            waiting.set()
            await asyncio.sleep(60)

        async def receive_twice(scope, receive):
            await receive()
            await receive()

        client = await connect(respond(before=receive_twice))
        with begun_generators() as generators:
            task = asyncio.create_task(call(client, "POST", "/", content=chunks()))
            await waiting.wait()
            task.cancel()
            await asyncio.wait({task})

        assert unfinished(generators) == []

    async def test_it_is_read_only_once(self, connect, call):
        async def chunks():
            yield b"x"

        client = await connect(respond(before=receive_once))
        request = client.build_request("POST", "/", content=chunks())
        await client.send(request)

        with pytest.raises(httpx.StreamConsumed):
            await client.send(request)

    async def test_none_is_open_after_a_response_of_which_only_a_part_was_read(self, connect):
        client = await connect(respond(200, *[b"x" * 50_000] * 4, between=lambda: asyncio.sleep(0)))

        with begun_generators() as generators:
            async with client.stream("GET", "/") as response:
                async for _ in response.aiter_raw():
                    break

        assert unfinished(generators) == []


class TestContext:
    async def test_context_variables_do_not_cross(self, call):
        variable = contextvars.ContextVar("variable", default="nothing")
        seen = []

        async def note(scope, receive):
            seen.append(variable.get())
            variable.set("the application's")
            await asyncio.sleep(0)
            seen.append(variable.get())

        variable.set("before")
        async with Client(app=respond(before=note)) as client:
            variable.set("the caller's")
            await call(client, "GET", "/")

        assert seen == ["before", "the application's"]
        assert variable.get() == "the caller's"

    async def test_sqlalchemy_works_within(self, call, tmp_path):
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/database")
        results = []

        async def query(scope, receive):
            async with engine.connect() as connection:
                results.append((await connection.execute(sqlalchemy.text("SELECT 42"))).scalar_one())

        async with Client(app=respond(before=query)) as client:
            await asyncio.gather(*(call(client, "GET", "/") for _ in range(5)))
        await engine.dispose()

        assert results == [42] * 5


class TestFailures:
    async def test_a_test_may_have_the_applications_exception(self, call):
        async def fail(scope, receive):
            raise LookupError("a bug")

        async with Client(app=respond(before=fail), raise_app_exceptions=True) as client:
            with pytest.raises(LookupError, match="a bug"):
                await call(client, "GET", "/")

    async def test_a_test_may_have_the_exception_that_cut_an_answer_off(self, call):
        async def fail():
            raise LookupError("a bug")

        async with Client(app=respond(200, b"x", between=fail), raise_app_exceptions=True) as client:
            with pytest.raises(LookupError, match="a bug"):
                await call(client, "GET", "/")

    async def test_an_exception_is_logged(self, call, caplog):
        async def fail(scope, receive):
            raise LookupError("a bug")

        with caplog.at_level(logging.ERROR, "flama"):
            async with Client(app=respond(before=fail)) as client:
                await call(client, "GET", "/path")

        [record] = caplog.records
        assert "/path" in record.getMessage()
        assert isinstance(record.exc_info[1], LookupError)

    @pytest.mark.parametrize(
        "messages",
        [
            [{"type": "http.response.body", "body": b""}],
            [{"type": "http.response.start", "status": 200}, {"type": "http.response.start", "status": 200}],
            [{"type": "websocket.accept"}],
        ],
    )
    async def test_messages_out_of_order_are_the_applications_error(self, call, messages):
        async def app(scope, receive, send):
            for message in messages:
                await send(message)

        async with Client(app=app, raise_app_exceptions=True) as client:
            with pytest.raises(RuntimeError, match="may not be sent here"):
                await call(client, "GET", "/")

    async def test_an_application_that_is_not_running_says_so(self, call):
        class App:
            status = AppStatus.NOT_STARTED

            async def __call__(self, *_):
                raise ApplicationError("not ready")

        with pytest.raises(ApplicationError, match="not ready"):
            await call(Client(app=App()), "GET", "/")

    async def test_an_application_that_cancels_itself_does_not_cancel_the_caller(self, call):
        async def cancelled(scope, receive):
            raise asyncio.CancelledError

        async with Client(app=respond(before=cancelled), raise_app_exceptions=True) as client:
            with pytest.raises(RuntimeError, match="ended without completing"):
                await call(client, "GET", "/")

    async def test_a_failing_body_ends_the_application_too(self):
        ended = []

        async def read(scope, receive):
            try:
                await receive()
                await receive()
                await asyncio.sleep(60)
            finally:
                ended.append(1)

        async def chunks():
            yield b"some"
            raise OSError("the file is gone")

        async with Client(app=respond(before=read)) as client:
            with pytest.raises(OSError, match="the file is gone"):
                await bit_by_bit(client, "POST", "/", content=chunks())

            assert ended == [1]


class TestClient:
    async def test_the_defaults_are_kept(self):
        client = Client()

        assert client.base_url == "http://localapp"
        assert client.headers["user-agent"].startswith("flama-data/")
        assert not client.follow_redirects
        assert client.app is None
        assert client.lifespan is None
        assert issubclass(HTTPStatusError, HTTPError)

    async def test_a_users_own_user_agent_is_the_only_one(self):
        client = Client(headers={"User-Agent": "mine"})

        assert client.headers.get_list("user-agent") == ["mine"]

    async def test_a_transport_of_ones_own_is_used(self):
        app = respond(203)

        async with Client(app=respond(200), transport=ASGITransport(app)) as client:
            assert (await client.get("/")).status_code == 203

    async def test_a_shared_transport_serves_several_clients(self):
        transport = ASGITransport(respond(203))

        for _ in range(2):
            async with Client(transport=transport) as client:
                assert (await client.get("/")).status_code == 203

    async def test_calls_may_run_at_once(self, call):
        async def slow(scope, receive):
            await asyncio.sleep(0.05)

        async with Client(app=respond(before=slow)) as client, asyncio.timeout(1):
            responses = await asyncio.gather(*(call(client, "GET", "/") for _ in range(50)))

        assert {response.status_code for response in responses} == {200}


class Recorder:
    """An application that notes what happens in its life."""

    def __init__(self, *, startup=None, shutdown=None):
        self.log = []
        self._hooks = {"startup": startup, "shutdown": shutdown}

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http":
            self.log.append("request")
            scope["state"]["seen"] = True
            await starlette.responses.JSONResponse(scope["state"])(scope, receive, send)
            return
        for phase in ("startup", "shutdown"):
            message = await receive()
            assert message["type"] == f"lifespan.{phase}"
            self.log.append(phase)
            scope["state"]["phase"] = phase
            try:
                if self._hooks[phase]:
                    await self._hooks[phase]()
            except Exception as error:
                await send({"type": f"lifespan.{phase}.failed", "message": str(error)})
                raise
            except asyncio.CancelledError:
                self.log.append("cancelled")
                raise
            self.log.append(f"{phase} done")
            await send({"type": f"lifespan.{phase}.complete"})


async def fail():
    raise LookupError("no database")


async def hang():
    await asyncio.sleep(60)


ALL = ["startup", "startup done", "request", "shutdown", "shutdown done"]


class TestLifespan:
    async def called(self, app, *, error):
        async with Client(app=app) as client:
            await client.get("/")
            raise error

    async def test_the_application_starts_first_and_stops_last(self):
        app = Recorder()

        async with Client(app=app) as client:
            await client.get("/")

        assert app.log == ALL
        assert client.is_closed

    async def test_the_application_stops_when_the_body_raises(self):
        app = Recorder()

        with pytest.raises(KeyError):
            await self.called(app, error=KeyError())

        assert app.log == ALL

    async def test_each_request_has_the_state_of_the_start_up_to_itself(self):
        async with Client(app=Recorder()) as client:
            assert (await client.get("/")).json() == {"phase": "startup", "seen": True}
            assert client.lifespan.state == {"phase": "startup"}

    async def test_a_starlette_lifespan_gives_its_state(self):
        @contextlib.asynccontextmanager
        async def lifespan(app):
            yield {"greeting": "hello"}

        async def endpoint(request):
            return starlette.responses.PlainTextResponse(request.state.greeting)

        routes = [starlette.routing.Route("/", endpoint)]
        async with Client(app=starlette.applications.Starlette(routes=routes, lifespan=lifespan)) as client:
            assert (await client.get("/")).text == "hello"

    @pytest.mark.parametrize(
        "app",
        [
            respond(204),
            starlette.responses.Response(status_code=204),
        ],
        ids=["refuses", "takes everything for a request"],
    )
    async def test_an_application_without_lifespan_works(self, app):
        async with Client(app=app) as client:
            assert (await client.get("/")).status_code == 204

    async def test_a_failing_start_is_told_with_its_message_and_cause(self):
        with pytest.raises(ApplicationError, match="no database") as caught:
            async with Client(app=Recorder(startup=fail)):
                pytest.fail("it did not start")

        assert isinstance(caught.value.__cause__, LookupError)

    async def test_a_start_that_dies_without_a_word_is_told(self):
        async def app(scope, receive, send):
            await receive()
            raise LookupError("no database")

        with pytest.raises(ApplicationError, match="no database"):
            async with Client(app=app):
                pytest.fail("it did not start")

    async def test_an_application_error_is_told_even_before_the_first_message(self):
        async def app(scope, receive, send):
            raise ApplicationError("wrong state")

        with pytest.raises(ApplicationError, match="wrong state"):
            async with Client(app=app):
                pytest.fail("it did not start")

    async def test_a_failing_stop_is_told(self):
        with pytest.raises(ApplicationError, match="shutdown failed: no database"):
            async with Client(app=Recorder(shutdown=fail)):
                pass

    @pytest.mark.parametrize("phase", ["startup", "shutdown"])
    async def test_a_phase_that_takes_too_long_is_given_up(self, phase):
        app = Recorder(**{phase: hang})

        with pytest.raises(ApplicationError, match=f"{phase} took longer than 0.01 seconds"):
            async with LifespanContextManager(app, timeout=0.01):
                pass

        assert app.log[-1] == "cancelled"

    async def test_a_cancelled_start_is_undone(self):
        app = Recorder(startup=hang)
        task = asyncio.create_task(Client(app=app).__aenter__())
        await asyncio.sleep(0.01)
        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task

        assert app.log == ["startup", "cancelled"]

    async def test_a_cancelled_client_stops_its_application_to_the_end(self):
        async def slow():
            await asyncio.sleep(0.02)

        app = Recorder(shutdown=slow)
        with anyio.move_on_after(0.01):
            async with Client(app=app):
                await asyncio.sleep(60)

        assert app.log == ["startup", "startup done", "shutdown", "shutdown done"]

    async def test_a_client_that_cannot_be_opened_stops_its_application(self):
        app = Recorder()
        client = Client(app=app)
        await client.aclose()

        with pytest.raises(RuntimeError):
            await client.__aenter__()

        assert app.log == ["startup", "startup done", "shutdown", "shutdown done"]

    async def test_an_application_can_be_started_again(self):
        app = Recorder()

        for _ in range(2):
            async with Client(app=app) as client:
                await client.get("/")

        assert app.log == ALL * 2

    async def test_two_clients_share_an_application_that_is_there(self):
        app = Recorder()

        async with Client(app=app) as one:
            async with Client(app=app) as other:
                states = [(await client.get("/")).json() for client in (one, other)]
            await one.get("/")

        assert states == [{"phase": "startup", "seen": True}] * 2
        assert app.log == ["startup", "startup done", *["request"] * 3, "shutdown", "shutdown done"]

    async def test_the_last_to_leave_shuts_it_down_whoever_began(self):
        app = Recorder()
        one, other = Client(app=app), Client(app=app)

        await asyncio.gather(one.__aenter__(), other.__aenter__())
        await one.aclose()
        await one.__aexit__()
        await other.get("/")
        await other.__aexit__()

        assert app.log == ALL

    async def test_who_comes_while_it_stops_starts_it_again(self):
        async def slow():
            await asyncio.sleep(0.02)

        app = Recorder(shutdown=slow)

        async def use(delay):
            await asyncio.sleep(delay)
            async with Client(app=app) as client:
                await client.get("/")

        await asyncio.gather(use(0), use(0.01))

        assert app.log == ALL * 2

    async def test_a_client_whose_start_fails_does_not_keep_the_next_from_trying(self):
        failures = [fail]

        async def once():
            if failures:
                await failures.pop()()

        app = Recorder(startup=once)
        outcomes = await asyncio.gather(*(Client(app=app).__aenter__() for _ in range(2)), return_exceptions=True)

        assert [type(outcome) for outcome in outcomes] == [ApplicationError, Client]
        await outcomes[1].__aexit__()

    async def test_a_flama_application_may_have_two_clients(self):
        app = Flama()
        app.add_get("/", lambda: {"a": 1})

        async with Client(app=app) as one, Client(app=app) as other:
            assert (await one.get("/")).json() == (await other.get("/")).json() == {"a": 1}

    def test_an_event_loop_that_ended_amid_it_does_not_count(self):
        app = Recorder()

        async def left():
            await first.__aenter__()

        async def used():
            async with Client(app=app) as client:
                await client.get("/")

        first = Client(app=app)
        asyncio.run(left())
        asyncio.run(used())

        assert app.log[:2] == ["startup", "startup done"]
        assert app.log[-5:] == ALL


CHANGES = {
    "set": lambda client: client.headers.__setitem__("x-tenant", "a"),
    "set twice": lambda client: [client.headers.__setitem__("x-tenant", value) for value in "ba"],
    "update": lambda client: client.headers.update({"x-tenant": "a"}),
    "setdefault": lambda client: client.headers.setdefault("x-tenant", "a"),
    "replaced": lambda client: setattr(client, "headers", {"x-tenant": "a"}),
    "removed": lambda client: client.headers.__delitem__("x-removed"),
    "popped": lambda client: client.headers.pop("x-removed"),
    "cleared": lambda client: client.headers.clear(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_calls_have_the_headers_that_a_client_has_now(change):
    seen = []

    async def note(scope, receive):
        seen.append(sorted(scope["headers"]))

    async with Client(app=respond(before=note), headers={"x-removed": "b"}) as client:
        address = client.resource_url("/")
        await client.call("GET", address)
        change(client)
        await client.call("GET", address)
        await client.get("/")

    assert seen[0] != seen[1]
    assert seen[1] == seen[2]
