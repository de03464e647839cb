"""The conversion of records to typed values, independent of the type's library."""

import abc
import collections.abc
import dataclasses
import importlib
import inspect
import types
import typing as t

__all__ = ["RowAdapter", "make_row_adapter"]

_Data: t.TypeAlias = dict[str, t.Any]
_DICTIONARIES: t.Final = (dict, collections.abc.Mapping, collections.abc.MutableMapping)


class RowAdapter(abc.ABC):
    """The conversion of records to a type: a pydantic model, dataclass, msgspec Struct or TypedDict.

    ``encoded`` names the fields that are stored in their JSON form; other fields are stored unchanged, and all of them
    under their own names. With None the whole record is stored in JSON form, under its aliases. ``fields`` maps the
    names of the type's fields to their defaults.
    """

    def __init__(
        self,
        type: t.Any,
        fields: collections.abc.Mapping[str, t.Any],
        encoded: collections.abc.Collection[str] | None,
    ) -> None:
        self.type = type
        self.many: t.Any = types.GenericAlias(list, (type,))
        self.fields = fields
        self._encoded = None if encoded is None else frozenset(encoded)
        self._none_by_default = frozenset(name for name, default in fields.items() if default is None)

    @abc.abstractmethod
    def read(self, records: list[_Data]) -> list[t.Any]:
        """Return records as values of the type, without the fields that it doesn't have.

        :raises ValueError: a record doesn't match the type.
        """

    def data(self, record: t.Any, *, changes: bool = False) -> collections.abc.Mapping[str, t.Any]:
        """Return a record, a value of the type or a mapping of any of its fields, as a dictionary.

        For a new record, fields with the default None are omitted while they are None, as if not set. For ``changes``
        all fields are included, or only those that were set if the type is a pydantic model, which records that.

        :raises ValueError: the record is neither a value of the type nor a mapping.
        """
        if isinstance(record, collections.abc.Mapping):
            return self._encode_mapping(record)
        if (values := self._to_dict(record, changes)) is None:
            raise ValueError(f"a record is a {self.type.__name__} or a mapping, not {record!r}")
        return values

    @abc.abstractmethod
    def _to_dict(self, record: t.Any, changes: bool) -> _Data | None: ...

    @abc.abstractmethod
    def _encode(self, value: t.Any) -> t.Any: ...

    def _encode_mapping(self, record: collections.abc.Mapping[str, t.Any]) -> collections.abc.Mapping[str, t.Any]:
        if self._encoded is not None and self._encoded.isdisjoint(record):
            return record
        encoded = record.keys() if self._encoded is None else self._encoded
        return {name: self._encode(value) if name in encoded else value for name, value in record.items()}


def make_row_adapter(type: t.Any, *, encoded: collections.abc.Collection[str] | None) -> RowAdapter | None:
    """Return the conversion for a type of records; None for dictionaries, which need none.

    :raises TypeError: records can't be of this type.
    """
    if type in _DICTIONARIES or t.get_origin(type) in _DICTIONARIES:
        return None
    library = importlib.import_module(f"flama.schemas.row_adapters.{_library(type)}")
    return t.cast("RowAdapter", library.make_row_adapter(type, encoded))


def _library(type: t.Any) -> str:
    # before Python 3.12, the TypedDict of typing_extensions is another class than that of typing
    if hasattr(type, "__struct_fields__") or hasattr(type, "__required_keys__"):
        return "msgspec"
    if inspect.isclass(type) and (hasattr(type, "__pydantic_fields__") or dataclasses.is_dataclass(type)):
        return "pydantic"
    raise TypeError(f"{type!r} is no type of records: a pydantic model, dataclass, Struct or TypedDict would do")
