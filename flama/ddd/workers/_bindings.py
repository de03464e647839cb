"""Annotations that bind a repository to one of the application's databases, or to a remote service."""

import collections.abc
import dataclasses
import typing as t

__all__ = ["Binding", "Database", "Remote", "Writes"]

Writes: t.TypeAlias = t.Literal["immediate", "after_commit"]
"""When writes are sent: at once, or when all that can be rolled back has been committed."""


@dataclasses.dataclass(frozen=True)
class Database:
    """A database, by the name of the application's module.

    Use it in a worker's annotations, ``Annotated[ReportRepository, Database("reports")]``, or as the worker's argument.
    """

    name: str


@dataclasses.dataclass(frozen=True)
class Remote:
    """A service, by its base URL or a function that returns it.

    Use it in a worker's annotations, ``Annotated[StockRepository, Remote("https://stock.example")]``, or as the
    worker's argument. ``client`` are further arguments of the client, as pairs.
    """

    url: str | collections.abc.Callable[[], str]
    writes: Writes = "immediate"
    client: tuple[tuple[str, t.Any], ...] = dataclasses.field(default=(), hash=False)  # headers are a dictionary


Binding: t.TypeAlias = Database | Remote
"""The place of a repository's records."""
