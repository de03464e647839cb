"""Units of work across several backends."""

import collections.abc
import contextlib
import typing as t

from flama import exceptions, types
from flama.ddd.repositories.base import AbstractRepository
from flama.ddd.workers._unit_of_work import Part
from flama.ddd.workers.base import BaseWorker
from flama.ddd.workers.database import Database
from flama.ddd.workers.remote import Remote

__all__ = ["Worker"]

_Repositories: t.TypeAlias = dict[str, type[AbstractRepository]]


class Worker(BaseWorker):
    """A unit of work across several backends. Repositories that need the same session share it.

    A repository of SQL is in a transaction of ``app.sqlalchemy``. For another of the application's databases, annotate
    it: ``Annotated[ReportRepository, Database("reports")]``. Annotate a repository of a remote service with the
    service: ``Annotated[StockRepository, Remote("https://stock.example")]``. Or pass both to the worker:
    ``Shop(stock="https://stock.example", reports=Database("reports"))``. A repository that needs no session is made
    without arguments.

    When the unit ends well, SQL is committed first; of several databases, the one that was declared last. What one has
    committed is not undone when the next one fails to commit. HTTP has no transaction: what was written there is not
    undone when the unit fails. ``Remote(…, writes="after_commit")`` defers its writes until that commit. When one of
    them then fails, the commit is not undone, and an ``ExceptionGroup`` is raised.

    :raises ApplicationError: a remote repository has no service, or an argument's name isn't a repository's.
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
        """Open the session of repositories that need none, which is None."""
        yield

    def make_repository(self, repository: type[AbstractRepository], session: t.Any) -> AbstractRepository:
        """Return a repository that needs no session."""
        return repository()

    def parts(self) -> collections.abc.Sequence[Part]:
        """Return a part for each session that is needed; the one that commits first is last."""
        parts: dict[tuple[type[BaseWorker] | None, Remote | Database | None], _Repositories] = {}
        for name, (repository, hints) in self._declarations.resolved().items():
            hinted = next((hint for hint in hints if isinstance(hint, Remote | Database)), None)
            key = repository._backend, self._places.get(name, hinted)
            parts.setdefault(key, {})[name] = repository
        made = [(self._backend_for(backend, place, found), found) for (backend, place), found in parts.items()]
        return sorted(made, key=lambda part: part[0].precedence)

    def _backend_for(
        self, backend: type[BaseWorker] | None, place: Remote | Database | None, repositories: _Repositories
    ) -> BaseWorker:
        if backend is None:
            return self
        made = backend.for_repositories(repositories, self._app, place)
        made._cache = self._cache
        made._headers = self._headers
        return made
