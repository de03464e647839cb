"""Conditions on records, as SQL."""

import collections.abc
import decimal
import operator
import typing as t

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from flama import exceptions, query
from flama.sqlalchemy import texts
from flama.sqlalchemy._nulls import is_null, is_null_value
from flama.sqlalchemy.values import compared

__all__ = ["NEVER", "Place", "beyond", "go_as_rows", "known", "ordered", "places", "where"]

_Element: t.TypeAlias = sa.ColumnElement[t.Any]
_Column: t.TypeAlias = sa.Column[t.Any]
_Names: t.TypeAlias = collections.abc.Iterator[str]

# what the databases take in one statement, less what else is in it
_MOST_VALUES: t.Final = 30_000
NEVER: t.Final[_Element] = sa.literal_column("(1 = 0)")
"""What holds of no record: with false(), SQLAlchemy leaves out what is joined with it, and the parameters in that."""
_COMPARISONS: t.Final = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}


def known(table: sa.Table, names: collections.abc.Iterable[str]) -> None:
    """Make sure that a table has columns of these names.

    :raises UnknownColumnError: it lacks some.
    """
    columns = table.columns
    unknown = [name for name in names if name not in columns]
    if unknown:
        raise exceptions.UnknownColumnError(resource=table.name, names=unknown, columns=columns.keys())


def where(table: sa.Table, condition: query.Condition, names: _Names) -> _Element:
    """Give a condition on a table's records as an expression, with a parameter for each of the condition's values.

    The parameters are called by the names, one after the other, in the order of the values.

    :raises UnknownColumnError: it is about what the table doesn't have.
    :raises InvalidDataError: it asks of a column what can't be asked of its type, or has too many values.
    """
    known(table, condition.fields)
    if (count := len(condition.values)) > _MOST_VALUES:
        raise exceptions.InvalidDataError(
            resource=table.name, detail=f"a condition has at most {_MOST_VALUES} values, not {count}"
        )
    return _where(table, condition, names)


def ordered(column: sa.ColumnElement[t.Any], order: query.Order, *, present: bool = False) -> _Element:
    """Give what sorts by a column; by one that is ``present``, not null in any of the records, as by one that can't."""
    key: _Element = texts.comparable(column) if order.native else texts.key(column)
    if present or not getattr(column, "nullable", True):
        return sa.desc(key) if order.descending else sa.asc(key)
    nulls: _Element = _NULLS[order.descending, order.nulls](key)
    return nulls


class _Nulls(texts.Dialected):
    # a term whose nulls come where they are said to
    inherit_cache = True
    descending = False
    last = True

    def terms(self, dialect: sa.Dialect) -> list[_Element]:
        (key,) = self.parts
        term = sa.desc(key) if self.descending else sa.asc(key)
        greatest = dialect.name in ("postgresql", "oracle")  # what null is there
        if self.last == (greatest != self.descending):
            return [term]
        if dialect.name in ("mysql", "mariadb"):
            return [sa.asc(key.is_(None)) if self.last else sa.desc(key.is_(None)), term]
        return [sa.nulls_last(term) if self.last else sa.nulls_first(term)]


_NULLS: t.Final = {
    (descending, nulls): type("_Nulls", (_Nulls,), {"inherit_cache": True, "descending": descending, "last": last})
    for descending in (False, True)
    for nulls, last in (("first", False), ("last", True))
}


@compiles(_Nulls)
def _compiled(element: _Nulls, compiler: SQLCompiler, **options: t.Any) -> str:
    return ", ".join(compiler.process(term, **options) for term in element.terms(compiler.dialect))


class _RowWise(texts.Dialected):
    # one meaning in two forms: a comparison of rows, which an index serves, or of columns, for who has none of that
    inherit_cache = True

    def form(self, dialect: sa.Dialect) -> _Element:
        return self.parts[0 if dialect.name in ("postgresql", "sqlite") else 1]


def _where(table: sa.Table, condition: query.Condition, names: _Names) -> _Element:
    match condition:
        case query.Comparison(name, "isnull"):
            return is_null(table.columns[name])
        case query.Comparison(name, "eq", value) if is_null_value(table.columns[name], value):
            return is_null(table.columns[name], value)
        case query.Comparison(name):
            return _test(table.columns[name], condition, names)
        case query.And():
            return sa.and_(*[_where(table, part, names) for part in condition.parts])
        case query.Or():
            return sa.or_(*[_where(table, part, names) for part in condition.parts])
        case query.Not():
            return sa.not_(_where(table, condition.part, names))
        case query.Beyond():
            return beyond(places(table, condition, names))
    raise TypeError(f"{condition!r} has no form in SQL")


def _test(column: _Column, test: query.Comparison, names: _Names) -> _Element:
    textual = query.OPERATORS[test.operator].pattern is not None
    if textual and not texts.is_text(column.type):
        detail = f"'{column.key}' is no text: {test.operator} can't be asked of it"
        raise exceptions.InvalidDataError(resource=column.table.name, detail=detail)
    if textual and "\0" in test.operand:  # of a shape that is known already, the type says so
        raise exceptions.InvalidDataError(resource=column.table.name, detail=f"{test!r}: a pattern has no NUL")
    kinds = [texts.PatternType(test.operator) if textual else _kind(column, value) for value in test.values]
    binds = [_bind(next(names), value, kind) for value, kind in zip(test.values, kinds, strict=True)]
    match test.operator, binds:
        case "in", []:
            return NEVER
        case (("eq" | "in"), _):
            return texts.equal(column, binds)
        case compared, [bind] if compared in _COMPARISONS:
            return t.cast("_Element", _COMPARISONS[compared](texts.key(column), texts.operand(bind, column)))
        case _, [pattern]:
            return texts.looks_like(column, test.operator, pattern)
    raise TypeError(f"{test!r} has no form in SQL")


def _bind(name: str, value: t.Any, kind: sa.types.TypeEngine[t.Any]) -> _Element:
    bind = sa.bindparam(name, value, kind)
    # next to a regclass, PostgreSQL takes a text of no type for an oid
    return sa.cast(bind, kind) if isinstance(kind, postgresql.REGCLASS) else bind


def _kind(column: _Column, value: t.Any) -> sa.types.TypeEngine[t.Any]:
    compared(column, value)
    # a fraction is compared with whole numbers as it is, not as what it is rounded to
    match value:
        case float() if isinstance(column.type, sa.Integer):
            return sa.Double()
        case decimal.Decimal() if isinstance(column.type, sa.Integer):
            return sa.Numeric()
    return column.type


class Place(t.NamedTuple):
    """Where a column of an order stands at a place, and whether it may be null on the way from there."""

    order: query.Order
    column: _Column
    bind: sa.BindParameter[t.Any] | None
    nullable: bool

    @property
    def value(self) -> _Element | None:
        """What it is compared with; None where it is null."""
        return self.bind if self.bind is None or self.order.native else texts.operand(self.bind, self.column)

    @property
    def key(self) -> _Element:
        """What is compared with that."""
        return self._comparable if self.order.native else texts.key(self.column)

    @property
    def _comparable(self) -> _Element:
        return texts.comparable(self.column)

    @property
    def nulls_follow(self) -> bool:
        """Whether records that are null there come behind those that aren't."""
        return self.nullable and self.order.nulls == "last"

    def here(self) -> _Element:
        """Give that a record stands where the place does."""
        if self.bind is None:
            return self._comparable.is_(None)
        return self._comparable == self.bind if self.order.native else texts.equal(self.column, [self.bind])

    def further(self) -> _Element | None:
        """Give that a record has a value, which comes behind; None where none can."""
        if self.value is None:
            return None if self.order.nulls == "last" else self._comparable.is_not(None)
        return self.key < self.value if self.order.descending else self.key > self.value

    def beyond(self) -> _Element | None:
        """Give that a record comes behind; None where none can."""
        further = self.further()
        if further is None or self.value is None or not self.nulls_follow:
            return further
        return sa.or_(further, self._comparable.is_(None))

    def not_before(self) -> _Element | None:
        """Give what is of no meaning of its own, but shows the database where in an index to begin."""
        if self.value is None or self.nulls_follow:
            return None
        return self.key <= self.value if self.order.descending else self.key >= self.value


def places(table: sa.Table, condition: query.Beyond, names: _Names) -> list[Place]:
    """Give the columns of an order at a place, with a parameter for each that isn't null there."""
    return [_place(table.columns[order.field], order, value, names) for order, value in condition.places]


def go_as_rows(places: collections.abc.Sequence[Place]) -> bool:
    """Tell whether one comparison of rows says what comes behind a place."""
    alike = len({place.order.descending for place in places}) == 1
    return alike and not any(place.value is None or place.nullable for place in places)


def beyond(places: collections.abc.Sequence[Place]) -> _Element:
    """Give that a record comes behind a place."""
    by_columns = _by_columns(places)
    if len(places) == 1 or not go_as_rows(places):
        return by_columns
    keys = sa.tuple_(*[place.key for place in places])
    values = sa.tuple_(*[place.value for place in places])
    return _RowWise(keys < values if places[0].order.descending else keys > values, by_columns)


def _place(column: _Column, order: query.Order, value: t.Any, names: _Names) -> Place:
    compared(column, value)
    bind = None if value is None else sa.bindparam(next(names), value, type_=column.type)
    return Place(order, column, bind, bool(column.nullable))


def _by_columns(places: collections.abc.Sequence[Place]) -> _Element:
    ways = [
        sa.and_(*[place.here() for place in places[:index]], further)
        for index, place in enumerate(places)
        if (further := place.beyond()) is not None
    ]
    if not ways:
        return NEVER
    lead = places[0].not_before() if len(places) > 1 else None
    return sa.or_(*ways) if lead is None else sa.and_(lead, sa.or_(*ways))
