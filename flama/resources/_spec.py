"""The specification of a resource: what its declaration means to the modules that serve it."""

import collections.abc
import dataclasses
import datetime
import functools
import inspect
import typing as t
import uuid

from flama import exceptions, schemas, types
from flama.ddd.repositories.base import AbstractRepository
from flama.query import Order
from flama.resources._adapters import RecordStore, TableRecordStore
from flama.resources._schemas import RequestSchema, ResponseSchema, annotations
from flama.resources.resource import Resource
from flama.rest import paging, value_codecs
from flama.rest.filters import AllowedFilters, field_filter
from flama.rest.operations import OPERATIONS

__all__ = ["KEY_TYPES", "ResourceSpec", "compile_schemas"]

KEY_TYPES: t.Final = (int, str, uuid.UUID, datetime.date, datetime.datetime)
"""The types of keys that can be a segment of a path."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ResourceSpec:
    """A resource's declaration with all that follows from it, computed when its class is defined: ``Puppy.spec``.

    - ``name``: the resource's name, the prefix of its routes' names
    - ``title``: the name of its class
    - ``error_name``: its name in errors, which is the repository's, so that all errors have the same
    - ``table``: the SQLAlchemy table of the records; None if they have none
    - ``repository``: the class of their repository, which is derived from the table if none is declared
    - ``backend``: the class of workers that opens the repository's session; None if it needs none
    - ``operations``: the names of the operations that the repository supports
    - ``records``: the function that adapts a repository to the verbs that the operations need
    - ``key``, ``key_type``: the field that identifies a record, and the type of its values in paths
    - ``version``: the field with the number of a record's version; None if versions aren't counted
    - ``input``, ``output``: the schemas of records in requests and in responses
    - ``updatable``: the fields that an update can change
    - ``unique``: the sets of fields in which no two records are equal; None if they are unknown
    - ``conflict_fields``: the fields that a request can name to identify an existing record
    - ``floats``: the fields of derived schemas whose NaN and infinities are text in responses
    - ``filters``: the fields that requests can filter by, with the operators of each
    - ``ordering``, ``order_by``: the fields that requests can order by, and the order of requests without one
    - ``batch_orders``: the orders in which streams are read in batches, by their fields, without the key

    The others are the declaration's attributes of the same names. ``idempotency_headers`` are in lower case.
    """

    name: str
    title: str
    error_name: str
    table: t.Any = None
    repository: type[AbstractRepository]
    backend: t.Any
    operations: frozenset[str]
    records: collections.abc.Callable[[t.Any], RecordStore]
    key: str
    key_type: t.Any
    version: str | None
    input: RequestSchema
    output: ResponseSchema
    updatable: tuple[str, ...]
    unique: tuple[frozenset[str], ...] | None
    conflict_fields: tuple[str, ...] = ()
    floats: tuple[str, ...] = ()
    filters: AllowedFilters
    ordering: tuple[str, ...] = ()
    order_by: tuple[Order, ...] = ()
    batch_orders: collections.abc.Container[tuple[str, ...]] = ()
    max_page_size: int = paging.MAX_PAGE_SIZE
    max_records: int | None = None
    preconditions: bool = False
    idempotency: bool = False
    idempotency_headers: frozenset[str] = frozenset()
    scope: types.Handler | None = None
    simple_requests: bool = False


_METHODS: t.Final = {
    "partial_update": "update",
    "create_many": "create",
    "update_where": "update",
    "drop_where": "drop",
}
"""The repository's method of each operation with another name."""


def compile_schemas(
    owner: type[Resource], repository: t.Any, key: str, request_schema: t.Any, response_schema: t.Any
) -> ResourceSpec:
    """Return the specification of a resource without a table: of these schemas, or of its repository's records.

    :raises ResourceSchemaNotFound: there are no schemas.
    """
    record = getattr(repository, "_record", dict)
    typed = record if schemas.is_model(record) else None
    request_schema, response_schema = request_schema or typed, response_schema or typed
    if request_schema is None or response_schema is None:
        raise exceptions.ResourceSchemaNotFound(
            f"{owner.__name__} has no 'schema', nor 'input_schema' with 'output_schema', and no table to make them from"
        )
    output, error_name = ResponseSchema(response_schema), getattr(repository, "_resource_name", owner.name)
    is_table = hasattr(repository, "_key")
    is_sliceable = _accepts(repository, "list", "limit")
    kinds = {name: schemas.unwrap_optional(kind) for name, kind in output.annotations.items()}
    fields = {name: kind for name, kind in kinds.items() if value_codecs.is_encodable(kind)}
    has_keyset = _accepts(repository, "list", "after", "before", "limit", "order_by", exactly=True)
    field_types = fields if has_keyset else {}
    key = getattr(repository, "_key", key)
    input = RequestSchema(request_schema, error_name, (*output.names, key))
    adapter = (
        functools.partial(TableRecordStore, key=key, name=error_name, field_types=field_types)
        if is_table
        else functools.partial(
            RecordStore,
            key=key,
            name=error_name,
            field_types=field_types,
            sliceable=is_sliceable,
            locks=_has_locks(repository),
        )
    )
    return ResourceSpec(
        name=owner.name,
        title=owner.__name__,
        error_name=error_name,
        repository=repository,
        backend=getattr(repository, "_backend", None),
        operations=frozenset(OPERATIONS) if is_table else _find_operations(repository, sliceable=is_sliceable),
        records=adapter,
        key=key,
        key_type=kinds[key] if kinds.get(key) in KEY_TYPES else str,
        version=getattr(repository, "_version", None),
        input=input,
        output=output,
        updatable=tuple(annotations(input.schema)),
        unique=(frozenset([key]),) if is_table else None,
        filters={name: field_filter(kind) for name, kind in fields.items()},
    )


def _find_operations(repository: t.Any, *, sliceable: bool) -> frozenset[str]:
    found = {name for name in OPERATIONS if _has_method(repository, _METHODS.get(name, name))}
    return frozenset(found if sliceable else found - {"update_where", "drop_where"})


def _has_method(repository: t.Any, name: str) -> bool:
    supports = getattr(repository, "supports", None)  # only a CRUDRepository has methods that it may not support
    return hasattr(repository, name) if supports is None else bool(hasattr(repository, name) and supports(name))


def _has_locks(repository: t.Any) -> bool:
    known = getattr(repository, "supports_locks", None)
    return _accepts(repository, "retrieve", "lock", exactly=True) if known is None else bool(known)


def _accepts(repository: t.Any, method: str, *names: str, exactly: bool = False) -> bool:
    """Whether a class has a method with these parameters or, unless ``exactly``, with any by ``**``."""
    if not hasattr(repository, method):
        return False
    parameters = inspect.signature(getattr(repository, method)).parameters
    has_any = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())
    return parameters.keys() >= set(names) or (has_any and not exactly)
