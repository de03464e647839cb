"""Units of work whose repositories are kept in different places."""

import collections.abc
import contextlib
import typing as t

from flama import exceptions, types
from flama.ddd.repositories.base import AbstractRepository
from flama.ddd.workers.base import BaseWorker
from flama.ddd.workers.database import Database
from flama.ddd.workers.remote import Remote
from flama.ddd.workers.units import Part

__all__ = ["Worker"]

_Repositories: t.TypeAlias = dict[str, type[AbstractRepository]]


class Worker(BaseWorker):
    """A unit of work on several backends at once: each repository has the session that it needs, those alike share one.

    A repository of SQL is in a transaction of ``app.sqlalchemy``, or of another of the application's databases when it
    is annotated with that, ``Annotated[ReportRepository, Database("reports")]``. One of a remote service is annotated
    with it, ``Annotated[StockRepository, Remote("https://stock.example")]``. Or the worker is told where they are,
    ``Shop(stock="https://stock.example", reports=Database("reports"))``. One that needs nothing is made with nothing.

    When the unit ends well, SQL is committed first; of several databases, the one that was declared last. What one has
    committed is not undone when the next one fails to commit. HTTP has no transaction: what was written there is not
    undone when the unit fails, unless ``Remote(…, writes="after_commit")`` has it wait for that commit. What then fails
    to be written doesn't undo the commit: an ``ExceptionGroup`` tells of it.

    :raises ApplicationError: it isn't said where a remote repository's service is, or a name isn't a repository's.
    """

    def __init__(
        self,
        app: types.App | None = None,
        *,
        timeout: float | None = None,
        **places: str | collections.abc.Callable[[], str] | Remote | Database,
    ) -> None:
        super().__init__(app, timeout=timeout)
        self._places = {name: to if isinstance(to, Remote | Database) else Remote(to) for name, to in places.items()}
        if unknown := sorted(self._places.keys() - set(self._declarations.names)):
            raise exceptions.ApplicationError(f"{type(self).__name__} has no repository {', '.join(unknown)}")

    @contextlib.asynccontextmanager
    async def session(self) -> collections.abc.AsyncIterator[None]:
        """Give the session of repositories that need none."""
        yield

    def make_repository(self, repository: type[AbstractRepository], session: t.Any) -> AbstractRepository:
        """Make a repository that needs no session."""
        return repository()

    def parts(self) -> collections.abc.Sequence[Part]:
        """Give a part for each session that there has to be, the one that commits first last."""
        parts: dict[tuple[type[BaseWorker] | None, Remote | Database | None], _Repositories] = {}
        for name, (repository, hints) in self._declarations.resolved().items():
            hinted = next((hint for hint in hints if isinstance(hint, Remote | Database)), None)
            key = repository._backend, self._places.get(name, hinted)
            parts.setdefault(key, {})[name] = repository
        made = [(self._made(backend, place, found), found) for (backend, place), found in parts.items()]
        return sorted(made, key=lambda part: part[0].precedence)

    def _made(
        self, backend: type[BaseWorker] | None, place: Remote | Database | None, repositories: _Repositories
    ) -> BaseWorker:
        if backend is None:
            return self
        made = backend.serving(repositories, self._app, place)
        made._kept = self._kept
        made._headers = self._headers
        return made
