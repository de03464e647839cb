"""The life of an application: the order of its parts, and what is cleaned up when one of them fails."""

import asyncio
import contextlib
import threading

import anyio
import anyio.lowlevel
import pytest

from flama import Component, Flama, Module, exceptions, types
from flama.client import Client, LifespanContextManager
from flama.middleware import Middleware
from flama.routing import Mount

pytestmark = pytest.mark.anyio


class Boom(Exception):
    pass


class Part:
    """What starts and stops, notes both, and fails at one of them if told so."""

    def __init__(self, name, notes, fails=()):
        self.title, self.notes, self.fails = name, notes, fails

    def note(self, what):
        if what in self.fails:
            raise Boom(f"{self.title} {what}")
        self.notes.append(f"{self.title} {what}")

    async def on_startup(self):
        await asyncio.sleep(0)
        self.note("up")

    async def on_shutdown(self):
        await asyncio.sleep(0)
        self.note("down")


class First(Part, Module):
    name = "first"


class Second(Part, Module):
    name = "second"


class Between(Part, Middleware):
    pass


class Making(Part, Component):
    def resolve(self) -> Boom:
        return Boom()


def application(notes, fails=(), inner=None):
    """An application with two of every part; ``fails`` are the notes at which it breaks instead."""
    parts = {
        name: kind(name, notes, [note.split()[1] for note in fails if note.split()[0] == name])
        for name, kind in [("m1", First), ("m2", Second), ("w1", Between), ("w2", Between), ("h", Part), ("l", Part)]
    }

    @contextlib.asynccontextmanager
    async def lifespan(app):
        parts["l"].note("up")
        try:
            yield
        finally:
            parts["l"].note("down")

    def second_start():
        notes.append("h2 up")

    def second_stop():
        notes.append("h2 down")

    app = Flama(
        modules=[parts["m1"], parts["m2"]],
        middleware=[parts["w1"], parts["w2"]],
        events={
            "startup": [parts["h"].on_startup, second_start],
            "shutdown": [parts["h"].on_shutdown, second_stop],
        },
        lifespan=lifespan,
        routes=[] if inner is None else [Mount("/inner", inner)],
    )
    app.add_get("/", lambda: "serving")
    return app


UP = ["m1 up", "m2 up", "w1 up", "w2 up", "h up", "h2 up", "l up"]
DOWN = ["l down", "h2 down", "h down", "w2 down", "w1 down", "m2 down", "m1 down"]


async def test_parts_start_in_order_and_stop_in_the_reverse_order():
    notes = []

    async with Client(app=application(notes)) as client:
        assert notes == UP
        assert (await client.get("/")).json() == "serving"

    assert notes == UP + DOWN


async def test_a_mounted_application_lives_inside_of_the_outer_one():
    notes, inner_notes = [], []
    inner = application(inner_notes)
    app = application(notes, inner=inner)

    async with Client(app=app) as client:
        assert inner_notes == UP
        assert inner.status is types.AppStatus.READY
        assert (await client.get("/inner/")).json() == "serving"

    assert inner_notes == UP + DOWN
    assert inner.status is types.AppStatus.SHUT_DOWN


async def test_the_whole_of_a_mounted_application_s_life_is_between_the_outer_one_s_start_and_stop():
    notes = []
    inner = Flama(
        events={"startup": [lambda: notes.append("inner up")], "shutdown": [lambda: notes.append("inner down")]}
    )

    async with Client(app=application(notes, inner=inner)):
        pass

    assert notes == [*UP, "inner up", "inner down", *DOWN]


STARTED_BEFORE = {
    "m1 up": [],
    "m2 up": ["m1"],
    "w1 up": ["m1", "m2"],
    "w2 up": ["m1", "m2", "w1"],
    "h up": ["m1", "m2", "w1", "w2"],
    "l up": ["m1", "m2", "w1", "w2"],
}


@pytest.mark.parametrize("failing", STARTED_BEFORE)
async def test_what_had_started_is_stopped_when_a_later_part_fails_to_start(failing):
    notes = []
    app = application(notes, [failing])

    with pytest.raises(exceptions.ApplicationError, match=f"Boom.*{failing}"):
        async with Client(app=app):
            raise AssertionError("it must not start")

    assert app.status is types.AppStatus.FAILED
    started = {note.split()[0] for note in notes if note.endswith("up")}
    stopped = [note.split()[0] for note in notes if note.endswith("down")]
    assert [name for name in stopped if name[0] in "mw"] == STARTED_BEFORE[failing][::-1]
    assert set(STARTED_BEFORE[failing]) <= started


async def test_all_is_stopped_when_a_mounted_application_fails_to_start():
    notes, inner_notes = [], []
    inner = application(inner_notes, ["w2 up"])
    app = application(notes, inner=inner)

    with pytest.raises(exceptions.ApplicationError, match="w2 up"):
        async with Client(app=app):
            raise AssertionError("it must not start")

    assert inner_notes == ["m1 up", "m2 up", "w1 up", "w1 down", "m2 down", "m1 down"]
    assert notes == UP + DOWN
    assert (app.status, inner.status) == (types.AppStatus.FAILED,) * 2


@pytest.mark.parametrize("failing", ["m1 down", "m2 down", "w1 down", "h down", "l down"])
async def test_the_others_are_stopped_when_one_fails_to_stop(failing):
    notes = []
    app = application(notes, [failing])

    with pytest.raises(exceptions.ApplicationError, match=failing):
        async with Client(app=app):
            pass

    assert notes == UP + [note for note in DOWN if note != failing]
    assert app.status is types.AppStatus.FAILED


@pytest.mark.parametrize("failing", [*STARTED_BEFORE, "m1 down", "h down"])
async def test_an_application_starts_again_after_it_failed(failing):
    notes, fails = [], [failing]
    app = application(notes, fails)
    with pytest.raises(exceptions.ApplicationError):
        async with Client(app=app):
            pass
    for part in [*app.modules.values(), *app.middleware, app.events["startup"][0].__self__]:
        part.fails = ()
    app._lifespan = None
    notes.clear()

    async with Client(app=app) as client:
        assert (await client.get("/")).status_code == 200

    assert notes == [note for note in UP + DOWN if not note.startswith("l ")]


async def test_an_application_starts_again_after_it_was_shut_down():
    notes, inner_notes = [], []
    app = application(notes, inner=application(inner_notes))

    for _ in range(3):
        async with Client(app=app) as client:
            assert (await client.get("/inner/")).json() == "serving"

    assert notes == inner_notes == (UP + DOWN) * 3


async def test_the_status_says_where_the_application_stands():
    seen = []
    app = Flama()
    app.add_event_handler("startup", lambda: seen.append(app.status))
    app.add_event_handler("shutdown", lambda: seen.append(app.status))
    seen.append(app.status)

    async with Client(app=app):
        seen.append(app.status)
    seen.append(app.status)

    assert [status.name for status in seen] == ["NOT_STARTED", "STARTING", "READY", "SHUTTING_DOWN", "SHUT_DOWN"]


async def test_an_application_that_runs_can_not_be_started_once_more_and_goes_on_running():
    app = Flama()
    app.add_get("/", lambda: "serving")

    async with Client(app=app) as client:
        with pytest.raises(exceptions.ApplicationError, match="READY"):
            async with LifespanContextManager(app):
                pass
        response = await client.get("/")

    assert response.status_code == 200
    assert app.status is types.AppStatus.SHUT_DOWN


@pytest.mark.parametrize(("entered", "says"), [(False, "not ready"), (True, "already shut down")])
async def test_a_request_outside_of_the_application_s_life_is_an_error_that_says_so(entered, says):
    app = Flama()
    app.add_get("/", lambda: "serving")
    client = Client(app=app)
    if entered:
        async with client:
            pass
        client = Client(app=app)

    with pytest.raises(exceptions.ApplicationError, match=says):
        await client.get("/")


async def test_the_lifespan_manager_is_enough_to_start_and_stop():
    notes = []
    app = application(notes)

    async with LifespanContextManager(app):
        assert app.status is types.AppStatus.READY

    assert notes == UP + DOWN


async def test_handlers_may_be_synchronous_asynchronous_or_callable_objects():
    notes = []

    class Callable:
        def __call__(self):
            notes.append("object")

    class Awaitable:
        async def __call__(self):
            notes.append("async object")

    async def asynchronous():
        await anyio.lowlevel.checkpoint()
        notes.append("async")

    app = Flama(events={"startup": [Callable(), Awaitable(), asynchronous, lambda: notes.append("sync")]})

    async with Client(app=app):
        pass

    assert notes == ["object", "async object", "async", "sync"]


class Value:
    pass


async def test_handlers_are_given_the_application_and_what_components_make_torn_down_after_each():
    notes = []

    class ValueComponent(Component):
        async def resolve(self) -> Value:
            notes.append("made")
            yield Value()
            notes.append("unmade")

    app = Flama(components=[ValueComponent()])

    @app.on_event("startup")
    async def start(root: types.App, value: Value, *, own: Flama):
        assert root is own is app
        assert isinstance(value, Value)
        notes.append("start")

    @app.on_event("shutdown")
    def stop(value: Value):
        notes.append("stop")

    async with Client(app=app):
        pass

    assert notes == ["made", "start", "unmade", "made", "stop", "unmade"]


async def test_a_handler_whose_parameter_nothing_provides_fails_at_start_up_by_name_and_before_anything_starts():
    notes = []
    app = Flama(modules=[First("m1", notes)])

    @app.on_event("shutdown")
    def stop(nonsense: Value): ...

    with pytest.raises(exceptions.ApplicationError, match="'nonsense' for function 'stop'"):
        async with Client(app=app):
            raise AssertionError("it must not start")

    assert notes == []


async def test_the_application_in_a_start_up_handler_is_the_one_that_has_the_handler():
    seen = []

    def start(app: types.App):
        seen.append(app)

    inner = Flama(events={"startup": [start]})
    outer = Flama(routes=[Mount("/inner", inner)], events={"startup": [start]})

    async with Client(app=outer):
        pass

    assert seen == [outer, inner]


async def test_a_start_up_handler_may_add_routes_components_and_handlers():
    app = Flama()

    class ValueComponent(Component):
        def resolve(self) -> Value:
            return Value()

    @app.on_event("startup")
    def start():
        def handler(value: Value):
            return type(value).__name__

        app.add_component(ValueComponent())
        app.add_get("/value/", handler)

    async with Client(app=app) as client:
        response = await client.get("/value/")

    assert response.json() == "Value"


async def test_a_handler_that_is_wrong_fails_the_start_before_anything_has_started():
    notes = []
    app = application(notes)

    @app.get("/wrong/")
    def wrong(value: Value): ...

    with pytest.raises(exceptions.ApplicationError, match="'value' for function 'wrong'"):
        async with Client(app=app):
            raise AssertionError("it must not start")

    assert notes == []
    assert app.status is types.AppStatus.FAILED


async def test_a_handler_of_a_mounted_application_that_is_wrong_fails_the_start():
    inner = Flama()

    @inner.get("/wrong/")
    def wrong(value: Value): ...

    with pytest.raises(exceptions.ApplicationError, match="'value' for function 'wrong'"):
        async with Client(app=Flama(routes=[Mount("/inner", inner)])):
            raise AssertionError("it must not start")


@pytest.mark.parametrize("stage", ["module", "handler", "lifespan"])
async def test_a_start_that_is_cancelled_is_cleaned_up_and_can_be_repeated(stage):
    notes, reached = [], asyncio.Event()

    async def hang():
        reached.set()
        await asyncio.sleep(30)

    class Slow(Module):
        name = "slow"
        on_startup = staticmethod(hang)

    @contextlib.asynccontextmanager
    async def lifespan(app):
        if stage == "lifespan":
            await hang()
        yield

    app = Flama(modules=[First("m1", notes), *([Slow()] if stage == "module" else [])], lifespan=lifespan)
    if stage == "handler":
        app.add_event_handler("startup", hang)
    client = Client(app=app)
    task = asyncio.create_task(client.__aenter__())
    await reached.wait()

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert notes == ["m1 up", "m1 down"]
    assert app.status is types.AppStatus.FAILED


async def test_the_lifespan_context_is_given_the_application_and_learns_of_no_error_of_a_request():
    seen = []

    @contextlib.asynccontextmanager
    async def lifespan(app):
        seen.append(app)
        yield {"ignored": True}
        seen.append("left")

    app = Flama(lifespan=lifespan)
    app.add_get("/", lambda: 1 / 0)

    async with Client(app=app) as client:
        assert (await client.get("/")).status_code == 500

    assert seen == [app, "left"]


async def test_the_body_of_the_client_may_fail_and_the_application_is_shut_down_all_the_same():
    notes = []

    with pytest.raises(Boom):
        async with Client(app=application(notes)):
            raise Boom

    assert notes == UP + DOWN


async def test_start_up_runs_in_the_loop_that_serves():
    seen = []
    app = Flama(events={"startup": [lambda: seen.append(threading.get_ident())]})

    async with Client(app=app):
        pass

    assert seen == [threading.get_ident()]


def test_an_application_lives_under_a_server_as_it_does_in_a_client(serve):
    notes = []
    app = application(notes)

    url = serve(app)

    assert url.startswith("http://127.0.0.1")
    assert notes == UP
    assert app.status is types.AppStatus.READY


async def test_components_start_after_the_modules_and_stop_before_them():
    notes = []
    app = Flama(modules=[First("m", notes)], components=[Making("c", notes)], middleware=[Between("w", notes)])

    async with Client(app=app):
        pass

    assert notes == ["m up", "c up", "w up", "w down", "c down", "m down"]


async def test_a_component_that_fails_to_start_fails_the_start_and_the_modules_are_stopped():
    notes = []
    app = Flama(modules=[First("m", notes)], components=[Making("c", notes, fails=["up"])])

    with pytest.raises(exceptions.ApplicationError, match="c up"):
        async with Client(app=app):
            pass

    assert notes == ["m up", "m down"]
