"""What a unit of work promises, whatever its backend."""

from __future__ import annotations

import asyncio
import contextlib
import typing as t

import pytest

from flama import exceptions, injection, types
from flama._shielding import shield
from flama.ddd import AbstractRepository, AbstractWorker, BaseRepository, BaseWorker, Worker, WorkerComponent

pytestmark = pytest.mark.anyio


class Eggs(BaseRepository):
    pass


class Kitchen(Worker):
    eggs: Eggs
    _private: Eggs
    table: str
    size: t.ClassVar[int] = 3
    missing: Missing  # noqa: F821


class Annexe(Kitchen):
    spam: LaterRepository
    eggs: Eggs


class Emptied(Kitchen):
    eggs: int


class Shelf:
    jars: LaterRepository


class Pantry(Shelf, Emptied):
    pass


class LaterRepository(BaseRepository):
    pass


class Broken(AbstractRepository):
    def __init__(self) -> None:
        raise ZeroDivisionError


class Told(BaseWorker):
    """Tells what becomes of its session and its transactions."""

    eggs: Eggs

    def __init__(self, app: types.App | None = None, refuse: str = "") -> None:
        super().__init__(app)
        self.events: list[str] = []
        self.refuse = refuse

    def tell(self, event: str) -> None:
        self.events.append(event)
        if event == self.refuse:
            raise ZeroDivisionError(event)

    @contextlib.asynccontextmanager
    async def session(self):
        self.tell("open")
        try:
            yield self
        except BaseException as error:
            self.tell(f"close after {type(error).__name__}")
            raise
        self.tell("close")

    async def begin_transaction(self, session, *, nested):
        self.tell("begin nested" if nested else "begin")
        return Ending(self)


class Ending:
    def __init__(self, worker: Told) -> None:
        self.worker = worker

    async def commit(self) -> None:
        self.worker.tell("commit")

    async def rollback(self) -> None:
        self.worker.tell("rollback")


async def test_repositories_are_those_annotated_inherited_ones_and_strings_too():
    async with Annexe() as annexe:
        assert isinstance(annexe.eggs, Eggs)
        assert isinstance(annexe.spam, LaterRepository)
        with pytest.raises(AttributeError, match="_private"):
            _ = annexe._private
        with pytest.raises(AttributeError, match="no repository 'table'"):
            _ = annexe.table
        with pytest.raises(AttributeError, match=r"Annexe\.missing.*'Missing'"):
            _ = annexe.missing
    async with Emptied() as emptied:
        with pytest.raises(AttributeError, match="eggs"):
            _ = emptied.eggs
    async with Pantry() as pantry:
        assert isinstance(pantry.jars, LaterRepository)
        with pytest.raises(AttributeError, match="eggs"):
            _ = pantry.eggs


async def test_an_attribute_that_is_set_is_no_repository():
    kitchen = Kitchen()

    kitchen.table = "round"

    assert kitchen.table == "round"


async def test_a_unit_begins_and_ends_once():
    worker = Told()

    async with worker:
        async with worker:
            await worker.commit()
        await worker.rollback()

    assert worker.events == [
        *("open", "begin", "begin nested", "commit", "begin nested", "commit", "rollback", "begin", "commit", "close"),
    ]


@pytest.mark.parametrize(
    ("refuse", "events"),
    [
        ("open", ["open"]),
        ("begin", ["open", "begin", "close after ZeroDivisionError"]),
        ("commit", ["open", "begin", "commit", "close after ZeroDivisionError"]),
        ("close", ["open", "begin", "commit", "close"]),
    ],
)
async def test_what_fails_fails_each_time_and_leaves_nothing_open(refuse, events):
    worker = Told(refuse=refuse)

    for _ in range(2):
        with pytest.raises(ZeroDivisionError, match=refuse):
            async with worker:
                pass
        with pytest.raises(AttributeError):
            _ = worker.eggs

    assert worker.events == events * 2


async def test_a_repository_that_cannot_be_made_leaves_nothing_open():
    worker = type("Worse", (Told,), {"__annotations__": {"broken": Broken}})()

    with pytest.raises(TypeError):
        await worker.begin()

    assert worker.events == ["open", "begin", "rollback", "close after TypeError"]


async def test_commit_outside_a_unit_says_so():
    with pytest.raises(AttributeError, match="async with"):
        await Worker().commit()
    with pytest.raises(exceptions.ApplicationError, match="not entered"):
        await Worker().end()


async def test_a_unit_may_be_left_in_another_task_than_it_was_entered_in():
    worker = Told()

    async def generate():
        async with worker:
            yield

    generator = generate()
    await asyncio.create_task(anext(generator))
    await asyncio.create_task(generator.aclose())

    assert worker.events[-1] == "close after GeneratorExit"


async def test_clean_up_outlasts_every_cancellation():
    ended = []

    async def clean_up():
        for _ in range(5):
            await asyncio.sleep(0.01)
        ended.append(True)

    task = asyncio.create_task(shield(clean_up()))
    while not task.done():
        await asyncio.sleep(0)
        task.cancel()

    assert task.cancelled()
    assert ended == [True]


@pytest.mark.parametrize("error", [None, asyncio.CancelledError()])
async def test_clean_up_that_hangs_is_given_up(error):
    cancelled = []

    async def clean_up():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    task = asyncio.create_task(shield(clean_up(), error, limit=0.05))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait((task,), timeout=5)

    assert task.cancelled()
    assert cancelled == [True]


@pytest.mark.parametrize("error", [None, asyncio.CancelledError()])
async def test_clean_up_that_fails_after_a_cancellation_is_logged_and_the_cancellation_goes_on(error, caplog):
    async def clean_up():
        await asyncio.sleep(0)
        raise ZeroDivisionError

    task = asyncio.create_task(shield(clean_up(), error))
    await asyncio.sleep(0)
    if error is None:
        task.cancel()
    await asyncio.wait((task,))

    assert task.cancelled()
    assert "ZeroDivisionError" in caplog.text


async def test_clean_up_gives_its_result_or_its_error():
    async def clean_up(result):
        return 1 / result

    assert await shield(clean_up(1)) == 1
    with pytest.raises(ZeroDivisionError):
        await shield(clean_up(0))


def test_a_component_gives_each_request_a_worker_of_its_own():
    component = WorkerComponent(worker=Annexe())
    app = t.cast(types.App, object())

    first, second = component.resolve(app), component.resolve(app)

    assert type(first) is Annexe
    assert first is not second
    assert first.app is app


def test_a_component_copies_a_worker_that_is_none_of_ours():
    class Plain(AbstractWorker):
        async def begin(self): ...
        async def end(self, *, rollback=False): ...
        async def commit(self): ...
        async def rollback(self): ...

    component = WorkerComponent(Plain())
    app = t.cast(types.App, object())

    assert component.resolve(app) is not component.worker
    assert component.resolve(app).app is app


@pytest.mark.parametrize(
    ("annotation", "handled"),
    [(Annexe, True), (Kitchen, True), (Worker, True), (Emptied, False), (AbstractWorker, False), ("Annexe", False)],
)
def test_a_component_handles_the_workers_class_and_what_it_is_made_from(annotation, handled):
    component = WorkerComponent(worker=Annexe())

    assert component.can_handle_parameter(injection.Parameter("worker", annotation)) is handled


def test_of_several_workers_the_very_class_is_given_and_of_their_base_none():
    annexe, kitchen = WorkerComponent(Annexe()), WorkerComponent(Kitchen())
    injector = injection.Injector(injection.Components((annexe, kitchen)), {types.App: "app"})
    worker = t.cast(types.App, object())

    def very(kitchen: Kitchen, annexe: Annexe):
        return type(kitchen), type(annexe)

    def base(worker: Worker): ...

    plan = injector.plan(very)
    run = plan.function("def run(app):\n    {lines}\n    return handler({arguments})", handler=very)
    assert run(worker) == (Kitchen, Annexe)
    with pytest.raises(exceptions.ComponentError, match=r"'worker: Worker' may be any of Annexe, Kitchen.*'base'"):
        injector.plan(base)


async def test_a_bound_worker_keeps_what_the_template_was_given():
    template = Told(refuse="nothing")
    bound = template.bound(t.cast(types.App, object()))

    async with template, bound:
        assert bound.refuse == "nothing"
        assert bound.eggs is not template.eggs
