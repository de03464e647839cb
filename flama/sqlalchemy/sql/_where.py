"""Translation of conditions on records to SQL."""

import collections.abc
import decimal
import operator
import typing as t

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from flama import exceptions, query
from flama.sqlalchemy.sql import _collation
from flama.sqlalchemy.sql._nulls import is_null, is_null_value
from flama.sqlalchemy.sql._value_checks import check_comparable

__all__ = [
    "KeysetColumn",
    "NEVER",
    "can_compare_as_row",
    "check_columns_exist",
    "compile_condition",
    "keyset_columns",
    "keyset_condition",
    "order_by_term",
]

_Element: t.TypeAlias = sa.ColumnElement[t.Any]
_Column: t.TypeAlias = sa.Column[t.Any]
_Names: t.TypeAlias = collections.abc.Iterator[str]

# the databases' limit of parameters in one statement, less those for the rest of it
_MOST_VALUES: t.Final = 30_000
NEVER: t.Final[_Element] = sa.literal_column("(1 = 0)")
"""A condition that no record matches; SQLAlchemy's false() would drop the conditions joined with it."""
_COMPARISONS: t.Final = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}


def check_columns_exist(table: sa.Table, names: collections.abc.Iterable[str]) -> None:
    """Check that a table has columns of these names.

    :raises UnknownColumnError: it lacks some.
    """
    columns = table.columns
    unknown = [name for name in names if name not in columns]
    if unknown:
        raise exceptions.UnknownColumnError(resource=table.name, names=unknown, columns=columns.keys())


def compile_condition(table: sa.Table, condition: query.Condition, names: _Names) -> _Element:
    """Return a condition on a table's records as an SQL expression, with a parameter for each of its values.

    The parameters take the names one after the other, in the order of the values.

    :raises UnknownColumnError: it is about a column that the table doesn't have.
    :raises InvalidDataError: an operator doesn't apply to a column's type, or there are too many values.
    """
    check_columns_exist(table, condition.fields)
    if (count := len(condition.values)) > _MOST_VALUES:
        raise exceptions.InvalidDataError(
            resource=table.name, detail=f"a condition has at most {_MOST_VALUES} values, not {count}"
        )
    return _where(table, condition, names)


def order_by_term(column: sa.ColumnElement[t.Any], order: query.Order, *, present: bool = False) -> _Element:
    """Return the ORDER BY term of a column; ``present`` means that it is null in none of the records."""
    key: _Element = _collation.comparable(column) if order.native else _collation.comparison_key(column)
    if present or not getattr(column, "nullable", True):
        return sa.desc(key) if order.descending else sa.asc(key)
    nulls: _Element = _NULLS[order.descending, order.nulls](key)
    return nulls


class _Nulls(_collation.DialectSpecific):
    # a term with an explicit position of its nulls
    inherit_cache = True
    descending = False
    last = True

    def terms(self, dialect: sa.Dialect) -> list[_Element]:
        (key,) = self.parts
        term = sa.desc(key) if self.descending else sa.asc(key)
        greatest = dialect.name in ("postgresql", "oracle")  # where null is the greatest value
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
def _compile_nulls(element: _Nulls, compiler: SQLCompiler, **options: t.Any) -> str:
    return ", ".join(compiler.process(term, **options) for term in element.terms(compiler.dialect))


class _RowWise(_collation.DialectSpecific):
    # two equivalent forms: a comparison of rows, which an index serves, or of columns, for databases without that
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
            return _comparison(table.columns[name], condition, names)
        case query.And():
            return sa.and_(*[_where(table, part, names) for part in condition.parts])
        case query.Or():
            return sa.or_(*[_where(table, part, names) for part in condition.parts])
        case query.Not():
            return sa.not_(_where(table, condition.part, names))
        case query.KeysetCondition():
            return keyset_condition(keyset_columns(table, condition, names))
    raise TypeError(f"{condition!r} has no form in SQL")


def _comparison(column: _Column, test: query.Comparison, names: _Names) -> _Element:
    textual = query.OPERATORS[test.operator].pattern is not None
    if textual and not _collation.is_text(column.type):
        detail = f"'{column.key}' is no text: {test.operator} can't be asked of it"
        raise exceptions.InvalidDataError(resource=column.table.name, detail=detail)
    if textual and "\0" in test.operand:  # for a cached statement, PatternType raises this
        raise exceptions.InvalidDataError(resource=column.table.name, detail=f"{test!r}: a pattern has no NUL")
    kinds = [_collation.PatternType(test.operator) if textual else _kind(column, value) for value in test.values]
    binds = [_bind(next(names), value, kind) for value, kind in zip(test.values, kinds, strict=True)]
    match test.operator, binds:
        case "in", []:
            return NEVER
        case (("eq" | "in"), _):
            return _collation.equal(column, binds)
        case compared, [bind] if compared in _COMPARISONS:
            return t.cast(
                "_Element",
                _COMPARISONS[compared](_collation.comparison_key(column), _collation.comparison_operand(bind, column)),
            )
        case _, [pattern]:
            return _collation.matches_pattern(column, test.operator, pattern)
    raise TypeError(f"{test!r} has no form in SQL")


def _bind(name: str, value: t.Any, kind: sa.types.TypeEngine[t.Any]) -> _Element:
    bind = sa.bindparam(name, value, kind)
    # compared with a regclass, PostgreSQL reads an untyped text as an oid
    return sa.cast(bind, kind) if isinstance(kind, postgresql.REGCLASS) else bind


def _kind(column: _Column, value: t.Any) -> sa.types.TypeEngine[t.Any]:
    check_comparable(column, value)
    # a fraction is compared with integers exactly, not rounded
    match value:
        case float() if isinstance(column.type, sa.Integer):
            return sa.Double()
        case decimal.Decimal() if isinstance(column.type, sa.Integer):
            return sa.Numeric()
    return column.type


class KeysetColumn(t.NamedTuple):
    """A column of an order with its value at a place, and whether records after that may have null in it."""

    order: query.Order
    column: _Column
    bind: sa.BindParameter[t.Any] | None
    nullable: bool

    @property
    def value(self) -> _Element | None:
        """The operand to compare :attr:`key` with, None if it is null at the place."""
        return (
            self.bind
            if self.bind is None or self.order.native
            else _collation.comparison_operand(self.bind, self.column)
        )

    @property
    def key(self) -> _Element:
        """The column's side of the comparison with :attr:`value`."""
        return self._comparable if self.order.native else _collation.comparison_key(self.column)

    @property
    def _comparable(self) -> _Element:
        return _collation.comparable(self.column)

    @property
    def nulls_follow(self) -> bool:
        """Whether records with null in the column come after the others."""
        return self.nullable and self.order.nulls == "last"

    def equals(self) -> _Element:
        """Return the condition that a record has the place's value."""
        if self.bind is None:
            return self._comparable.is_(None)
        return self._comparable == self.bind if self.order.native else _collation.equal(self.column, [self.bind])

    def strictly_after(self) -> _Element | None:
        """Return the condition that a record has a value after the place's, other than null; None if none can."""
        if self.value is None:
            return None if self.order.nulls == "last" else self._comparable.is_not(None)
        return self.key < self.value if self.order.descending else self.key > self.value

    def after(self) -> _Element | None:
        """Return the condition that a record comes after the place; None if none can."""
        further = self.strictly_after()
        if further is None or self.value is None or not self.nulls_follow:
            return further
        return sa.or_(further, self._comparable.is_(None))

    def index_hint(self) -> _Element | None:
        """Return a redundant condition that shows the database where in an index to start; None without one."""
        if self.value is None or self.nulls_follow:
            return None
        return self.key <= self.value if self.order.descending else self.key >= self.value


def keyset_columns(table: sa.Table, condition: query.KeysetCondition, names: _Names) -> list[KeysetColumn]:
    """Return the columns of an order at a place, with a parameter for each that isn't null there."""
    return [_keyset_column(table.columns[order.field], order, value, names) for order, value in condition.columns]


def can_compare_as_row(places: collections.abc.Sequence[KeysetColumn]) -> bool:
    """Whether a single comparison of rows selects the records after a place."""
    alike = len({place.order.descending for place in places}) == 1
    return alike and not any(place.value is None or place.nullable for place in places)


def keyset_condition(places: collections.abc.Sequence[KeysetColumn]) -> _Element:
    """Return the condition that a record comes after a place."""
    by_columns = _by_columns(places)
    if len(places) == 1 or not can_compare_as_row(places):
        return by_columns
    keys = sa.tuple_(*[place.key for place in places])
    values = sa.tuple_(*[place.value for place in places])
    return _RowWise(keys < values if places[0].order.descending else keys > values, by_columns)


def _keyset_column(column: _Column, order: query.Order, value: t.Any, names: _Names) -> KeysetColumn:
    check_comparable(column, value)
    bind = None if value is None else sa.bindparam(next(names), value, type_=column.type)
    return KeysetColumn(order, column, bind, bool(column.nullable))


def _by_columns(places: collections.abc.Sequence[KeysetColumn]) -> _Element:
    ways = [
        sa.and_(*[place.equals() for place in places[:index]], further)
        for index, place in enumerate(places)
        if (further := place.after()) is not None
    ]
    if not ways:
        return NEVER
    lead = places[0].index_hint() if len(places) > 1 else None
    return sa.or_(*ways) if lead is None else sa.and_(lead, sa.or_(*ways))
