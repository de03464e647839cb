"""In-memory versions of repositories of SQL tables."""

import functools
import types
import typing as t

from flama import exceptions
from flama.ddd.repositories.memory import MemoryRepository
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository

__all__ = ["fake_for"]


@functools.lru_cache(1000)
def fake_for(repository: type[SQLAlchemyTableRepository[t.Any]]) -> type[t.Any]:
    """Return a subclass of a SQL table's repository that stores its records in memory.

    The repository's own methods are inherited unchanged. The methods that they call, by ``super()`` too, are the
    in-memory ones.
    """
    # in the MRO, the repository's own classes come first, then memory's, then SQL's
    base = _base()
    bases = (base,) if issubclass(base, repository) else (repository, base)
    body = {"__module__": repository.__module__, "__doc__": repository.__doc__}
    return types.new_class(repository.__name__, bases, exec_body=lambda space: space.update(body))


@functools.lru_cache(1)
def _base() -> type[t.Any]:
    bases: t.Any = (MemoryRepository, SQLAlchemyTableRepository)
    body: dict[str, t.Any] = {name: property(_refuse) for name in ("_connection", "_table_manager")}
    for name, method in vars(SQLAlchemyTableRepository).items():
        if isinstance(method, types.FunctionType) and name not in vars(MemoryRepository):
            body[name] = getattr(MemoryRepository, name, method)  # what memory inherits, SQL may override
    return types.new_class("InMemory", bases, exec_body=lambda space: space.update(body))


def _refuse(repository: t.Any) -> t.NoReturn:
    raise exceptions.ApplicationError(
        f"{type(repository).__name__} is kept in memory, where there is no connection: "
        "say it by F, or give MemoryWorker.of() a repository in its place"
    )
