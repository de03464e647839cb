"""Repositories that keep in memory what others keep in a SQL table."""

import functools
import types
import typing as t

from flama import exceptions
from flama.ddd.repositories.memory import MemoryRepository
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository

__all__ = ["in_memory"]


@functools.lru_cache(1000)
def in_memory(repository: type[SQLAlchemyTableRepository[t.Any]]) -> type[t.Any]:
    """Give the repository that is like one of a SQL table, a subclass of it, and keeps the records in memory.

    The methods of its own are kept, and find those of memory where they call the others, by ``super()`` too.
    """
    # between the repository's own classes and SQL's: so they come first, and what they inherit is memory's
    base = _base()
    bases = (base,) if issubclass(base, repository) else (repository, base)
    body = {"__module__": repository.__module__, "__doc__": repository.__doc__}
    return types.new_class(repository.__name__, bases, exec_body=lambda space: space.update(body))


@functools.lru_cache(1)
def _base() -> type[t.Any]:
    bases: t.Any = (MemoryRepository, SQLAlchemyTableRepository)
    body = {name: property(_refuse) for name in ("_connection", "_table_manager")}
    return types.new_class("InMemory", bases, exec_body=lambda space: space.update(body))


def _refuse(repository: t.Any) -> t.NoReturn:
    raise exceptions.ApplicationError(
        f"{type(repository).__name__} is kept in memory, where there is no connection: "
        "say it by F, or give MemoryWorker.of() a repository in its place"
    )
