"""REST resources: declarations that are checked when their class is defined."""

import collections.abc
import importlib
import inspect
import typing as t

from flama import exceptions, schemas, types
from flama._annotations import unwrap
from flama.ddd.components import WorkerComponent
from flama.ddd.repositories.base import AbstractRepository
from flama.ddd.workers._scopes import can_be_scoped
from flama.ddd.workers.base import AbstractWorker, BaseWorker
from flama.injection.component import signature
from flama.query import OPERATORS, Order, orders
from flama.resources._adapters import (
    GenericAdapter,
    RecordStore,
    TableAdapter,
    supports_keyset,
    supports_locks,
    supports_slicing,
)
from flama.resources._keys import IDS, PrimaryKey
from flama.resources._schemas import RequestSchema, ResponseSchema, TableRequestSchema
from flama.resources.resource import Resource
from flama.rest import paging, value_codecs
from flama.rest.filters import NULLABLE, Allowed, filterable
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

    A base class of other resources that lacks these attributes is declared with ``abstract=True`` after its bases.

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
    max_page_size: t.ClassVar[int] = paging.MOST
    max_records: t.ClassVar[int | None] = None
    key: t.ClassVar[str] = "id"
    stream_snapshot: t.ClassVar[bool] = False
    preconditions: t.ClassVar[bool] = False
    idempotency: t.ClassVar[bool] = False
    idempotency_headers: t.ClassVar[collections.abc.Collection[str]] = ()
    scope: t.ClassVar[t.Any] = None
    simple_requests: t.ClassVar[bool] = False

    _table: t.ClassVar[t.Any] = None
    _repository: t.ClassVar[t.Any]
    _called: t.ClassVar[str]  # the name of its records in errors: the repository's, so that all errors have one name
    _id: t.ClassVar[PrimaryKey]
    _input: t.ClassVar[RequestSchema]
    _output: t.ClassVar[ResponseSchema]
    _filters: t.ClassVar[Allowed]
    _ordering: t.ClassVar[tuple[str, ...]]
    _order: t.ClassVar[tuple[Order, ...]]
    _floats: t.ClassVar[tuple[str, ...]] = ()  # float columns of a derived schema: NaN and infinities are text
    _keysets: t.ClassVar[collections.abc.Container[tuple[str, ...]]] = ()  # orders in which streams are read in batches
    _sliceable: t.ClassVar[bool] = True
    _locks: t.ClassVar[bool] = False
    _kinds: t.ClassVar[collections.abc.Mapping[str, t.Any]] = {}  # types of keyset fields, where there is no table
    _unique: t.ClassVar[tuple[frozenset[str], ...] | None] = None  # unique sets of fields; None: unknown
    _generated: t.ClassVar[frozenset[str]] = frozenset()  # set by the database only
    _settable: t.ClassVar[tuple[str, ...]]  # what an update can change

    def __init_subclass__(cls, *, abstract: bool = False, **kwargs: t.Any) -> None:
        super().__init_subclass__(**kwargs)
        if not abstract:
            cls._declare()

    @classmethod
    def _declare(cls) -> None:
        cls._table = cls.model if cls.model is not None else getattr(cls.repository, "_table", None)
        if cls._table is None and cls.repository is None:
            raise exceptions.ResourceAttributeNotFound(f"{cls.__name__} has neither a 'model' nor a 'repository'")
        _declare_from_table(cls) if cls._table is not None else _declare_from_schemas(cls)
        if cls.max_records is not None and cls.max_records < 1:
            raise exceptions.ResourceAttributeNotFound(
                f"{cls.__name__} has max_records = {cls.max_records!r}: a number from 1 would do, or None for the "
                "application's"
            )
        if cls.idempotency and not cls._is_table():
            raise exceptions.ResourceAttributeNotFound(
                f"{cls.__name__} keeps answers by their key, for which its repository has to be one of a table"
            )
        cls._check_scope()
        fields = cls._filters
        cls._settable = tuple(name for name in _annotations(cls._input.schema) if name not in cls._generated)
        cls._filters = _allowed_filters(cls.__name__, fields, cls.filters)
        orderable = [name for name, field in fields.items() if field is not NULLABLE]
        cls._ordering = tuple(orderable if cls.ordering is None else cls.ordering)
        cls._order = orders(cls.order_by)
        if unknown := [
            name for name in (*cls._ordering, *(each.field for each in cls._order)) if name not in orderable
        ]:
            raise _unknown_fields_error(cls.__name__, "is ordered by", unknown, orderable)

    @classmethod
    def _check_scope(cls) -> None:
        if cls.scope is None:
            return
        if not callable(cls.scope):
            raise exceptions.ResourceAttributeNotFound(
                f"{cls.__name__}.scope is {cls.scope!r}: it is a function that returns a condition made by F"
            )
        if not can_be_scoped(cls._repository):
            raise exceptions.ResourceAttributeNotFound(
                f"{cls.__name__} has a scope, and there are none of the records of {cls._repository.__name__}: "
                "it is no repository of a table"
            )

    def routes(self, app: types.App) -> list[Route]:
        """Return the resource's routes for an application.

        :raises ResourceError: the resource has a scope, and a method takes a worker that the scope doesn't apply to.
        """
        routes = super().routes(app)
        for route in routes:
            self._check_worker_parameters(route.handler)
        return routes

    def _check_worker_parameters(self, handler: types.Handler) -> None:
        kinds = [parameter.annotation for parameter in signature(handler)[0]] if type(self).scope else []
        if workers := [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, AbstractWorker)]:
            worker, name = workers[0].__name__, getattr(handler, "__name__", str(handler))
            raise exceptions.ResourceError(
                f"{type(self).__name__}.{name} asks for {worker}, whose records the scope of the resource isn't of: "
                f"declare the scope there, WorkerComponent({worker}(), scope=…)"
            )

    @classmethod
    def records(cls, repository: t.Any) -> RecordStore:
        """Return an adapter of the repository to the verbs of a resource."""
        if cls._is_table():
            return TableAdapter(repository, cls._id.name, cls._kinds, cls._generated)
        return GenericAdapter(repository, cls._id.name, cls._called, cls._sliceable, cls._kinds, cls._locks)

    @classmethod
    def supports(cls, operation: str) -> bool:
        """Whether the repository supports an operation; a table's repository supports all."""
        if cls._is_table():
            return True
        needs_conditions = operation in ("update_where", "drop_where")
        return hasattr(cls._repository, _METHODS.get(operation, operation)) and (cls._sliceable or not needs_conditions)

    @classmethod
    def _is_table(cls) -> bool:
        return cls._table is not None or hasattr(cls._repository, "_key")

    def shared_repository(self, app: types.App) -> type[AbstractRepository] | None:
        """Return the repository class if it is on the application's database, and none of its workers has it."""
        is_of_sql = getattr(self._repository._backend, "__name__", "") == "SQLAlchemyWorker"
        if not is_of_sql or self.worker is not None or self.scope is not None:
            return None
        if any(self._workers_with_repository(workers_of(app))):
            return None
        return t.cast("type[AbstractRepository]", self._repository)

    @classmethod
    def worker_for(cls, workers: collections.abc.Iterable[AbstractWorker]) -> tuple[type[AbstractWorker], str, bool]:
        """Return the worker class that has the repository, the repository's name there, and whether the class is new.

        :raises ResourceAttributeNotFound: no worker has the repository, and none can be derived.
        """
        for worker, name in cls._workers_with_repository(workers):
            return worker, name, False
        backend = cls._repository._backend
        if cls.worker is not None or getattr(backend, "__name__", "") == "HTTPWorker":
            raise exceptions.ResourceAttributeNotFound(
                f"{cls.__name__}: no worker has the repository {cls._repository.__name__}: annotate one with it, and "
                "give the application WorkerComponent(…)"
            )
        base = backend or importlib.import_module("flama.ddd.workers.composite").Worker
        namespace = {"__annotations__": {"records": cls._repository}, "__module__": cls.__module__}
        return type(f"{cls.__name__}Worker", (base,), namespace), "records", True

    @classmethod
    def _workers_with_repository(
        cls, workers: collections.abc.Iterable[AbstractWorker]
    ) -> collections.abc.Iterator[tuple[type[AbstractWorker], str]]:
        """Yield the worker classes that declare the repository, and its name in each."""
        known: list[t.Any] = [cls.worker] if cls.worker is not None else [type(worker) for worker in workers]
        for worker in known:
            declared = worker._declarations.resolved() if issubclass(worker, BaseWorker) else {}
            for name, declaration in declared.items():
                if declaration.repository is cls._repository:
                    yield worker, name


def workers_of(app: t.Any) -> list[AbstractWorker]:
    """Return the workers of an application."""
    return [each.worker for each in app.components if isinstance(each, WorkerComponent)]


def _declare_from_table(cls: t.Any) -> None:
    """Set the attributes of a resource that are derived from its table."""
    tables = importlib.import_module("flama.resources._table_schemas")
    cls._id, cls._called = tables.key(cls.__name__, cls._table), cls._table.name
    cls._repository = cls.repository or _table_repository(cls)
    request_schema, response_schema = _schemas(cls)
    if response_schema is None:
        response_schema = tables.output_schema(cls.__name__, cls._table)
        is_finite = tables.is_finite(cls._table)
        cls._output = ResponseSchema(response_schema, tables.encoders(cls._table), is_finite=is_finite)
        cls._floats = tables.float_columns(cls._table)
    else:
        cls._output = ResponseSchema(response_schema)
    cls._generated = tables.generated_columns(cls._table)
    cls._input = (
        _table_input(cls, tables)
        if request_schema is None
        else RequestSchema(request_schema, cls._called, _names(cls), tables.check_offsets(cls._table))
    )
    cls._filters, cls._kinds = tables.filterable_fields(cls._table, _response_annotations(response_schema)), {}
    cls._unique = tables.unique_columns(cls._table)
    cls._keysets = tables.keysets(cls._table) if _streams_in_batches(cls) else ()


def _streams_in_batches(cls: t.Any) -> bool:
    """Whether a stream may be read in batches: records must have their key, and lists must accept a start."""
    record = getattr(cls._repository, "_record", dict)
    has_key = not schemas.is_model(record) or cls._id.name in _annotations(record)
    return not cls.stream_snapshot and has_key and not inspect.isasyncgenfunction(cls._repository.list)


def _table_input(cls: t.Any, tables: t.Any) -> TableRequestSchema:
    managed = {getattr(cls._repository, name, None) for name in _MANAGED_COLUMNS} - {None} | cls._generated
    described = tables.input_schema(f"{cls.__name__}Input", cls._table, managed)
    # a generated key is accepted: it identifies an existing record
    taken = tables.input_schema(f"{cls.__name__}Input", cls._table, managed - {cls._id.name}, nulls=True)
    return TableRequestSchema(
        described,
        taken,
        cls._called,
        _names(cls),
        key=cls._id.name,
        resets=tables.reset_values(cls._table, managed),
        required=tables.required_fields(cls._table, managed),
    )


def _names(cls: t.Any) -> tuple[str, ...]:
    """Return the field names of a resource's records in responses."""
    return (*cls._output.names, cls._id.name)


_METHODS: t.Final = {
    "partial_update": "update",
    "create_many": "create",
    "update_where": "update",
    "drop_where": "drop",
}
"""The repository's method of each operation with another name."""

_MANAGED_COLUMNS: t.Final = ("_version", "_created_at", "_updated_at", "_deleted_at")
"""The attributes that name the columns a repository sets by itself."""


def _declare_from_schemas(cls: t.Any) -> None:
    """Set the attributes of a resource that are derived from its schemas."""
    record = getattr(cls.repository, "_record", dict)
    typed = record if schemas.is_model(record) else None
    request_schema, response_schema = (each or typed for each in _schemas(cls))
    if request_schema is None or response_schema is None:
        raise exceptions.ResourceSchemaNotFound(
            f"{cls.__name__} has no 'schema', nor 'input_schema' with 'output_schema', and no table to make them from"
        )
    cls._repository, cls._output = cls.repository, ResponseSchema(response_schema)
    cls._called = getattr(cls.repository, "_resource_name", cls.name)
    cls._sliceable = supports_slicing(cls.repository) if hasattr(cls.repository, "list") else False
    kinds = {name: schemas.without_none(kind) for name, kind in _response_annotations(response_schema).items()}
    cls._filters = {name: filterable(kind) for name, kind in kinds.items() if value_codecs.has_text(kind)}
    has_keyset = cls._sliceable and supports_keyset(cls.repository)
    cls._kinds = {name: kinds[name] for name in cls._filters} if has_keyset else {}
    cls._locks = supports_locks(cls.repository)
    name = getattr(cls.repository, "_key", cls.key)
    cls._unique = (frozenset([name]),) if hasattr(cls.repository, "_key") else None
    cls._id = PrimaryKey(name, kinds[name] if kinds.get(name) in IDS else str)
    cls._input = RequestSchema(request_schema, cls._called, _names(cls))


def _schemas(cls: t.Any) -> tuple[t.Any, t.Any]:
    return unwrap(cls.input_schema or cls.schema), unwrap(cls.output_schema or cls.schema)


def _response_annotations(schema: t.Any) -> dict[str, t.Any]:
    """Return the annotations of the fields in responses."""
    return {name: kind for name, kind in _annotations(schema).items() if schemas.answers(schema, name)}


def _annotations(schema: t.Any) -> dict[str, t.Any]:
    return {name: unwrap(annotation) for name, annotation in t.get_type_hints(schema).items()}


def _table_repository(cls: t.Any) -> t.Any:
    base = importlib.import_module("flama.ddd.repositories.sqlalchemy").SQLAlchemyTableRepository
    return type(f"{cls.__name__}Repository", (base,), {"_table": cls._table, "__module__": cls.__module__})


def _allowed_filters(owner: str, fields: Allowed, declared: t.Any) -> Allowed:
    """Return the fields that requests may filter by.

    :raises ResourceFilterInvalid: there is no such field or operator.
    """
    if declared is None:
        return fields
    is_mapping = isinstance(declared, collections.abc.Mapping)
    names: dict[str, t.Any] = dict(declared) if is_mapping else dict.fromkeys(declared)
    if unknown := [name for name in names if name not in fields]:
        raise _unknown_fields_error(owner, "is filtered by", unknown, fields)
    for name, operators in names.items():
        if wrong := [each for each in operators or () if each not in fields[name].operators]:
            has = ", ".join(each for each in OPERATORS if each in fields[name].operators)
            raise exceptions.ResourceFilterInvalid(f"{owner} is filtered by {name} with {wrong}: it has {has}")
    return {
        name: fields[name] if operators is None else fields[name]._replace(operators=frozenset(operators))
        for name, operators in names.items()
    }


def _unknown_fields_error(
    owner: str, what: str, names: list[str], fields: collections.abc.Iterable[str]
) -> exceptions.ResourceFilterInvalid:
    return exceptions.ResourceFilterInvalid(f"{owner} {what} {names}: there are {', '.join(fields)}")
