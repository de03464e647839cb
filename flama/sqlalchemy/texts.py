"""Texts by their characters, in SQL: what databases compare, sort or match in ways of their own."""

import collections.abc
import re
import typing as t

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.operators import OperatorClass

from flama.query import OPERATORS
from flama.query.patterns import Pattern, Wildcard, expression, folded

__all__ = ["Dialected", "PatternType", "comparable", "equal", "is_text", "key", "looks_like", "operand"]

_Element: t.TypeAlias = sa.ColumnElement[t.Any]

_MYSQL: t.Final = ("mysql", "mariadb")
# collations by code points that leave nothing out, not even spaces at the end: a column of theirs needs no other form
_EXACT: t.Final = {
    "sqlite": re.compile(r"BINARY", re.IGNORECASE),
    "postgresql": re.compile(r"C|POSIX|ucs_basic|C\.UTF-?8|pg_c_utf8", re.IGNORECASE),
    **dict.fromkeys(_MYSQL, re.compile(r"\w+_(nopad|0900)_bin", re.IGNORECASE)),
}
_BINARY: t.Final = {"sqlite": "BINARY", "postgresql": "C"}


class Dialected(FunctionElement[t.Any]):
    """An expression that has another form on each database.

    It has no type: of a Boolean, SQLAlchemy makes "… = 1" where the database has none, which no index serves.
    """

    inherit_cache = True

    def form(self, dialect: sa.Dialect) -> _Element:
        """Give the form that it has on one."""
        raise NotImplementedError

    @property
    def parts(self) -> collections.abc.Sequence[_Element]:
        """The expressions that it's made of."""
        return tuple(self.clauses)


class _ByCharacters(Dialected):
    """A column of texts or UUIDs, as what compares and sorts by code points or bytes."""

    inherit_cache = True

    def form(self, dialect: sa.Dialect) -> _Element:
        (column,) = self.parts
        return _by_characters(column, column.type, dialect)


class _Operand(Dialected):
    """A value to compare with such a column, which is the second part."""

    inherit_cache = True

    def form(self, dialect: sa.Dialect) -> _Element:
        value, column = self.parts
        if dialect.name not in _MYSQL:
            return value
        return _by_characters(value, column.type, dialect)


class _Same(Dialected):
    """That a column of texts is, character by character, one of the values that come after it."""

    inherit_cache = True

    def form(self, dialect: sa.Dialect) -> _Element:
        column, *values = self.parts
        plain = _among(column, values)
        if _exact(column.type, dialect) or (dialect.name in _BINARY and _collation(column.type, dialect) is None):
            return plain
        # the first for the index, the second for the meaning
        exact = _among(_ByCharacters(column), [_Operand(value, column) for value in values])
        return sa.and_(plain, exact)


class _Like(Dialected):
    inherit_cache = True

    def form(self, dialect: sa.Dialect) -> _Element:
        column, pattern = self.parts
        match dialect.name:
            case "sqlite":
                return column.op("GLOB")(pattern)
            case "postgresql":
                declared = _collation(column.type, dialect) is not None
                return (_ByCharacters(column) if declared else column).like(pattern)
            case name if name in _MYSQL:
                return sa.and_(column.like(pattern, escape="!"), _unicode(column).like(pattern, escape="!"))
        return column.like(pattern, escape="!")


class _Folded(Dialected):
    inherit_cache = True

    def form(self, dialect: sa.Dialect) -> _Element:
        column, pattern = self.parts
        match dialect.name:
            case "sqlite":
                return sa.func.lower(column).op("GLOB")(pattern)
            case "postgresql":
                return sa.collate(column, "C").ilike(pattern)
            case name if name in _MYSQL:
                return _unicode(column).op("REGEXP")(pattern)
        return sa.func.lower(column).like(pattern, escape="!")


class PatternType(sa.types.TypeDecorator[str]):
    """What an operator compares a text with, turned into the database's own kind of pattern."""

    impl = sa.String
    cache_ok = True

    def __init__(self, operator: str) -> None:
        super().__init__()
        self.operator = operator

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        """Turn it."""
        row = OPERATORS[self.operator]
        if value is None or row.pattern is None:
            return value
        if "\0" in value:  # where PostgreSQL's texts have none, and SQLite's patterns end
            raise ValueError("a pattern has no NUL")
        pattern = row.pattern(folded(value) if row.fold else value)
        match dialect.name:
            case "sqlite":
                return _rendered(pattern, "*", "?", lambda text: re.sub(r"[*?\[]", r"[\g<0>]", text))
            case "postgresql":
                return _rendered(pattern, "%", "_", lambda text: re.sub(r"[\\%_]", r"\\\g<0>", text))
            case name if name in _MYSQL and row.fold:
                return expression(pattern, fold=True)
        return _rendered(pattern, "%", "_", lambda text: re.sub(r"[!%_]", r"!\g<0>", text))


def is_text(type: sa.types.TypeEngine[t.Any]) -> bool:
    """Tell whether a column of this type holds texts."""
    kept = _stored(type)
    return isinstance(kept, sa.String) and not isinstance(kept, sa.Enum)


class _Comparable(sa.types.UserDefinedType[t.Any]):
    cache_ok = True


_COMPARISONS: t.Final = OperatorClass.EQUALITY | OperatorClass.COMPARISON


def comparable(column: _Element) -> _Element:
    """Return a column as what can be compared and sorted without a warning.

    SQLAlchemy warns of types that don't say that they have these operators, though databases compare many of them.
    """
    has_operators = _COMPARISONS in column.type.operator_classes
    return column if has_operators else sa.type_coerce(column, _Comparable())


def key(column: _Element) -> _Element:
    """Give what a column is compared and sorted by: texts by code points, UUIDs by bytes, all else by itself."""
    return _ByCharacters(column) if _is_peculiar(column.type) else comparable(column)


def operand(value: _Element, column: _Element) -> _Element:
    """Give what a value is compared as with the key of a column."""
    return _Operand(value, column) if _is_peculiar(column.type) else value


def equal(column: _Element, values: collections.abc.Sequence[_Element]) -> _Element:
    """Give that a column is one of the values; texts are only what they are character by character."""
    return _Same(column, *values) if is_text(column.type) else _among(column, values)


def looks_like(column: _Element, operator: str, value: _Element) -> _Element:
    """Give that a column of texts has the pattern which the operator makes of the value, a :class:`PatternType`."""
    if isinstance(column.type, postgresql.DOMAIN):  # SQLAlchemy knows no operators on them
        column = sa.type_coerce(column, _stored(column.type))
    return (_Folded if OPERATORS[operator].fold else _Like)(column, value)


@compiles(Dialected)
def _compiled(element: Dialected, compiler: SQLCompiler, **options: t.Any) -> str:
    return f"({compiler.process(element.form(compiler.dialect), **options)})"


def _stored(type: sa.types.TypeEngine[t.Any]) -> sa.types.TypeEngine[t.Any]:
    """Return the type that a decorated one, or a domain, is for the database."""
    match type:
        case sa.types.TypeDecorator():
            return _stored(type.impl_instance)
        case postgresql.DOMAIN():
            return _stored(type.data_type)
    return type


def _is_peculiar(type: sa.types.TypeEngine[t.Any]) -> bool:
    return is_text(type) or isinstance(_stored(type), sa.Uuid)


def _by_characters(text: _Element, type: sa.types.TypeEngine[t.Any], dialect: sa.Dialect) -> _Element:
    if _is_native_uuid(type, dialect) and dialect.name in _MYSQL:
        return sa.cast(text, sa.CHAR)  # MariaDB sorts its UUIDs by their last part first
    if not is_text(type) or _exact(type, dialect):
        return text
    if dialect.name in _MYSQL:
        return sa.cast(_converted(text), sa.LargeBinary)
    return sa.collate(text, _BINARY[dialect.name])


def _unicode(column: _Element) -> _Element:
    return sa.collate(_converted(column), "utf8mb4_bin")


def _converted(text: _Element) -> _Element:
    return sa.func.convert(text.op("USING")(sa.literal_column("utf8mb4")))


def _among(column: _Element, values: collections.abc.Sequence[_Element]) -> _Element:
    column = comparable(column)
    return column == values[0] if len(values) == 1 else column.in_(values)


def _exact(type: sa.types.TypeEngine[t.Any], dialect: sa.Dialect) -> bool:
    exact, collation = _EXACT.get(dialect.name), _collation(type, dialect)
    if exact is None:
        return True
    return dialect.name == "sqlite" if collation is None else exact.fullmatch(collation) is not None


def _collation(type: sa.types.TypeEngine[t.Any], dialect: sa.Dialect) -> str | None:
    return getattr(type.dialect_impl(dialect), "collation", None)


def _is_native_uuid(type: sa.types.TypeEngine[t.Any], dialect: sa.Dialect) -> bool:
    kept = _stored(type)
    return isinstance(kept, sa.Uuid) and kept.native_uuid and bool(getattr(dialect, "supports_native_uuid", False))


def _rendered(pattern: Pattern, any: str, one: str, literal: collections.abc.Callable[[str], str]) -> str:
    wildcards = {Wildcard.ANY: any, Wildcard.ONE: one}
    return "".join(wildcards[part] if isinstance(part, Wildcard) else literal(part) for part in pattern)
