"""A subclass of SQLAlchemy's connection that takes a quarter of the time to create."""

import functools
import typing as t

import sqlalchemy as sa

__all__ = ["PLAIN", "PooledConnection"]


class PooledConnection(sa.Connection):
    """A connection that joins its engine's listeners when ``dispatch`` is first read.

    SQLAlchemy's own joins them on creation, which takes longer than the rest of the constructor.
    """

    def __init__(self, engine: sa.Engine, fairy: t.Any) -> None:
        super().__init__(engine, fairy, _has_events=False)

    @functools.cached_property
    def dispatch(self) -> t.Any:  # type: ignore[override]
        """The listeners of this connection and of its engine."""
        listened: t.Any = sa.Connection.dispatch
        return listened._for_instance(self)._join(self.engine.dispatch)


PLAIN: t.Final = (sa.Connection, PooledConnection)
"""The connection classes that begin a transaction as SQLAlchemy does."""
