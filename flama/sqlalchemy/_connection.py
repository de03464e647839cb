"""SQLAlchemy's connection, made in a quarter of the time."""

import functools
import typing as t

import sqlalchemy as sa

__all__ = ["PLAIN", "PooledConnection"]


class PooledConnection(sa.Connection):
    """A connection that joins its engine's listeners when somebody first asks for them.

    SQLAlchemy's own does when it is made, which takes longer than all else that is done then.
    """

    def __init__(self, engine: sa.Engine, fairy: t.Any) -> None:
        super().__init__(engine, fairy, _has_events=False)

    @functools.cached_property
    def dispatch(self) -> t.Any:  # type: ignore[override]
        """The listeners of this connection and of its engine."""
        listened: t.Any = sa.Connection.dispatch
        return listened._for_instance(self)._join(self.engine.dispatch)


PLAIN: t.Final = (sa.Connection, PooledConnection)
"""The classes of connections that begin a transaction as SQLAlchemy does."""
