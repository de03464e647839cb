"""Units of work across several backends."""

import collections.abc
import typing as t

from flama import exceptions, types
from flama.ddd.repositories.base import AbstractRepository
from flama.ddd.workers._backend import Backend, Part
from flama.ddd.workers._bindings import Binding, Database, Remote
from flama.ddd.workers.base import BaseWorker

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
        **bindings: str | collections.abc.Callable[[], str] | Remote | Database,
    ) -> None:
        super().__init__(app, timeout=timeout)
        self._bindings = {
            name: to if isinstance(to, Remote | Database) else Remote(to) for name, to in bindings.items()
        }
        if unknown := sorted(self._bindings.keys() - set(self._declarations.names)):
            raise exceptions.ApplicationError(f"{type(self).__name__} has no repository {', '.join(unknown)}")

    def make_repository(self, repository: type[AbstractRepository], session: t.Any) -> AbstractRepository:
        """Make a repository that needs no session."""
        return repository()

    def parts(self) -> collections.abc.Sequence[Part]:
        """Return a part for each session that is needed; the one that commits first is last."""
        repositories: dict[tuple[type[BaseWorker] | None, Binding | None], _Repositories] = {}
        for name, (repository, hints) in self._declarations.resolve().items():
            hinted = next((hint for hint in hints if isinstance(hint, Database | Remote)), None)
            key = repository.worker_class(), self._bindings.get(name, hinted)
            repositories.setdefault(key, {})[name] = repository
        parts: list[Part] = []
        for (kind, binding), found in repositories.items():
            backend = Backend() if kind is None else kind.backend_for(found, binding, self._app)
            parts.append((backend, found, self.make_repository if kind is None else backend.make_repository))
        return sorted(parts, key=lambda part: part[0].precedence)
