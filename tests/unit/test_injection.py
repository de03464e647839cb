"""Injection: what a function asks for by type is made by components."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
import traceback
import typing as t

import pytest

from flama import Component, Components, Flama, exceptions, http, types
from flama.client import Client
from flama.injection import Injector, Parameter

pytestmark = pytest.mark.anyio


class Value:
    def __init__(self, text=""):
        self.text = text


class Other(Value):
    pass


class Third(Value):
    pass


class SyncComponent(Component):
    def resolve(self) -> Value:
        return Value("sync")


class AsyncComponent(Component):
    async def resolve(self) -> Value:
        await asyncio.sleep(0)
        return Value("async")


class GeneratorComponent(Component):
    def resolve(self) -> t.Iterator[Value]:
        yield Value("generator")


class AsyncGeneratorComponent(Component):
    async def resolve(self) -> t.AsyncIterator[Value]:
        yield Value("async generator")


class BareGeneratorComponent(Component):
    async def resolve(self) -> Value:
        yield Value("generator of the value's own annotation")


async def ask(handler, *components, path="/", template="/", **request):
    """What the handler answers in an application of these components."""
    app = Flama(components=components)
    app.add_get(template, handler)
    async with Client(app=app) as client:
        response = await client.get(path, **request)
        response.raise_for_status()
        return None if response.status_code == 204 else response.json()


async def start(handler, *components, template="/"):
    app = Flama(components=components)
    app.add_get(template, handler)
    async with Client(app=app):
        pass


def tell(value: Value):
    return value.text


async def tell_asynchronously(value: Value):
    return value.text


@pytest.mark.parametrize("handler", [tell, tell_asynchronously])
@pytest.mark.parametrize(
    ("component", "text"),
    [
        (SyncComponent(), "sync"),
        (AsyncComponent(), "async"),
        (GeneratorComponent(), "generator"),
        (AsyncGeneratorComponent(), "async generator"),
        (BareGeneratorComponent(), "generator of the value's own annotation"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_component_of_any_kind_gives_its_value(component, text, handler):
    assert await ask(handler, component) == text


class Chain:
    """Generator components that note when they are made, left, and why."""

    def __init__(self, notes):
        class First(Component):
            async def resolve(self) -> Value:
                notes.append("first")
                try:
                    yield Value()
                except BaseException as error:
                    notes.append(f"first saw {type(error).__name__}")
                    raise
                finally:
                    notes.append("first left")

        class Second(Component):
            def resolve(self, value: Value) -> Other:
                notes.append("second")
                try:
                    yield Other()
                except BaseException as error:
                    notes.append(f"second saw {type(error).__name__}")
                    raise
                finally:
                    notes.append("second left")

        self.components = [Second(), First()]


async def test_generators_are_torn_down_in_the_reverse_order():
    notes = []

    def handler(other: Other):
        notes.append("handler")

    await ask(handler, *Chain(notes).components)

    assert notes == ["first", "second", "handler", "second left", "first left"]


@pytest.mark.parametrize("error", [exceptions.NotFoundError(resource="x"), ValueError()], ids=["known", "unexpected"])
async def test_generators_are_given_the_exception_that_ended_the_request(error):
    notes = []

    async def handler(other: Other):
        raise error

    app = Flama(components=Chain(notes).components)
    app.add_get("/", handler)
    async with Client(app=app) as client:
        response = await client.get("/")

    assert response.status_code == (404 if isinstance(error, exceptions.NotFoundError) else 500)
    kind = type(error).__name__
    assert notes == ["first", "second", f"second saw {kind}", "second left", f"first saw {kind}", "first left"]


async def test_generators_that_were_made_are_torn_down_when_a_later_component_fails():
    notes = []

    class Failing(Component):
        def resolve(self, other: Other) -> Third:
            raise exceptions.NotFoundError(resource="third")

    def handler(third: Third): ...

    app = Flama(components=[*Chain(notes).components, Failing()])
    app.add_get("/", handler)
    async with Client(app=app) as client:
        response = await client.get("/")

    assert response.status_code == 404
    assert notes[-4:] == ["second saw NotFoundError", "second left", "first saw NotFoundError", "first left"]


async def test_a_generator_may_turn_the_exception_into_another():
    class Translating(Component):
        async def resolve(self) -> Value:
            try:
                yield Value()
            except KeyError as error:
                raise exceptions.NotFoundError(resource="value") from error

    def handler(value: Value):
        raise KeyError

    app = Flama(components=[Translating()])
    app.add_get("/", handler)
    async with Client(app=app) as client:
        response = await client.get("/")

    assert response.status_code == 404


async def test_a_generator_that_swallows_the_exception_has_no_answer_in_its_place_and_that_is_a_500():
    class Swallowing(Component):
        async def resolve(self) -> Value:
            with contextlib.suppress(KeyError):
                yield Value()

    def handler(value: Value):
        raise KeyError

    app = Flama(components=[Swallowing()])
    app.add_get("/", handler)
    async with Client(app=app) as client:
        response = await client.get("/")

    assert response.status_code == 500


async def test_generators_end_before_the_answer_is_sent():
    notes = []

    class Closing(Component):
        async def resolve(self) -> Value:
            yield Value()
            notes.append("closed")

    def handler(value: Value):
        return "x"

    app = Flama(components=[Closing()])
    app.add_get("/", handler)

    async def send(message):
        notes.append(message["type"])

    async with Client(app=app):
        await app({"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}, None, send)

    assert notes == ["closed", "http.response.start", "http.response.body"]


async def test_generators_live_until_a_stream_has_ended():
    notes = []

    class Closing(Component):
        async def resolve(self) -> Value:
            yield Value("open")
            notes.append("closed")

    app = Flama(components=[Closing()])

    @app.get("/")
    async def handler(value: Value):
        for _ in range(3):
            notes.append(value.text)
            yield b"x"

    async with Client(app=app) as client:
        response = await client.get("/")

    assert response.content == b"xxx"
    assert notes == ["open", "open", "open", "closed"]


async def test_a_value_is_made_once_a_request():
    made = []

    class Counting(Component):
        def resolve(self) -> Value:
            made.append(1)
            return Value(str(len(made)))

    class Dependent(Component):
        def resolve(self, value: Value) -> Other:
            return Other(value.text)

    def handler(one: Value, two: Value, other: Other):
        return [one.text, two.text, other.text, one is two]

    app = Flama(components=[Counting(), Dependent()])
    app.add_get("/", handler)
    async with Client(app=app) as client:
        answers = [(await client.get("/")).json() for _ in range(2)]

    assert answers == [["1", "1", "1", True], ["2", "2", "2", True]]


async def test_a_component_that_is_not_cacheable_makes_a_value_for_every_parameter():
    class Fresh(Component):
        cacheable = False

        def resolve(self) -> Value:
            return Value()

    def handler(one: Value, two: Value):
        return one is two

    assert await ask(handler, Fresh()) is False


class Named(Component):
    def resolve(self, parameter: Parameter) -> Value:
        return Value(parameter.name)


async def test_a_component_may_ask_for_the_parameter_that_its_value_is_for_and_then_makes_one_for_each_name():
    def handler(one: Value, two: Value):
        return [one.text, two.text]

    assert await ask(handler, Named()) == ["one", "two"]


async def test_the_parameter_that_a_component_is_given_has_name_annotation_and_default():
    seen = []

    class Seeing(Component):
        def can_handle_parameter(self, parameter: Parameter) -> bool:
            return parameter.annotation is Value

        def resolve(self, parameter: Parameter):
            seen.append(parameter)
            return Value()

    def handler(value: Value = 3, *, other: Value): ...

    await ask(handler, Seeing())

    assert [(p.name, p.annotation, p.default, p.required) for p in seen] == [
        ("value", Value, 3, False),
        ("other", Value, Parameter.empty, True),
    ]


async def test_a_component_may_decide_itself_which_parameters_it_handles():
    class ByName(Component):
        def can_handle_parameter(self, parameter: Parameter) -> bool:
            return parameter.name.startswith("magic_")

        def resolve(self, parameter: Parameter):
            return parameter.name.removeprefix("magic_")

    def handler(magic_a, magic_b: Value):
        return [magic_a, magic_b]

    assert await ask(handler, ByName()) == ["a", "b"]


async def test_a_provider_is_asked_once_at_start_up_and_what_it_gives_is_called_in_requests():
    notes = []

    class Providing(Component):
        def can_handle_parameter(self, parameter: Parameter) -> bool:
            return parameter.annotation is Value

        def provider(self, parameter: Parameter) -> t.Callable:
            notes.append(f"provider for {parameter.name}")

            def make(other: Other) -> Value:
                return Value(f"{parameter.name} from {other.text}")

            return make

    class OtherComponent(Component):
        def resolve(self) -> Other:
            return Other("other")

    app = Flama(components=[Providing(), OtherComponent()])
    app.add_get("/", tell)
    async with Client(app=app) as client:
        before = list(notes)
        answers = [(await client.get("/")).json() for _ in range(3)]

    assert answers == ["value from other"] * 3
    assert notes == before
    assert set(notes) == {"provider for value"}


async def test_a_component_is_given_what_a_handler_may_ask_for():
    class Curious(Component):
        async def resolve(
            self,
            scope: types.Scope,
            app: types.App,
            request: http.Request,
            headers: http.Headers,
            id: int,
            limit: int = 10,
            *,
            q: str | None = None,
        ) -> Value:
            assert scope["app"] is app
            return Value(f"{request.method} {headers['x-a']} {id + 1} {limit} {q}")

    answer = await ask(tell, Curious(), template="/{id:int}/", path="/7/?limit=3", headers={"x-a": "b"})

    assert answer == "GET b 8 3 None"


async def test_the_first_component_that_can_makes_the_value():
    class Later(Component):
        def resolve(self) -> Value:
            return Value("later")

    assert await ask(tell, SyncComponent(), Later()) == "sync"


@pytest.mark.parametrize("annotation", [str, http.Headers, types.Cookies])
async def test_the_components_of_the_user_come_before_those_that_are_built_in(annotation):
    class Own(Component):
        def can_handle_parameter(self, parameter: Parameter) -> bool:
            return parameter.annotation is annotation

        def resolve(self):
            return "own"

    def handler(value):
        return value

    handler.__annotations__["value"] = annotation

    assert await ask(handler, Own()) == "own"


async def test_a_component_does_not_handle_a_subclass_or_a_base_of_its_type():
    def handler(other: Other): ...

    class OtherComponent(Component):
        def resolve(self) -> Other:
            return Other()

    with pytest.raises(exceptions.ApplicationError, match="'other' for function 'handler'"):
        await start(handler, SyncComponent())
    with pytest.raises(exceptions.ApplicationError, match="'value' for function 'tell'"):
        await start(tell, OtherComponent())


def unannotated(nonsense): ...


def nested(value: Value, nonsense: Third): ...


def of_an_object(nonsense: object): ...


class CallableHandler:
    def __call__(self, nonsense: Third): ...


@pytest.mark.parametrize(
    ("handler", "says"),
    [
        (unannotated, "No component able to handle parameter 'nonsense' for function 'unannotated'"),
        (nested, "parameter 'nonsense' for function 'nested'"),
        (of_an_object, "parameter 'nonsense' for function 'of_an_object'"),
        (CallableHandler(), "parameter 'nonsense' for function .*CallableHandler"),
        (functools.partial(nested), "parameter 'nonsense' for function .*nested"),
    ],
    ids=["unannotated", "nested", "object", "callable object", "partial"],
)
async def test_a_parameter_that_nothing_provides_fails_the_start_by_handler_and_name(handler, says):
    with pytest.raises(exceptions.ApplicationError, match=says) as caught:
        await start(handler, SyncComponent())

    causes = [caught.value]
    while causes[-1].__cause__:
        causes.append(causes[-1].__cause__)
    assert isinstance(causes[-1], exceptions.ComponentNotFound)


async def test_what_a_component_needs_and_nothing_provides_fails_the_start_by_component_and_name():
    class Needing(Component):
        def resolve(self, third: Third) -> Value: ...

    with pytest.raises(exceptions.ApplicationError, match=r"'third' for function 'Needing\.resolve'"):
        await start(tell, Needing())


async def test_components_that_need_one_another_in_a_circle_fail_the_start():
    class One(Component):
        def resolve(self, other: Other) -> Value: ...

    class Two(Component):
        def resolve(self, value: Value) -> Other: ...

    with pytest.raises(exceptions.ApplicationError, match="circle: One → Two → One"):
        await start(tell, One(), Two())


def test_a_component_that_does_not_say_what_it_makes_is_refused_where_it_is_declared():
    with pytest.raises(exceptions.ComponentError, match="Silent"):

        class Silent(Component):
            def resolve(self): ...


async def test_a_component_inherits_what_it_makes():
    class Special(SyncComponent):
        pass

    class Overriding(SyncComponent):
        def resolve(self) -> Value:
            return Value("overridden")

    assert await ask(tell, Special()) == "sync"
    assert await ask(tell, Overriding()) == "overridden"


async def test_a_component_that_can_handle_all_is_asked_after_those_before_it():
    class All(Component):
        def can_handle_parameter(self, parameter: Parameter) -> bool:
            return True

        def resolve(self, parameter: Parameter):
            return Value(f"all: {parameter.name}")

    assert await ask(tell, All()) == "all: value"
    assert await ask(tell, SyncComponent(), All()) == "sync"


async def test_annotations_may_be_strings():
    # This very module has "from __future__ import annotations".
    def handler(value: Value, id: int, *, q: list[int] | None = None):
        return [value.text, id, q]

    assert await ask(handler, SyncComponent(), template="/{id}/", path="/3/?q=1&q=2") == ["sync", 3, [1, 2]]


async def test_annotations_may_be_strings_twice_over():
    def handler(value: "Value", id: "int"):  # noqa: UP037 - the quotes are the test
        return [value.text, id]

    assert await ask(handler, SyncComponent(), template="/{id}/", path="/3/") == ["sync", 3]


async def test_an_annotation_that_names_nothing_fails_the_start_by_handler_and_name():
    def handler(value: Nothing): ...  # noqa: F821

    with pytest.raises(exceptions.ApplicationError, match=r"handler.*Nothing"):
        await start(handler)


async def test_defaults_stand_where_nothing_is_sent_or_provided():
    marker = object()

    def handler(a: int = 1, b: Third = marker, c=marker, *, d: str = "d", e: Value, f: float | None = None):
        return [a, b is marker, c is marker, d, e.text, f]

    assert await ask(handler, SyncComponent()) == [1, True, True, "d", "sync", None]


async def test_variadic_parameters_receive_nothing():
    def handler(value: Value, *args, **kwargs):
        return [value.text, len(args), len(kwargs)]

    assert await ask(handler, SyncComponent()) == ["sync", 0, 0]


async def test_positional_only_parameters_are_given_their_values():
    def handler(value: Value, id: int, /, q: str = "q"):
        return [value.text, id, q]

    assert await ask(handler, SyncComponent(), template="/{id}/", path="/3/") == ["sync", 3, "q"]


async def test_a_positional_only_parameter_after_one_that_keeps_its_default():
    def handler(a: Third = None, b: int = 2, /):
        return [a, b]

    assert await ask(handler, path="/?b=5") == [None, 5]


async def test_a_parameter_may_have_the_name_of_anything_inside():
    def handler(scope: int, receive: int, send: int, stack: int, app: int, handler: int, json: int, error: int = 0):
        return [scope, receive, send, stack, app, handler, json, error]

    class Stacking(Component):
        def resolve(self) -> Value:
            yield Value()

    def stacked(value: Value, stack: int, result: int, body: int, v0: int, make0: int):
        return [stack, result, body, v0, make0]

    assert await ask(handler, path="/?scope=1&receive=2&send=3&stack=4&app=5&handler=6&json=7&error=8") == [
        1, 2, 3, 4, 5, 6, 7, 8,
    ]  # fmt: skip
    assert await ask(stacked, Stacking(), path="/?stack=1&result=2&body=3&v0=4&make0=5") == [1, 2, 3, 4, 5]


class Methods:
    def __init__(self, text):
        self.text = text

    def method(self, value: Value):
        return [self.text, value.text]

    @classmethod
    def of_class(cls, value: Value):
        return [cls.__name__, value.text]

    async def __call__(self, value: Value):
        return ["called", value.text]


@pytest.mark.parametrize(
    ("handler", "answer"),
    [
        (Methods("m").method, ["m", "sync"]),
        (Methods.of_class, ["Methods", "sync"]),
        (Methods("m"), ["called", "sync"]),
        (functools.partial(lambda extra, value: [extra, value.text], "p"), None),
    ],
    ids=["method", "class method", "callable object", "partial"],
)
async def test_any_callable_can_be_a_handler(handler, answer):
    if answer is None:
        handler.func.__annotations__["value"] = Value
        answer = ["p", "sync"]

    assert await ask(handler, SyncComponent()) == answer


async def test_a_decorated_handler_is_asked_for_what_it_wraps():
    def noted(function):
        @functools.wraps(function)
        async def wrapper(*args, **kwargs):
            return ["wrapped", await function(*args, **kwargs)]

        return wrapper

    assert await ask(noted(tell_asynchronously), SyncComponent()) == ["wrapped", "sync"]


async def test_a_synchronous_handler_runs_off_the_loop_and_an_asynchronous_one_on_it():
    threads = []

    def synchronous():
        threads.append(threading.get_ident())

    async def asynchronous():
        threads.append(threading.get_ident())

    await ask(synchronous)
    await ask(asynchronous)

    assert threads[0] != threading.get_ident()
    assert threads[1] == threading.get_ident()


async def test_a_blocking_handler_does_not_hold_up_another_request():
    released = threading.Event()
    app = Flama()

    @app.get("/block/")
    def block():
        return released.wait(5)

    @app.get("/release/")
    async def release():
        released.set()

    async with Client(app=app) as client:
        blocked, _ = await asyncio.gather(client.get("/block/"), client.get("/release/"))

    assert blocked.json() is True


async def test_values_of_concurrent_requests_are_apart():
    class PerRequest(Component):
        async def resolve(self, q: str) -> Value:
            await asyncio.sleep(0)
            return Value(q)

    async def handler(value: Value):
        await asyncio.sleep(0)
        return value.text

    app = Flama(components=[PerRequest()])
    app.add_get("/", handler)
    async with Client(app=app) as client:
        answers = await asyncio.gather(*(client.get("/", params={"q": str(i)}) for i in range(50)))

    assert [answer.json() for answer in answers] == [str(i) for i in range(50)]


def test_components_find_the_first_that_can_handle_a_parameter():
    first, second = SyncComponent(), AsyncComponent()
    components = Components([first, second])

    assert components.find(Parameter("value", Value)) is first
    assert components.find(Parameter("value", Third)) is None


async def test_an_injector_works_without_an_application():
    def add(value: Value, root: int, *, more: int = 3):
        return value.text, root, more

    plan = Injector(Components([AsyncComponent()]), {int: "root"}).plan(add)
    run = plan.function("async def run(root):\n    {lines}\n    return handler({arguments})\n", handler=add)

    assert await run(2) == ("async", 2, 2)


async def test_a_traceback_shows_the_lines_of_a_plan():
    async def handler(value: Value):
        raise ValueError

    app = Flama(components=[SyncComponent()])
    app.add_get("/", handler)
    async with Client(app=app, raise_app_exceptions=True) as client:
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - it has no text
            await client.get("/")

    assert "await handler(" in "".join(traceback.format_exception(caught.value))
