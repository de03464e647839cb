"""What is kept in memory answers as a database does: the same records, in the same order, or the same error."""

import asyncio
import contextlib
import functools
import itertools
import types

import hypothesis
import pytest
import sqlalchemy as sa
from hypothesis import strategies as st

from flama import exceptions, query
from flama.ddd import F, MemoryWorker
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.sqlalchemy import SQLAlchemyModule

metadata = sa.MetaData()
shelf_table = sa.Table(
    "shelf",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("shelf_code", sa.String(4), key="code", unique=True),
    sa.Column("label", sa.String(8), nullable=False, default="none"),
    sa.Column("size", sa.Integer, server_default="7"),
    sa.Column("width", sa.Numeric(5, 1)),
    sa.Column("kind", sa.Enum("tall", "low", name="kind")),
    sa.Column("tags", sa.JSON(none_as_null=True)),
    sa.CheckConstraint(sa.column("size") < 9, name="size_is_small"),
    sqlite_autoincrement=True,  # elsewhere, too, no number is given twice
)
book_table = sa.Table(
    "book",
    metadata,
    sa.Column("title", sa.String(4), primary_key=True),
    sa.Column("copy", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("shelf", sa.Integer, sa.ForeignKey("shelf.id")),
    sa.Column("box", sa.Integer, sa.ForeignKey("shelf.id", ondelete="SET NULL", onupdate="CASCADE")),
    sa.Column("version", sa.Integer, nullable=False),
)
leaf_table = sa.Table(
    "leaf",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("tree", sa.Integer, sa.ForeignKey("leaf.id", ondelete="CASCADE", onupdate="CASCADE")),
    sa.Column("later", sa.Integer, sa.ForeignKey("shelf.id", deferrable=True, initially="DEFERRED")),
    sa.Column("deleted_at", sa.DateTime),
)


class Shelves(SQLAlchemyTableRepository):
    _table = shelf_table


class Books(SQLAlchemyTableRepository):
    _table = book_table
    _version = "version"


class Leaves(SQLAlchemyTableRepository):
    _table = leaf_table


class HiddenLeaves(Leaves):
    _deleted_at = "deleted_at"


class Library(SQLAlchemyWorker):
    shelves: Shelves
    books: Books
    leaves: Leaves
    hidden: HiddenLeaves


LibraryInMemory = MemoryWorker.of(Library)

ids = st.integers(1, 4)
texts = st.sampled_from(["", "a", "A", "aB", "b", "é", "%", "a%b", "_"])


def seldom(unlikely, usual):
    return st.integers(0, 15).flatmap(lambda number: unlikely if number == 7 else usual)


VALUES = {
    "shelves": {
        "id": ids,
        "code": st.none() | texts,
        "label": seldom(st.none(), texts),
        "size": seldom(st.just(9), st.none() | st.integers(1, 8)),
        "width": st.none() | st.decimals(0, 3, places=1),
        "kind": st.sampled_from([None, "tall", "low"]),
        "tags": st.none() | st.lists(st.integers(0, 1), max_size=1),
    },
    "books": {
        "title": st.sampled_from(["a", "B", "é"]),
        "copy": st.integers(1, 2),
        "shelf": st.none() | ids,
        "box": st.none() | ids,
        "version": st.integers(1, 2),
    },
    "leaves": {"id": ids, "tree": st.none() | ids, "later": st.none() | seldom(ids, st.integers(1, 2))},
}
VALUES["hidden"] = VALUES["leaves"]
KEYS = {"shelves": ["id"], "books": ["title", "copy"], "leaves": ["id"], "hidden": ["id"]}
UNIQUES = {"shelves": ["id", "code", "label"], "books": [("copy", "title")], "leaves": ["id"], "hidden": ["id"]}
FIXED = {"shelves": ["id"], "books": [], "leaves": [], "hidden": []}  # that SQLite counts from the highest again


@functools.cache
def row(name, *names):
    fields = st.fixed_dictionaries({field: VALUES[name][field] for field in names})
    return fields.map(lambda given: {field: given[field] for field in names})


@st.composite
def rows(draw, name):
    # rows of the same columns: in which order others are stored is a database's own affair
    required = [] if name == "shelves" else KEYS[name]
    names = draw(st.sets(st.sampled_from(list(VALUES[name]))).map(lambda some: sorted({*some, *required})))
    return draw(st.lists(row(name, *names), min_size=1, max_size=3))


def comparisons(name):
    @functools.cache
    def of(field):
        value = VALUES[name][field].filter(lambda value: value is not None)
        null = st.sampled_from([F[field].isnull(), ~F[field].isnull()])
        if field == "tags":
            return null
        compared = st.builds(query.compare, st.just(field), st.sampled_from(["eq", "gt", "gte", "lt", "lte"]), value)
        among = st.builds(F[field].in_, st.lists(value, max_size=3))
        operators = st.sampled_from(["contains", "startswith", "iendswith", "icontains", "like"])
        textual = st.builds(query.compare, st.just(field), operators, texts)
        return st.one_of(compared, compared, among, null, textual)

    return st.sampled_from(list(VALUES[name])).flatmap(of)


def conditions(name):
    return st.recursive(
        comparisons(name),
        lambda some: (
            st.builds(lambda a, b: a & b, some, some)
            | st.builds(lambda a, b: a | b, some, some)
            | some.map(lambda condition: ~condition)
        ),
        max_leaves=3,
    )


def filters(name):
    fields = [field for field in VALUES[name] if field != "tags"]
    some = st.lists(st.sampled_from(fields), max_size=2, unique=True).flatmap(lambda names: row(name, *names))
    key = row(name, *KEYS[name], *(["version"] if name == "books" else []))
    usual = st.one_of(st.just({}), row(name, *KEYS[name]), key, some)
    return seldom(some.map(lambda given: {**given, "nonsense": 1}), usual)


def orders(name):
    fields = [field for field in VALUES[name] if field != "tags"]
    order = st.builds(query.Order, st.sampled_from(fields), st.booleans(), st.sampled_from(["first", "last"]))
    return st.lists(order | st.sampled_from(fields), min_size=1, max_size=2)


# Hypothesis looks a strategy over when it is first drawn from: those that are made while drawing are kept.
@functools.cache
def verbs(name):
    where = st.tuples(st.just([]) | conditions(name).map(lambda condition: [condition]), filters(name))
    # what constraints refuse, or what was read in an earlier version
    wrong = {
        "shelves": st.sampled_from([{"label": None}, {"size": 9}, {"code": "a"}]),
        "books": row("books", "version", "shelf") | st.just({"version": 1, "title": "a"}),
        "leaves": st.just({"id": 1}) | row("leaves", "tree"),
    }
    wrong["hidden"] = wrong["leaves"]
    few = st.none() | st.none() | st.integers(0, 2)
    changes = st.sets(st.sampled_from([each for each in VALUES[name] if each not in FIXED[name]]), max_size=2)
    data = changes.flatmap(lambda names: row(name, *sorted(names)))
    on = st.none() | st.sampled_from(UNIQUES[name])
    place = st.none() | st.fixed_dictionaries(VALUES[name])
    slice = st.fixed_dictionaries(
        {"order_by": orders(name), "after": place, "before": place},
        optional={"limit": st.integers(0, 3), "offset": st.integers(0, 2)},
    )
    one = st.just(name)
    return st.one_of(
        st.tuples(st.just(create), one, rows(name)),
        st.tuples(st.just(create), one, rows(name)),
        st.tuples(st.just(upsert), one, rows(name), on, st.none() | st.just(("label",) if name == "shelves" else ())),
        st.tuples(st.just(get_or_create), one, rows(name), on),
        st.tuples(st.just(update), one, where, data, few),
        st.tuples(st.just(delete), one, where),
        st.tuples(st.just(delete), one, filters(name).map(lambda given: ([], given))),
        st.tuples(st.just(update), one, filters(name).map(lambda given: ([], given)), wrong[name] | data, few),
        st.tuples(st.just(drop), one, where, few),
        st.tuples(st.sampled_from([retrieve, get, count, exists, whole]), one, where),
        st.tuples(st.just(page), one, where, slice),
    )


async def create(repository, given):
    return await repository.create(*given)


async def upsert(repository, given, on, set):
    return await repository.upsert(*given, on=on, set=set)


async def get_or_create(repository, given, on):
    return await repository.get_or_create(given[0], on=on)


async def update(repository, where, data, max_affected):
    clauses, filters = where
    return in_any_order(await repository.update(data, *clauses, max_affected=max_affected, **filters))


async def delete(repository, where):
    return await repository.delete(*where[0], **where[1])


async def drop(repository, where, max_affected):
    number = await repository.drop(*where[0], max_affected=max_affected, **where[1])
    # SQLite doesn't count a record that went with another before its turn came
    return number > 0 if repository._table is leaf_table else number


async def retrieve(repository, where):
    return await repository.retrieve(*where[0], **where[1])


async def get(repository, where):
    return await repository.get(*where[0], **where[1])


async def count(repository, where):
    return await repository.count(*where[0], **where[1])


async def exists(repository, where):
    return await repository.exists(*where[0], **where[1])


async def whole(repository, where):
    return in_any_order([record async for record in repository.list(*where[0], **where[1])])


async def page(repository, where, slice):
    return [record async for record in repository.list(*where[0], **where[1], **slice)]


def in_any_order(records):
    return sorted(records, key=repr)


calls = st.sampled_from(["shelves", "shelves", "books", "leaves", "hidden"]).flatmap(verbs)
steps = st.recursive(
    seldom(st.tuples(st.sampled_from(["commit", "rollback"])), calls),
    lambda some: st.tuples(st.just("nest"), st.lists(some, max_size=3), st.booleans()),
    max_leaves=12,
)


def stored(name, keys):
    others = st.fixed_dictionaries(
        {field: value for field, value in VALUES[name].items() if field not in KEYS[name] and field != "code"}
    )
    return st.lists(others, min_size=len(keys), max_size=len(keys)).map(
        lambda several: (create, name, [{**key, **other} for key, other in zip(keys, several, strict=True)])
    )


beginnings = st.tuples(
    stored("shelves", [{"id": 1, "code": "a"}, {"id": 2, "code": "B"}, {"id": 3}]),
    stored("leaves", [{"id": 1}, {"id": 2}]),
    stored("books", [{"title": "a", "copy": 1}, {"title": "a", "copy": 2}, {"title": "B", "copy": 1}]),
)


class Ended(Exception):
    """A commit failed: the unit can only be left."""


async def taken(worker, step):
    match step:
        case ("commit",):
            given = await outcome(worker.commit())
            if given is not None:
                raise Ended(given)
            return given
        case ("rollback",):
            return await outcome(worker.rollback())
        case ("nest", inner, kept):
            given = []
            with contextlib.suppress(ZeroDivisionError):
                async with worker:
                    for each in inner:
                        given += [await taken(worker, each)]
                    if not kept:
                        raise ZeroDivisionError
            return given
        case verb, name, *arguments:
            return without_moments(await outcome(verb(getattr(worker, name), *arguments)))


async def outcome(doing):
    try:
        return await doing
    except exceptions.IntegrityError as error:
        return type(error), error.kind, error.fields, error.id
    except exceptions.ResourceException as error:
        return type(error), error.id, getattr(error, "names", ())
    except exceptions.SQLAlchemyError as error:
        return type(error), str(error)


def without_moments(given):
    match given:
        case {"deleted_at": moment, **rest}:
            return {**rest, "deleted_at": moment is not None}
        case [*several]:
            return type(given)(without_moments(each) for each in several)
    return given


async def lived(worker, steps):
    """What each step gave, how the unit ended, and what is stored then."""
    given = []
    try:
        async with worker:
            for step in steps:
                given += [await taken(worker, step)]
    except Ended as error:
        given.append(error.args)
    except exceptions.ResourceException as error:
        given.append((type(error), getattr(error, "kind", None), (), None))
    async with worker:
        names = ["leaves", "books", "shelves"]
        left = [[each async for each in getattr(worker, name).list(order_by=KEYS[name])] for name in names]
    return given, without_moments(left)


@pytest.fixture(scope="module")
def both():
    """A function that gives what comes of steps, in a database and in memory."""

    async def started():
        module = SQLAlchemyModule("sqlite+aiosqlite:///")
        await module.on_startup()
        async with module.engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
        return module

    async def both_lived(steps):
        async with module.engine.begin() as connection:
            for name in ("leaf", "book", "shelf", "sqlite_sequence"):
                await connection.execute(sa.text(f"DELETE FROM {name}"))
        database = Library(types.SimpleNamespace(sqlalchemy=module))
        return await lived(database, steps), await lived(LibraryInMemory(), steps)

    with asyncio.Runner() as runner:
        module = runner.run(started())
        yield lambda steps: runner.run(asyncio.wait_for(both_lived(steps), 20))
        runner.run(module.on_shutdown())


def told(database, memory):
    """Give what memory told, less what the database doesn't tell: which columns it refused."""
    match database, memory:
        case (exceptions.IntegrityError, _, (), _), (exceptions.IntegrityError, *_):
            return (*memory[:2], (), memory[3])
    if isinstance(database, list | tuple) and isinstance(memory, list | tuple) and len(database) == len(memory):
        return type(memory)(told(*each) for each in zip(database, memory, strict=True))
    return memory


def may_differ(step, *given):
    """Whether records stored together were refused, for whichever constraint was checked first."""
    return step is not None and step[0] is create and len(step[2]) > 1 and all(is_refusal(each) for each in given)


def is_refusal(given):
    return isinstance(given, tuple) and given[:1] == (exceptions.IntegrityError,)


def differences(steps, database, memory):
    """Give the steps that came out otherwise in memory, with what came of them in each."""
    yield from different_steps(steps, database[0], memory[0])
    if database[1] != memory[1]:
        yield "what is stored", database[1], memory[1]


def different_steps(steps, database, memory):
    for step, one, other in itertools.zip_longest(steps, database, memory):
        if step is not None and step[0] == "nest" and isinstance(one, list) and isinstance(other, list):
            yield from different_steps(step[1], one, other)
        elif one != other and not may_differ(step, one, other):
            yield step, one, other


def reached(steps, given):
    """Give what verbs gave, in a word each."""
    for step, result in zip(steps, given, strict=False):
        if step[0] == "nest":
            yield from reached(step[1], result)
        elif callable(step[0]):
            refused = isinstance(result, tuple) and isinstance(result[0], type)
            told = result[1] if refused and result[0] is exceptions.IntegrityError else ""
            yield step[0].__name__, f"{result[0].__name__} {told}".strip() if refused else bool(result)


# what the steps are drawn for: a law that is only asked about nothing says nothing
REACHED = {
    *(
        (verb, True)
        for verb in (
            "create",
            "upsert",
            "get_or_create",
            "update",
            "drop",
            "retrieve",
            "get",
            "count",
            "exists",
            "whole",
            "page",
        )
    ),
    *((verb, "UnknownColumnError") for verb in ("update", "delete", "drop", "retrieve", "page")),
    *(("create", f"IntegrityError {kind}") for kind in ("unique", "foreign_key", "not_null", "check")),
    *(("update", f"IntegrityError {kind}") for kind in ("unique", "foreign_key", "not_null", "check")),
    *((verb, "IntegrityError foreign_key") for verb in ("delete", "drop")),
    *((verb, "MultipleRecordsError") for verb in ("update", "delete", "drop", "retrieve")),
    ("get_or_create", "InvalidDataError"),
    ("delete", False),
    ("delete", "NotFoundError"),
    ("delete", "ConflictError"),
    ("update", "ConflictError"),
    ("upsert", "IntegrityError unique"),
    ("upsert", "SQLAlchemyError"),
}
# what is seldom drawn is done in any case
FIRST = (
    (create, "shelves", [{"id": 1, "code": "a", "label": "A"}, {"id": 2, "code": "B", "label": "A"}]),
    (create, "leaves", [{"id": 1, "tree": None, "later": 1}, {"id": 2, "tree": 1, "later": None}]),
    (create, "books", [{"title": "a", "copy": 1, "shelf": 1, "box": 2}, {"title": "B", "copy": 1, "shelf": 2}]),
)
THEN = [
    *((create, "shelves", [wrong]) for wrong in ({"code": "a"}, {"label": None}, {"size": 9})),
    *((update, "shelves", ([], {"id": 1}), wrong, None) for wrong in ({"code": "B"}, {"label": None}, {"size": 9})),
    (create, "books", [{"title": "é", "copy": 1, "shelf": 4}]),
    (update, "books", ([], {}), {"shelf": 4}, None),
    (update, "books", ([], {}), {"box": 1}, 1),
    (update, "books", ([], {"title": "a", "copy": 1}), {"box": 1, "version": 1}, None),
    (update, "books", ([], {"title": "a", "copy": 1}), {"box": 2, "version": 1}, None),
    (delete, "books", ([], {"title": "a", "copy": 1, "version": 1})),
    (upsert, "shelves", [{"code": "a", "label": "B"}], "label", None),
    (get_or_create, "shelves", [{"label": "B"}], "code"),
    (upsert, "shelves", [{"id": 1, "code": "B"}], None, None),
    *((verb, "shelves", ([], {"label": "A"})) for verb in (retrieve, get, delete)),
    *((verb, "shelves", ([], {"id": 2})) for verb in (retrieve, get, count, exists, whole, delete)),
    *((verb, "shelves", ([], {"nonsense": 2})) for verb in (retrieve, delete)),
    (update, "shelves", ([], {"nonsense": 2}), {"label": "A"}, None),
    (drop, "shelves", ([], {"nonsense": 2}), None),
    (drop, "shelves", ([], {}), 1),
    (drop, "shelves", ([], {}), None),
    (page, "shelves", ([], {"nonsense": 2}), {"order_by": ["id"]}),
    (page, "leaves", ([], {}), {"order_by": ["-tree"], "limit": 1}),
    (page, "leaves", ([], {}), {"order_by": ["-tree"], "after": {"id": 2, "tree": 1}}),
    (page, "leaves", ([], {}), {"order_by": ["-tree"], "before": {"id": 3, "tree": None}, "limit": 1}),
    (delete, "leaves", ([], {"id": 9})),
    (delete, "hidden", ([], {"id": 2})),
    (delete, "leaves", ([], {"id": 1})),
    (drop, "books", ([], {}), None),
]
PHASES = [phase for phase in hypothesis.Phase if phase is not hypothesis.Phase.explain]


def test_memory_answers_as_a_database_does(both):
    met = set()

    @hypothesis.settings(max_examples=50, deadline=None, phases=PHASES)
    @hypothesis.given(first=beginnings, then=st.lists(steps, min_size=4, max_size=12))
    @hypothesis.example(first=FIRST, then=THEN)
    def law(first, then):
        taken = [*first, *then]
        database, memory = both(taken)
        assert [*differences(taken, database, told(database, memory))] == []
        met.update(reached(taken, database[0]))

    law()

    assert REACHED - met == set()
