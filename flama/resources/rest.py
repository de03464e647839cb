"""REST resources: declarations that are checked when their class is defined."""

import collections.abc
import dataclasses
import importlib
import typing as t

from flama import exceptions, types
from flama._annotations import unwrap
from flama.ddd.components import WorkerComponent
from flama.ddd.repositories.base import AbstractRepository
from flama.ddd.workers._scopes import can_be_scoped
from flama.ddd.workers.base import AbstractWorker, BaseWorker
from flama.injection.component import signature
from flama.query import OPERATORS, parse_order
from flama.resources._spec import ResourceSpec, compile_schemas
from flama.resources.resource import Resource
from flama.rest import paging
from flama.rest.filters import NULLABLE, AllowedFilters
from flama.routing import Route

__all__ = ["RESTResource", "workers_of"]

_Names: t.TypeAlias = collections.abc.Sequence[str]


class RESTResource(Resource):
    """A collection of records that is served as a REST resource.

    ``model``
        the SQLAlchemy table of the records; or instead of it
    ``repository``
        the class of their repository: of a table, of a remote service, in memory, or one of your own
    ``worker``
        the class of the worker that has the repository; by default the application's own worker with it, or a new one
        on the application's database
    ``schema``
        the model of records in requests and responses; or ``input_schema`` and ``output_schema``. Without any, schemas
        are derived from the table, or are the record class of the repository
    ``filters``
        the fields that records can be filtered by: a list of names, or a mapping of names to allowed operators; by
        default all fields of the response, with all operators of their types
    ``ordering``
        the fields that records can be ordered by; by default all fields of the response that can be compared.
        ``order_by`` is the order of requests without one
    ``max_page_size``
        the largest size of a page
    ``max_records``
        the largest number of records in a request's body; by default the application's
    ``key``
        the field that identifies a record, where there is no table; by default ``id``
    ``stream_snapshot``
        whether a stream is read in one transaction, as of its beginning. It then holds a connection until the client
        has read everything. By default it is read in batches, each as of the moment when it is read
    ``preconditions``
        whether changes of records require ``If-Match``: a record's ETag to change one, ``*`` to change many
    ``idempotency``
        whether responses are stored by their ``Idempotency-Key``, in the table of :mod:`flama.resources._idempotency`

    ``scope``
        a function with injected parameters that returns a condition, made with ``F``. Requests only read and write
        records that match it. A request is refused with 403 if it returns None
    ``idempotency_headers``
        the names of headers that identify callers, in addition to those of credentials. A stored response is only
        replayed to the same caller. If the application has a principal, it alone identifies the caller
    ``simple_requests``
        whether ``:drop`` is allowed without a header that the forms of other sites can't send

    ``spec`` is what these attributes mean together. A base class of other resources that lacks them is declared with
    ``abstract=True`` after its bases, and has none.

    :raises ResourceError: an attribute is missing or invalid.
    """

    model: t.ClassVar[t.Any] = None
    repository: t.ClassVar[type[AbstractRepository] | None] = None
    worker: t.ClassVar[type[AbstractWorker] | None] = None
    schema: t.ClassVar[t.Any] = None
    input_schema: t.ClassVar[t.Any] = None
    output_schema: t.ClassVar[t.Any] = None
    filters: t.ClassVar[_Names | collections.abc.Mapping[str, _Names] | None] = None
    ordering: t.ClassVar[_Names | None] = None
    order_by: t.ClassVar[t.Any] = None
    max_page_size: t.ClassVar[int] = paging.MAX_PAGE_SIZE
    max_records: t.ClassVar[int | None] = None
    key: t.ClassVar[str] = "id"
    stream_snapshot: t.ClassVar[bool] = False
    preconditions: t.ClassVar[bool] = False
    idempotency: t.ClassVar[bool] = False
    idempotency_headers: t.ClassVar[collections.abc.Collection[str]] = ()
    scope: t.ClassVar[t.Any] = None
    simple_requests: t.ClassVar[bool] = False

    spec: t.ClassVar[ResourceSpec]

    def __init_subclass__(cls, *, abstract: bool = False, **kwargs: t.Any) -> None:
        super().__init_subclass__(**kwargs)
        if not abstract:
            cls.spec = _compile(cls)

    def routes(self, app: types.App) -> list[Route]:
        """Return the resource's routes for an application.

        :raises ResourceError: the resource has a scope, and a method takes a worker that the scope doesn't apply to.
        """
        routes = super().routes(app)
        for route in routes:
            self._check_worker_parameters(route.handler)
        return routes

    def _check_worker_parameters(self, handler: types.Handler) -> None:
        kinds = [parameter.annotation for parameter in signature(handler)[0]] if self.spec.scope else []
        if workers := [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, AbstractWorker)]:
            worker, name = workers[0].__name__, getattr(handler, "__name__", str(handler))
            raise exceptions.ResourceError(
                f"{type(self).__name__}.{name} takes {worker}, which the scope of the resource doesn't apply to: "
                f"declare a scope for the worker, WorkerComponent({worker}(), scope=…)"
            )

    def shared_repository(self, app: types.App) -> type[AbstractRepository] | None:
        """Return the repository class if it is on the application's database, and none of its workers has it."""
        backend = self.spec.backend
        if backend is None or not backend.is_shared or self.worker is not None or self.spec.scope is not None:
            return None
        if any(self._workers_with_repository(workers_of(app))):
            return None
        return self.spec.repository

    @classmethod
    def worker_for(cls, workers: collections.abc.Iterable[AbstractWorker]) -> tuple[type[AbstractWorker], str, bool]:
        """Return the worker class that has the repository, the repository's name there, and whether the class is new.

        :raises ResourceAttributeNotFound: no worker has the repository, and none can be derived.
        """
        for worker, name in cls._workers_with_repository(workers):
            return worker, name, False
        backend = cls.spec.backend
        if cls.worker is not None or (backend is not None and not backend.derivable):
            raise exceptions.ResourceAttributeNotFound(
                f"{cls.__name__}: no worker has the repository {cls.spec.repository.__name__}: annotate one with it, "
                "and add its WorkerComponent(…) to the application"
            )
        base = backend or importlib.import_module("flama.ddd.workers.composite").Worker
        namespace = {"__annotations__": {"records": cls.spec.repository}, "__module__": cls.__module__}
        return type(f"{cls.__name__}Worker", (base,), namespace), "records", True

    @classmethod
    def _workers_with_repository(
        cls, workers: collections.abc.Iterable[AbstractWorker]
    ) -> collections.abc.Iterator[tuple[type[AbstractWorker], str]]:
        """Yield the worker classes that declare the repository, and its name in each."""
        known: list[t.Any] = [cls.worker] if cls.worker is not None else [type(worker) for worker in workers]
        for worker in known:
            declared = worker.declared_repositories() if issubclass(worker, BaseWorker) else {}
            for name, repository in declared.items():
                if repository is cls.spec.repository:
                    yield worker, name


def workers_of(app: t.Any) -> list[AbstractWorker]:
    """Return the workers of an application."""
    return [each.worker for each in app.components if isinstance(each, WorkerComponent)]


def _compile(cls: type[RESTResource]) -> ResourceSpec:
    """Return the specification of a resource.

    :raises ResourceError: the declaration is invalid.
    """
    spec = _compile_source(cls)
    _check_options(cls, spec)
    orderable = [name for name, field in spec.filters.items() if field is not NULLABLE]
    filters = _select_filters(cls.__name__, spec.filters, cls.filters)
    ordering, order_by = tuple(orderable if cls.ordering is None else cls.ordering), parse_order(cls.order_by)
    if unknown := [name for name in (*ordering, *(each.field for each in order_by)) if name not in orderable]:
        raise _field_error(cls.__name__, "is ordered by", unknown, orderable)
    return dataclasses.replace(
        spec,
        conflict_fields=tuple(dict.fromkeys((*filters, spec.key))),
        filters=filters,
        ordering=ordering,
        order_by=order_by,
        max_page_size=cls.max_page_size,
        max_records=cls.max_records,
        preconditions=cls.preconditions,
        idempotency=cls.idempotency,
        idempotency_headers=frozenset(map(str.lower, cls.idempotency_headers)),
        scope=cls.scope,
        simple_requests=cls.simple_requests,
    )


def _compile_source(cls: type[RESTResource]) -> ResourceSpec:
    table = cls.model if cls.model is not None else getattr(cls.repository, "_table", None)
    if table is None and cls.repository is None:
        raise exceptions.ResourceAttributeNotFound(f"{cls.__name__} has neither a 'model' nor a 'repository'")
    models = unwrap(cls.input_schema or cls.schema), unwrap(cls.output_schema or cls.schema)
    if table is None:
        return compile_schemas(cls, cls.repository, cls.key, *models)
    tables = importlib.import_module("flama.resources._table_spec")  # SQLAlchemy is optional
    return t.cast(
        ResourceSpec, tables.compile_table(cls, table, cls.repository, *models, stream_snapshot=cls.stream_snapshot)
    )


def _check_options(cls: type[RESTResource], spec: ResourceSpec) -> None:
    if cls.max_records is not None and cls.max_records < 1:
        raise exceptions.ResourceAttributeNotFound(
            f"{cls.__name__} has max_records = {cls.max_records!r}: it must be at least 1, or None for the "
            "application's limit"
        )
    if cls.idempotency and spec.table is None and not hasattr(spec.repository, "_key"):
        raise exceptions.ResourceAttributeNotFound(
            f"{cls.__name__} has idempotency, which needs a repository of a table"
        )
    if cls.scope is None:
        return
    if not callable(cls.scope):
        raise exceptions.ResourceAttributeNotFound(
            f"{cls.__name__}.scope is {cls.scope!r}: it must be a function that returns a condition made with F"
        )
    if not can_be_scoped(spec.repository):
        raise exceptions.ResourceAttributeNotFound(
            f"{cls.__name__} has a scope, which needs a repository of a table, unlike {spec.repository.__name__}"
        )


def _select_filters(owner: str, fields: AllowedFilters, declared: t.Any) -> AllowedFilters:
    """Return the fields that requests may filter by.

    :raises ResourceFilterInvalid: there is no such field or operator.
    """
    if declared is None:
        return fields
    is_mapping = isinstance(declared, collections.abc.Mapping)
    names: dict[str, t.Any] = dict(declared) if is_mapping else dict.fromkeys(declared)
    if unknown := [name for name in names if name not in fields]:
        raise _field_error(owner, "is filtered by", unknown, fields)
    for name, operators in names.items():
        if wrong := [each for each in operators or () if each not in fields[name].operators]:
            has = ", ".join(each for each in OPERATORS if each in fields[name].operators)
            raise exceptions.ResourceFilterInvalid(f"{owner} is filtered by {name} with {wrong}: it has {has}")
    return {
        name: fields[name] if operators is None else fields[name]._replace(operators=frozenset(operators))
        for name, operators in names.items()
    }


def _field_error(
    owner: str, what: str, names: list[str], fields: collections.abc.Iterable[str]
) -> exceptions.ResourceFilterInvalid:
    return exceptions.ResourceFilterInvalid(f"{owner} {what} {names}: there are {', '.join(fields)}")
