"""REST resources: what a class says of the records that it serves, checked when it is defined."""

import collections.abc
import importlib
import inspect
import typing as t

from flama import exceptions, schemas, types
from flama._annotations import unwrap
from flama.ddd.components import WorkerComponent
from flama.ddd.repositories.base import AbstractRepository
from flama.ddd.workers.base import AbstractWorker, BaseWorker
from flama.ddd.workers.scopes import can_be_scoped
from flama.injection.component import signature
from flama.query import OPERATORS, Order, orders
from flama.resources.keys import IDS, Key
from flama.resources.records import PortableRecords, Records, TableRecords, has_locks, has_places, is_sliceable
from flama.resources.resource import Resource
from flama.resources.schemas import Input, Output, TableInput
from flama.rest import pages, values
from flama.rest.filters import NULLABLE, Allowed, filterable
from flama.routing import Route

__all__ = ["RESTResource", "workers_of"]

_Names: t.TypeAlias = collections.abc.Sequence[str]


class RESTResource(Resource):
    """A collection of records that is served as a REST resource.

    ``model``
        the SQLAlchemy table that has them; or instead of it
    ``repository``
        the class of the repository that gives them: of a table, of a remote service, in memory, or one of your own
    ``worker``
        the class of the worker in whose units it is; by default that which the application has for the repository, or
        one on the application's database
    ``schema``
        the model of records, as they are sent and answered; or ``input_schema``, ``output_schema``; without any, of a
        table, models are made that say what its columns do, and elsewhere it's what the repository's records are
    ``filters``
        the fields that records can be asked for by: their names, or their names with the operators that are granted;
        by default all that are answered, with all operators that mean something there
    ``ordering``
        the fields that they can be ordered by, by default the same; ``order_by`` is their order when none is asked for
    ``max_page_size``
        how many records a page has at most
    ``max_records``
        how many records a body may bring at most; by default as many as the application takes
    ``key``
        the field that tells records apart, where no table says so; by default ``id``
    ``stream_snapshot``
        whether a stream is read in one transaction, with the records as they are when it begins, which has a connection
        for as long as the client takes; by default it is read in batches, each as the records are by then
    ``preconditions``
        whether a change of a record has to say by ``If-Match`` of which state of it, and a change of many by
        ``If-Match: *`` that it is one of whatever states
    ``idempotency``
        whether answers are kept by their ``Idempotency-Key``, in the table of :mod:`flama.resources.idempotency`

    ``scope``
        a function that returns the condition, made by ``F``, which holds on every record that a request reads or writes
        here, whatever it asks for; its parameters are injected as a handler's are. A request for which it returns None
        is refused with 403
    ``idempotency_headers``
        the names of headers that tell callers apart, beside those that bring credentials, so that none is answered with
        what another did by the same ``Idempotency-Key``; where the application has a principal, that alone tells it
    ``simple_requests``
        whether ``:drop`` is served without a header that the forms of other sites can't send

    A base for other resources that has nothing of this itself is declared with ``abstract=True`` behind its bases.

    :raises ResourceError: the class lacks something, or says what can't be.
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
    max_page_size: t.ClassVar[int] = pages.MOST
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
    _called: t.ClassVar[str]  # what errors call its records: as the repository does, so that all are of one name
    _id: t.ClassVar[Key]
    _input: t.ClassVar[Input]
    _output: t.ClassVar[Output]
    _filters: t.ClassVar[Allowed]
    _ordering: t.ClassVar[tuple[str, ...]]
    _order: t.ClassVar[tuple[Order, ...]]
    _floats: t.ClassVar[tuple[str, ...]] = ()  # columns whose numbers may be spelled in responses of a made schema
    _keysets: t.ClassVar[collections.abc.Container[tuple[str, ...]]] = ()  # orders in which streams go batch by batch
    _sliceable: t.ClassVar[bool] = True
    _locks: t.ClassVar[bool] = False
    _kinds: t.ClassVar[collections.abc.Mapping[str, t.Any]] = {}  # by which places are told, where no table does
    _unique: t.ClassVar[tuple[frozenset[str], ...] | None] = None  # what none can be alike in, where it is known
    _generated: t.ClassVar[frozenset[str]] = frozenset()  # what the database alone sets
    _settable: t.ClassVar[tuple[str, ...]]  # what changes in a record that is there

    def __init_subclass__(cls, *, abstract: bool = False, **kwargs: t.Any) -> None:
        super().__init_subclass__(**kwargs)
        if not abstract:
            cls._declare()

    @classmethod
    def _declare(cls) -> None:
        cls._table = cls.model if cls.model is not None else getattr(cls.repository, "_table", None)
        if cls._table is None and cls.repository is None:
            raise exceptions.ResourceAttributeNotFound(f"{cls.__name__} has neither a 'model' nor a 'repository'")
        _of_table(cls) if cls._table is not None else _of_schema(cls)
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
        cls._filters = _granted(cls.__name__, fields, cls.filters)
        orderable = [name for name, field in fields.items() if field is not NULLABLE]
        cls._ordering = tuple(orderable if cls.ordering is None else cls.ordering)
        cls._order = orders(cls.order_by)
        if unknown := [
            name for name in (*cls._ordering, *(each.field for each in cls._order)) if name not in orderable
        ]:
            raise _unknown(cls.__name__, "is ordered by", unknown, orderable)

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
        """Give what an application serves of it.

        :raises ResourceError: it has a scope, and a method of its own asks for a worker, whose records that isn't of.
        """
        routes = super().routes(app)
        for route in routes:
            self._check_own(route.handler)
        return routes

    def _check_own(self, handler: types.Handler) -> None:
        kinds = [parameter.annotation for parameter in signature(handler)[0]] if type(self).scope else []
        if asked := [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, AbstractWorker)]:
            worker, name = asked[0].__name__, getattr(handler, "__name__", str(handler))
            raise exceptions.ResourceError(
                f"{type(self).__name__}.{name} asks for {worker}, whose records the scope of the resource isn't of: "
                f"declare the scope there, WorkerComponent({worker}(), scope=…)"
            )

    @classmethod
    def records(cls, repository: t.Any) -> Records:
        """Give what the resource asks of its repository."""
        if cls._is_table():
            return TableRecords(repository, cls._id.name, cls._kinds, cls._generated)
        return PortableRecords(repository, cls._id.name, cls._called, cls._sliceable, cls._kinds, cls._locks)

    @classmethod
    def can(cls, operation: str) -> bool:
        """Tell whether the repository can do what an operation asks of it: one of a table can do all of them."""
        if cls._is_table():
            return True
        needs_conditions = operation in ("update_where", "drop_where")
        return hasattr(cls._repository, _METHODS.get(operation, operation)) and (cls._sliceable or not needs_conditions)

    @classmethod
    def _is_table(cls) -> bool:
        return cls._table is not None or hasattr(cls._repository, "_key")

    def shared(self, app: types.App) -> type[AbstractRepository] | None:
        """Give the repository, if it is one of the application's database which none of the workers there has."""
        is_of_sql = getattr(self._repository._backend, "__name__", "") == "SQLAlchemyWorker"
        if not is_of_sql or self.worker is not None or self.scope is not None or any(self._having(workers_of(app))):
            return None
        return t.cast("type[AbstractRepository]", self._repository)

    @classmethod
    def worker_for(cls, workers: collections.abc.Iterable[AbstractWorker]) -> tuple[type[AbstractWorker], str, bool]:
        """Give the class of workers in whose units the repository is, its name there, and whether it was made here.

        :raises ResourceAttributeNotFound: nobody says where the repository's session comes from.
        """
        for worker, name in cls._having(workers):
            return worker, name, False
        backend = cls._repository._backend
        if cls.worker is not None or getattr(backend, "__name__", "") == "HTTPWorker":
            raise exceptions.ResourceAttributeNotFound(
                f"{cls.__name__}: no worker has the repository {cls._repository.__name__}: annotate one with it, and "
                "give the application WorkerComponent(…)"
            )
        base = backend or importlib.import_module("flama.ddd.workers.mixed").Worker
        body = {"__annotations__": {"records": cls._repository}, "__module__": cls.__module__}
        return type(f"{cls.__name__}Worker", (base,), body), "records", True

    @classmethod
    def _having(
        cls, workers: collections.abc.Iterable[AbstractWorker]
    ) -> collections.abc.Iterator[tuple[type[AbstractWorker], str]]:
        """Give the classes of workers that declare the repository, and by which name."""
        known: list[t.Any] = [cls.worker] if cls.worker is not None else [type(worker) for worker in workers]
        for worker in known:
            declared = worker._declarations.resolved() if issubclass(worker, BaseWorker) else {}
            for name, declaration in declared.items():
                if declaration.repository is cls._repository:
                    yield worker, name


def workers_of(app: t.Any) -> list[AbstractWorker]:
    """Give the workers that an application has."""
    return [each.worker for each in app.components if isinstance(each, WorkerComponent)]


def _of_table(cls: t.Any) -> None:
    """Set what a table tells of its resource."""
    tables = importlib.import_module("flama.resources.tables")
    cls._id, cls._called = tables.key(cls.__name__, cls._table), cls._table.name
    cls._repository = cls.repository or _table_repository(cls)
    given, answered = _schemas(cls)
    if answered is None:
        answered = tables.output_schema(cls.__name__, cls._table)
        cls._output = Output(answered, tables.encoders(cls._table), is_finite=tables.is_finite(cls._table))
        cls._floats = tables.floats(cls._table)
    else:
        cls._output = Output(answered)
    cls._generated = tables.generated_columns(cls._table)
    cls._input = (
        _table_input(cls, tables)
        if given is None
        else Input(given, cls._called, _names(cls), tables.check_offsets(cls._table))
    )
    cls._filters, cls._kinds = tables.fields(cls._table, _answered(answered)), {}
    cls._unique = tables.unique_columns(cls._table)
    cls._keysets = tables.keysets(cls._table) if _streams_in_batches(cls) else ()


def _streams_in_batches(cls: t.Any) -> bool:
    """Whether a stream may be read in batches: a list can be asked for what comes after a record, which has its key."""
    record = getattr(cls._repository, "_record", dict)
    has_key = not schemas.is_model(record) or cls._id.name in _annotations(record)
    return not cls.stream_snapshot and has_key and not inspect.isasyncgenfunction(cls._repository.list)


def _table_input(cls: t.Any, tables: t.Any) -> TableInput:
    kept = {getattr(cls._repository, name, None) for name in _KEPT} - {None} | cls._generated
    described = tables.input_schema(f"{cls.__name__}Input", cls._table, kept)
    # a key that the database generates tells all the same which record is meant
    taken = tables.input_schema(f"{cls.__name__}Input", cls._table, kept - {cls._id.name}, nulls=True)
    return TableInput(
        described,
        taken,
        cls._called,
        _names(cls),
        key=cls._id.name,
        resets=tables.resets(cls._table, kept),
        required=tables.required(cls._table, kept),
    )


def _names(cls: t.Any) -> tuple[str, ...]:
    """The names by which a resource answers what its records have."""
    return (*cls._output.names, cls._id.name)


_METHODS: t.Final = {
    "partial_update": "update",
    "create_many": "create",
    "update_where": "update",
    "drop_where": "drop",
}
"""The methods of repositories that do operations of another name."""

_KEPT: t.Final = ("_version", "_created_at", "_updated_at", "_deleted_at")
"""What names the fields that a repository sets by itself."""


def _of_schema(cls: t.Any) -> None:
    """Set what the schemas tell of a resource."""
    record = getattr(cls.repository, "_record", dict)
    typed = record if schemas.is_model(record) else None
    given, answered = (each or typed for each in _schemas(cls))
    if given is None or answered is None:
        raise exceptions.ResourceSchemaNotFound(
            f"{cls.__name__} has no 'schema', nor 'input_schema' with 'output_schema', and no table to make them from"
        )
    cls._repository, cls._output = cls.repository, Output(answered)
    cls._called = getattr(cls.repository, "_resource_name", cls.name)
    cls._sliceable = is_sliceable(cls.repository) if hasattr(cls.repository, "list") else False
    kinds = {name: schemas.without_none(kind) for name, kind in _answered(answered).items()}
    cls._filters = {name: filterable(kind) for name, kind in kinds.items() if values.has_text(kind)}
    cls._kinds = {name: kinds[name] for name in cls._filters} if cls._sliceable and has_places(cls.repository) else {}
    cls._locks = has_locks(cls.repository)
    name = getattr(cls.repository, "_key", cls.key)
    cls._unique = (frozenset([name]),) if hasattr(cls.repository, "_key") else None
    cls._id = Key(name, kinds[name] if kinds.get(name) in IDS else str)
    cls._input = Input(given, cls._called, _names(cls))


def _schemas(cls: t.Any) -> tuple[t.Any, t.Any]:
    return unwrap(cls.input_schema or cls.schema), unwrap(cls.output_schema or cls.schema)


def _answered(schema: t.Any) -> dict[str, t.Any]:
    """Return the annotations of the fields that records are answered with."""
    return {name: kind for name, kind in _annotations(schema).items() if schemas.answers(schema, name)}


def _annotations(schema: t.Any) -> dict[str, t.Any]:
    return {name: unwrap(annotation) for name, annotation in t.get_type_hints(schema).items()}


def _table_repository(cls: t.Any) -> t.Any:
    base = importlib.import_module("flama.ddd.repositories.sqlalchemy").SQLAlchemyTableRepository
    return type(f"{cls.__name__}Repository", (base,), {"_table": cls._table, "__module__": cls.__module__})


def _granted(owner: str, fields: Allowed, granted: t.Any) -> Allowed:
    """Give the fields that records can be asked for by, of those there are."""
    if granted is None:
        return fields
    names: dict[str, t.Any] = dict(granted) if isinstance(granted, collections.abc.Mapping) else dict.fromkeys(granted)
    if unknown := [name for name in names if name not in fields]:
        raise _unknown(owner, "is filtered by", unknown, fields)
    for name, operators in names.items():
        if wrong := [each for each in operators or () if each not in fields[name].operators]:
            has = ", ".join(each for each in OPERATORS if each in fields[name].operators)
            raise exceptions.ResourceFilterInvalid(f"{owner} is filtered by {name} with {wrong}: it has {has}")
    return {
        name: fields[name] if operators is None else fields[name]._replace(operators=frozenset(operators))
        for name, operators in names.items()
    }


def _unknown(
    owner: str, what: str, names: list[str], fields: collections.abc.Iterable[str]
) -> exceptions.ResourceFilterInvalid:
    return exceptions.ResourceFilterInvalid(f"{owner} {what} {names}: there are {', '.join(fields)}")
