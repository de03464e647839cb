"""SQLAlchemy's dialects with the same meaning of a value on every database.

SQLite and MariaDB drop the offset of a moment. asyncpg reads a moment without one in the process's time zone, psycopg
in the session's. So the types that a dialect chooses for columns are wrapped. A value bound to a column with
``timezone=True`` is the instant in UTC; a value read from it is aware, in UTC. A column without it refuses values that
have an offset. As the dialect chooses the types, this holds for types within types (decorators, variants, arrays).
It also holds for the program's own statements on a repository's connection.
"""

import collections.abc
import dataclasses
import decimal
import functools
import math
import typing as t
import weakref

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from flama._moments import UnfitValue, in_utc, refuse_offset

__all__ = ["has_moments", "has_zone", "portable", "storage_type", "use_portable"]

_Type: t.TypeAlias = sa.types.TypeEngine[t.Any]
_Convert: t.TypeAlias = collections.abc.Callable[[t.Any], t.Any]

_NAIVE_ONLY: t.Final = ("sqlite", "mysql", "mariadb")  # databases whose columns store no offset
_ANSWERS_IN_UTC: t.Final = ("asyncpg",)
_VIEW: t.Final = "flama_portable"
_MEMOS: t.Final = "flama_type_memos"


def portable(dialect: sa.Dialect) -> sa.Dialect:
    """Return a view of a dialect that shares all its state, except for the types that it chooses."""
    view: sa.Dialect | None = vars(dialect).get(_VIEW)
    if view is None:
        view = object.__new__(_view_class(t.cast("t.Any", type(dialect))))
        view.__dict__ = vars(dialect)
        vars(dialect)[_MEMOS] = _Memos()
        vars(dialect)[_VIEW] = view
    return view


def use_portable(connection: AsyncConnection) -> None:
    """Set the portable view of its dialect on a connection, for all statements, the program's own too."""
    sync = connection.sync_connection
    if sync is not None:
        sync.dialect = portable(sync.dialect)


def has_moments(type: _Type) -> bool:
    """Whether columns of this type hold moments, or times of the day."""
    return isinstance(storage_type(type), sa.DateTime | sa.Time)


def has_zone(type: _Type) -> bool:
    """Whether a column of this type holds instants, rather than local times without a zone."""
    return bool(getattr(storage_type(type), "timezone", False))


def storage_type(type: _Type) -> _Type:
    """Return the type by which values are stored: the one inside decorators, or the type itself."""
    return storage_type(type.impl_instance) if isinstance(type, sa.types.TypeDecorator) else type


@functools.cache
def _view_class(kind: t.Any) -> type[sa.Dialect]:
    # SQLAlchemy looks for supports_statement_cache in the class itself
    own = {"__module__": kind.__module__, "supports_statement_cache": kind.supports_statement_cache}
    return t.cast("type[sa.Dialect]", type(kind.__name__, (_PortableTypes, kind), own))


class _PortableTypes:
    # An instance shares the original dialect's dictionary. State that must not be shared has a key of its own there.

    @property
    def _type_memos(self) -> t.Any:
        return vars(self)[_MEMOS]

    def type_descriptor(self, typeobj: t.Any) -> t.Any:
        dialect: t.Any = super()
        return _wrap_type(dialect.type_descriptor(typeobj), t.cast("sa.Dialect", self))


class _Memos(weakref.WeakKeyDictionary[_Type, t.Any]):
    """SQLAlchemy's cache of each type's implementation for a dialect.

    A variant defines how a database stores a type, for example ``mysql.DATETIME(fsp=6)``. Whether that holds instants
    depends on the type that it is a variant of.
    """

    def __setitem__(self, type: _Type, info: t.Any) -> None:
        stored = storage_type(info["impl"])
        if has_zone(type) and isinstance(stored, _Moment) and not stored.timezone:
            info["impl"] = _replace_storage_type(info["impl"], _copy(stored, stored.__class__, timezone=True))
        super().__setitem__(type, info)


def _replace_storage_type(type: t.Any, kept: _Type) -> t.Any:
    if not isinstance(type, sa.types.TypeDecorator):
        return kept
    inner = _replace_storage_type(type.impl_instance, kept)
    return _copy(type, type.__class__, impl=inner, impl_instance=inner)


def _copy(type: _Type, kind: t.Any, **changes: t.Any) -> _Type:
    # the __class__ of SQLAlchemy's types can't always be assigned
    made: _Type = object.__new__(kind)
    made.__dict__.update(vars(type), **changes)
    return made


def _wrap_type(type: _Type, dialect: sa.Dialect) -> _Type:
    if isinstance(type, _Wrapped):
        return type
    for kinds, wrapper in _WRAPPERS:
        if isinstance(type, kinds) and (not wrapper.dialects or dialect.name in wrapper.dialects):
            return _copy(type, _wrapper_class(t.cast("t.Any", wrapper), t.cast("t.Any", type.__class__)))
    return type


@functools.cache
def _wrapper_class(wrapper: t.Any, kind: t.Any) -> type[_Type]:
    return t.cast("type[_Type]", type(kind.__name__, (wrapper, kind), {"__module__": kind.__module__}))


class _Wrapped:
    """A dialect's type with conversions around its own: before it for a bound value, after it for one that is read."""

    dialects: t.ClassVar[tuple[str, ...]] = ()  # only their types are wrapped; empty: those of all dialects

    def bind_processor(self, dialect: sa.Dialect) -> _Convert | None:
        kind: t.Any = super()
        return _chain(self._to_bind(dialect), kind.bind_processor(dialect))

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> _Convert | None:
        kind: t.Any = super()
        return _chain(kind.result_processor(dialect, coltype), self._to_return(dialect))

    def _to_bind(self, dialect: sa.Dialect) -> _Convert | None:
        raise NotImplementedError

    def _to_return(self, dialect: sa.Dialect) -> _Convert | None:
        return None


class _Moment(_Wrapped):
    timezone: bool

    def _to_bind(self, dialect: sa.Dialect) -> _Convert | None:
        if not self.timezone:
            return refuse_offset
        return _utc_without_zone if dialect.name in _NAIVE_ONLY else in_utc

    def _to_return(self, dialect: sa.Dialect) -> _Convert | None:
        return in_utc if self.timezone and dialect.driver not in _ANSWERS_IN_UTC else None


class _Timestamp(_Moment):
    """A TIMESTAMP of MySQL or MariaDB, written and read in the session's time zone."""

    dialects = ("mysql", "mariadb")

    def bind_expression(self, bindvalue: t.Any) -> t.Any:
        return sa.func.convert_tz(bindvalue, _UTC, _SESSION) if self.timezone else bindvalue

    def column_expression(self, colexpr: t.Any) -> t.Any:
        return sa.func.convert_tz(colexpr, _SESSION, _UTC, type_=self) if self.timezone else colexpr


_UTC: t.Final[sa.ColumnElement[str]] = sa.literal_column("'+00:00'")
_SESSION: t.Final[sa.ColumnElement[str]] = sa.literal_column("@@session.time_zone")


class _TimeOfDay(_Moment):
    def _to_return(self, dialect: sa.Dialect) -> _Convert | None:
        return in_utc if self.timezone and dialect.name in _NAIVE_ONLY else None  # others return it as it was stored


class _Range(_Wrapped):
    def _to_bind(self, dialect: sa.Dialect) -> _Convert | None:
        return _convert_bounds(in_utc if self._has_zone else refuse_offset)

    def _to_return(self, dialect: sa.Dialect) -> _Convert | None:
        return _convert_bounds(in_utc) if self._has_zone and dialect.driver not in _ANSWERS_IN_UTC else None

    @property
    def _has_zone(self) -> bool:
        return isinstance(self, postgresql.TSTZRANGE | postgresql.TSTZMULTIRANGE)


class _StoredAsFloat(_Wrapped):
    dialects = ("sqlite",)

    def _to_bind(self, dialect: sa.Dialect) -> _Convert | None:
        return _refuse_beyond_float


# the first match applies
_WRAPPERS: t.Final[tuple[tuple[tuple[type[t.Any], ...], type[_Wrapped]], ...]] = (
    ((sa.TIMESTAMP,), _Timestamp),
    ((sa.DateTime,), _Moment),
    ((sa.Time,), _TimeOfDay),
    (
        (postgresql.TSRANGE, postgresql.TSTZRANGE, postgresql.TSMULTIRANGE, postgresql.TSTZMULTIRANGE),
        _Range,
    ),
    ((sa.Numeric, sa.Float), _StoredAsFloat),
)


def _utc_without_zone(value: t.Any) -> t.Any:
    return None if value is None else in_utc(value).replace(tzinfo=None)


def _refuse_beyond_float(value: t.Any) -> t.Any:
    # SQLite stores a decimal as a float; beyond 1.8e308, that is infinity
    if isinstance(value, decimal.Decimal) and value.is_finite() and math.isinf(float(value)):
        raise UnfitValue(f"{value} is beyond what SQLite stores as a number")
    return value


def _convert_bounds(convert: _Convert) -> _Convert:
    def convert_value(value: t.Any) -> t.Any:
        match value:
            case postgresql.Range():
                bounds = {name: convert(bound) for name in _BOUNDS if (bound := getattr(value, name)) is not None}
                return dataclasses.replace(value, **bounds)
            case list() | tuple():
                return type(value)(map(convert_value, value))
        return value

    return convert_value


_BOUNDS: t.Final = ("lower", "upper")


def _chain(first: _Convert | None, second: _Convert | None) -> _Convert | None:
    if first is None or second is None:
        return first or second
    return lambda value: second(first(value))
