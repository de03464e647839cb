"""Repositories whose records are of a type that the user defines."""

import collections.abc
import functools
import importlib
import types
import typing as t

import typing_extensions as te

from flama import exceptions
from flama._annotations import unwrap

__all__ = ["Record", "TypedRepository", "required_fields", "row_adapter"]

Record = te.TypeVar("Record", default=dict[str, t.Any])
"""The type of a repository's records, by default dictionaries."""

_Data: t.TypeAlias = collections.abc.Mapping[str, t.Any]


class TypedRepository(t.Generic[Record]):
    """A repository whose record type is named in brackets; without one, records are dictionaries.

    ``class Users(SQLAlchemyTableRepository[User])`` accepts and returns values of ``User``, and so do its subclasses.
    Wherever it accepts a ``User``, it also accepts a dictionary with any of its fields.
    """

    _record: t.ClassVar[t.Any] = dict  # the record type, or the type variable until it is bound
    _row_adapter: t.Any = None  # the row adapter; None for dictionaries
    _resource_name: str

    def __init_subclass__(cls, **kwargs: t.Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._record = cls._find_record()

    @classmethod
    def _find_record(cls) -> t.Any:
        """Return the record type in the brackets of a base class, or that of the base classes."""
        for base in vars(cls).get("__orig_bases__", ()):
            origin: t.Any = t.get_origin(base)
            if isinstance(origin, type) and issubclass(origin, TypedRepository):
                parameters = t.cast("t.Any", origin).__parameters__
                variable = parameters[0] if origin is TypedRepository else origin._record
                return unwrap(dict(zip(parameters, t.get_args(base), strict=False)).get(variable, variable))
        return cls._record

    @classmethod
    def __class_getitem__(cls, item: t.Any) -> t.Any:
        """Return the repository class for this record type, to instantiate, subclass or use in annotations."""
        alias = super().__class_getitem__(unwrap(item))  # type: ignore[misc]
        return alias if alias.__parameters__ else _class(alias)

    def _read(self, records: list[t.Any]) -> list[Record]:
        if self._row_adapter is None:
            return records
        try:
            return t.cast("list[Record]", self._row_adapter.read(records))
        except ValueError as error:
            raise exceptions.InvalidResponseError(resource=self._resource_name, detail=str(error)) from error

    def _data(self, record: t.Any, *, changes: bool = False) -> t.Any:
        if self._row_adapter is None:
            return record
        try:
            return self._row_adapter.data(record, changes=changes)
        except ValueError as error:
            raise exceptions.InvalidDataError(resource=self._resource_name, detail=str(error)) from error


@functools.lru_cache(1000)
def row_adapter(record: t.Any, encoded: frozenset[str] | None) -> t.Any:
    """Return the row adapter of a record type; None for dictionaries, which need no schema library."""
    if isinstance(record, t.TypeVar):
        return None
    return importlib.import_module("flama.schemas.row_adapters").make_row_adapter(record, encoded=encoded)


def required_fields(record: t.Any) -> frozenset[str]:
    """Return the JSON names of the fields that a record of this type requires."""
    if record is dict or isinstance(record, t.TypeVar):
        return frozenset()
    schemas = importlib.import_module("flama.schemas.adapter")
    schema, definitions = schemas.json_schema(record, output=False, reference="#/{name}")
    found = definitions.get(str(schema.get("$ref", "")).rpartition("/")[2], schema)
    return frozenset(found.get("required", ()))


@functools.lru_cache(1000)
def _class(alias: t.Any) -> t.Any:
    origin, arguments = t.get_origin(alias), ", ".join(_name(argument) for argument in t.get_args(alias))
    body = {"__module__": origin.__module__, "__doc__": origin.__doc__}
    return types.new_class(f"{origin.__name__}[{arguments}]", (alias,), exec_body=lambda space: space.update(body))


def _name(argument: t.Any) -> str:
    return getattr(argument, "__name__", None) or repr(argument)
