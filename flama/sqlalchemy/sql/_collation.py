"""SQL expressions that compare, sort and match texts by their characters on every database."""

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
from flama.query.patterns import Pattern, Wildcard, lower_ascii, to_regex

__all__ = [
    "DialectSpecific",
    "PatternType",
    "comparable",
    "comparison_key",
    "comparison_operand",
    "equal",
    "is_text",
    "matches_pattern",
]

_Element: t.TypeAlias = sa.ColumnElement[t.Any]

_MYSQL: t.Final = ("mysql", "mariadb")
# collations by code points that ignore nothing, not even trailing spaces: their columns need no other form
_EXACT: t.Final = {
    "sqlite": re.compile(r"BINARY", re.IGNORECASE),
    "postgresql": re.compile(r"C|POSIX|ucs_basic|C\.UTF-?8|pg_c_utf8", re.IGNORECASE),
    **dict.fromkeys(_MYSQL, re.compile(r"\w+_(nopad|0900)_bin", re.IGNORECASE)),
}
_BINARY: t.Final = {"sqlite": "BINARY", "postgresql": "C"}


class DialectSpecific(FunctionElement[t.Any]):
    """An expression with a form for each database.

    It has no type: where a database lacks Booleans, SQLAlchemy renders one as "… = 1", which no index serves.
    """

    inherit_cache = True

    def form(self, dialect: sa.Dialect) -> _Element:
        """Return its form on the database of this dialect."""
        raise NotImplementedError

    @property
    def parts(self) -> collections.abc.Sequence[_Element]:
        """The expressions it consists of."""
        return tuple(self.clauses)


class _ByCharacters(DialectSpecific):
    """A column of texts or UUIDs, compared and sorted by code points or bytes."""

    inherit_cache = True

    def form(self, dialect: sa.Dialect) -> _Element:
        (column,) = self.parts
        return _by_characters(column, column.type, dialect)


class _Operand(DialectSpecific):
    """A value to compare with such a column; the column is the second part."""

    inherit_cache = True

    def form(self, dialect: sa.Dialect) -> _Element:
        value, column = self.parts
        if dialect.name not in _MYSQL:
            return value
        return _by_characters(value, column.type, dialect)


class _ExactEquals(DialectSpecific):
    """A condition: a column of texts equals, character by character, one of the values after it."""

    inherit_cache = True

    def form(self, dialect: sa.Dialect) -> _Element:
        column, *values = self.parts
        plain = _among(column, values)
        if _exact(column.type, dialect) or (dialect.name in _BINARY and _collation(column.type, dialect) is None):
            return plain
        # the first is for the index, the second is exact
        exact = _among(_ByCharacters(column), [_Operand(value, column) for value in values])
        return sa.and_(plain, exact)


class _Like(DialectSpecific):
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


class _Folded(DialectSpecific):
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
    """The type of a text operator's operand, converted to the database's own pattern syntax."""

    impl = sa.String
    cache_ok = True

    def __init__(self, operator: str) -> None:
        super().__init__()
        self.operator = operator

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        """Return the value as a pattern of this database.

        :raises ValueError: it contains a NUL.
        """
        row = OPERATORS[self.operator]
        if value is None or row.pattern is None:
            return value
        if "\0" in value:  # PostgreSQL's texts can't hold one, and SQLite's patterns end there
            raise ValueError("a pattern has no NUL")
        pattern = row.pattern(lower_ascii(value) if row.ignore_case else value)
        match dialect.name:
            case "sqlite":
                return _render_pattern(pattern, "*", "?", lambda text: re.sub(r"[*?\[]", r"[\g<0>]", text))
            case "postgresql":
                return _render_pattern(pattern, "%", "_", lambda text: re.sub(r"[\\%_]", r"\\\g<0>", text))
            case name if name in _MYSQL and row.ignore_case:
                return to_regex(pattern, ignore_case=True)
        return _render_pattern(pattern, "%", "_", lambda text: re.sub(r"[!%_]", r"!\g<0>", text))


def is_text(type: sa.types.TypeEngine[t.Any]) -> bool:
    """Whether a column of this type holds texts; an Enum doesn't."""
    kept = _storage_type(type)
    return isinstance(kept, sa.String) and not isinstance(kept, sa.Enum)


class _Comparable(sa.types.UserDefinedType[t.Any]):
    cache_ok = True


_COMPARISONS: t.Final = OperatorClass.EQUALITY | OperatorClass.COMPARISON


def comparable(column: _Element) -> _Element:
    """Return a column in a form that SQLAlchemy compares and sorts without a warning.

    SQLAlchemy warns about types that don't declare these operators, though databases compare many of them.
    """
    has_operators = _COMPARISONS in column.type.operator_classes
    return column if has_operators else sa.type_coerce(column, _Comparable())


def comparison_key(column: _Element) -> _Element:
    """Return the sort key of a column: texts by code points, UUIDs by bytes, any other type unchanged."""
    return _ByCharacters(column) if _needs_exact_collation(column.type) else comparable(column)


def comparison_operand(value: _Element, column: _Element) -> _Element:
    """Return a value in the form to compare with a column's :func:`comparison_key`."""
    return _Operand(value, column) if _needs_exact_collation(column.type) else value


def equal(column: _Element, values: collections.abc.Sequence[_Element]) -> _Element:
    """Return the condition that a column equals one of the values; texts are compared character by character."""
    return _ExactEquals(column, *values) if is_text(column.type) else _among(column, values)


def matches_pattern(column: _Element, operator: str, value: _Element) -> _Element:
    """Return the condition that a text column matches the operator's pattern; ``value`` is a :class:`PatternType`."""
    if isinstance(column.type, postgresql.DOMAIN):  # SQLAlchemy defines no operators on them
        column = sa.type_coerce(column, _storage_type(column.type))
    return (_Folded if OPERATORS[operator].ignore_case else _Like)(column, value)


@compiles(DialectSpecific)
def _compile(element: DialectSpecific, compiler: SQLCompiler, **options: t.Any) -> str:
    return f"({compiler.process(element.form(compiler.dialect), **options)})"


def _storage_type(type: sa.types.TypeEngine[t.Any]) -> sa.types.TypeEngine[t.Any]:
    """Return the underlying database type of a decorated type or a domain."""
    match type:
        case sa.types.TypeDecorator():
            return _storage_type(type.impl_instance)
        case postgresql.DOMAIN():
            return _storage_type(type.data_type)
    return type


def _needs_exact_collation(type: sa.types.TypeEngine[t.Any]) -> bool:
    return is_text(type) or isinstance(_storage_type(type), sa.Uuid)


def _by_characters(text: _Element, type: sa.types.TypeEngine[t.Any], dialect: sa.Dialect) -> _Element:
    if _is_native_uuid(type, dialect) and dialect.name in _MYSQL:
        return sa.cast(text, sa.CHAR)  # MariaDB sorts its UUIDs by their last part first
    if not is_text(type) or _exact(type, dialect):
        return text
    if dialect.name in _MYSQL:
        return sa.cast(_convert_charset(text), sa.LargeBinary)
    return sa.collate(text, _BINARY[dialect.name])


def _unicode(column: _Element) -> _Element:
    return sa.collate(_convert_charset(column), "utf8mb4_bin")


def _convert_charset(text: _Element) -> _Element:
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
    kept = _storage_type(type)
    return isinstance(kept, sa.Uuid) and kept.native_uuid and bool(getattr(dialect, "supports_native_uuid", False))


def _render_pattern(pattern: Pattern, any: str, one: str, literal: collections.abc.Callable[[str], str]) -> str:
    wildcards = {Wildcard.ANY: any, Wildcard.ONE: one}
    return "".join(wildcards[part] if isinstance(part, Wildcard) else literal(part) for part in pattern)
