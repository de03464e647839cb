"""The SQL that a repository's method would run, without running it."""

import collections.abc
import dataclasses
import typing as t

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.compiler import SQLCompiler

from flama import exceptions
from flama._private import sqlalchemy as private
from flama.sqlalchemy import drivers

__all__ = ["Explanation", "Verb", "explain"]

Verb: t.TypeAlias = t.Literal[
    "count", "create", "delete", "drop", "exists", "first", "get", "get_or_create", "list", "retrieve", "update",
    "upsert",
]  # fmt: skip
"""The methods of a table's repository that run a statement."""

_READS: t.Final = ("count", "exists", "first", "get", "list", "retrieve")
_KINDS: t.Final[dict[str, tuple[type[sa.Executable], ...]]] = {
    **dict.fromkeys(_READS, (sa.Select,)),
    **dict.fromkeys(("create", "get_or_create", "upsert"), (sa.Insert,)),
    **dict.fromkeys(("delete", "drop"), (sa.Delete, sa.Update)),
    "update": (sa.Update,),
}
_PLANS: t.Final = {
    "sqlite": "EXPLAIN QUERY PLAN",
    "postgresql": "EXPLAIN",
    "mysql": "EXPLAIN FORMAT=JSON",
    "mariadb": "EXPLAIN FORMAT=JSON",
}


@dataclasses.dataclass(frozen=True)
class Explanation:
    """A statement, its parameters, and the database's plan for finding its records.

    ``sql`` is empty where nothing would be run. ``parameters`` are as the driver takes them: by position or by name.
    ``plan`` is the output of the database's EXPLAIN, empty for a statement that inserts.
    """

    sql: str
    parameters: tuple[t.Any, ...] | dict[str, t.Any]
    plan: str


async def explain(
    connection: AsyncConnection, table: sa.Table, verb: str, run: collections.abc.Callable[[], t.Any]
) -> Explanation:
    """Return the main statement of ``run``, a call of the repository's method ``verb``, without running it.

    Statements that would be run before it are replaced by ones that find nothing.

    :raises InvalidDataError: there is no such method.
    """
    if verb not in _KINDS:
        detail = f"there is no {verb!r} to explain: there are {', '.join(sorted(_KINDS))}"
        raise exceptions.InvalidDataError(resource=table.name, detail=detail)
    captured = await _capture(connection, _KINDS[verb], run)
    if captured is None:
        return Explanation("", (), "")
    sql, parameters = _render(connection.dialect, captured.statement, captured.values)
    return Explanation(sql, parameters, await _fetch_plan(connection, captured))


class _Captured(BaseException):
    # not an Exception, so that no handler of errors catches it

    def __init__(self, statement: t.Any, values: collections.abc.Mapping[str, t.Any]) -> None:
        super().__init__()
        self.statement = statement
        self.values = values


async def _capture(
    connection: AsyncConnection, kinds: tuple[type[sa.Executable], ...], run: collections.abc.Callable[[], t.Any]
) -> _Captured | None:
    last: _Captured | None = None

    def tell(connection: t.Any, statement: t.Any, many: t.Any, one: t.Any, options: t.Any) -> t.Any:
        nonlocal last
        if isinstance(statement, (sa.Select, sa.Insert, sa.Update, sa.Delete)):
            last = _Captured(statement, one or (many[0] if many else {}))
            if isinstance(statement, kinds):
                raise last
            return sa.select(*_null_columns(statement)).where(sa.false()), many, one
        return statement, many, one

    # while there is a listener, all statements go through SQLAlchemy
    event.listen(connection.sync_connection, "before_execute", tell, retval=True)
    try:
        result = run()
        await (anext(result) if isinstance(result, collections.abc.AsyncIterator) else result)
    except _Captured as told:
        return told
    except exceptions.ResourceException:
        if last is None:
            raise
    finally:
        event.remove(connection.sync_connection, "before_execute", tell)
    return last


def _null_columns(statement: t.Any) -> collections.abc.Sequence[t.Any]:
    return [sa.null().label(column.key) for column in statement.exported_columns] or [sa.null()]


def _render(
    dialect: sa.Dialect, statement: t.Any, values: collections.abc.Mapping[str, t.Any]
) -> tuple[str, tuple[t.Any, ...] | dict[str, t.Any]]:
    compiled = statement.compile(dialect=dialect, column_keys=list(values) or None)
    state = t.cast("SQLCompiler", compiled).construct_expanded_state(dict(values))
    processors: t.Any = {**_bind_processors(compiled, dialect), **state.processors}
    bound = {name: _process(processors.get(name), value) for name, value in state.parameters.items()}
    if state.positiontup is None:
        escaped = compiled.escaped_bind_names or {}
        return state.statement, {escaped.get(name, name): value for name, value in bound.items()}
    return state.statement, tuple([bound[name] for name in state.positiontup])


def _bind_processors(compiled: t.Any, dialect: sa.Dialect) -> dict[str, t.Any]:
    return {name: bind.type.dialect_impl(dialect).bind_processor(dialect) for bind, name in compiled.bind_names.items()}


def _process(processor: t.Any, value: t.Any) -> t.Any:
    return processor(value) if processor is not None else value


async def _fetch_plan(connection: AsyncConnection, captured: _Captured) -> str:
    explain = _PLANS.get(connection.dialect.name)
    if explain is None or isinstance(captured.statement, sa.Insert):
        return ""
    sql, parameters = _render(connection.dialect, _as_plain_select(captured.statement), captured.values)
    async with drivers.atomic(connection):
        await drivers.prepare_for_statement(connection)
        rows = (await connection.exec_driver_sql(f"{explain} {sql}", parameters)).all()
    return "\n".join(str(row[-1]) for row in rows)


def _as_plain_select(statement: t.Any) -> t.Any:
    # MariaDB may lock records when it explains a statement that locks or changes them
    if isinstance(statement, sa.Select):
        return private.without_lock(statement)
    search: sa.Select[t.Any] = sa.select(sa.literal_column("1")).select_from(statement.table)
    return search if statement.whereclause is None else search.where(statement.whereclause)
