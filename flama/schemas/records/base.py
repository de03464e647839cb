"""What is asked of a record's type, whichever library made it."""

import abc
import collections.abc
import dataclasses
import importlib
import inspect
import types
import typing as t

__all__ = ["Records", "records"]

_Data: t.TypeAlias = dict[str, t.Any]
_DICTIONARIES: t.Final = (dict, collections.abc.Mapping, collections.abc.MutableMapping)


class Records(abc.ABC):
    """The records of one collection as values of a type: a pydantic model, dataclass, msgspec Struct or TypedDict.

    ``encoded`` names the fields that are kept in the form that JSON has for them; the others are kept as they are, and
    all of them under their own names. With None the whole record is JSON, under the names by which it is sent.
    ``fields`` are the names of the type's fields, with what each of them is when nothing is said of it.
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
        self._quiet = frozenset(name for name, default in fields.items() if default is None)

    @abc.abstractmethod
    def read(self, records: list[_Data]) -> list[t.Any]:
        """Give records as values of the type; what it doesn't know is left out.

        :raises ValueError: one of them doesn't fit.
        """

    def data(self, record: t.Any, *, changes: bool = False) -> collections.abc.Mapping[str, t.Any]:
        """Give a record as a dictionary: a value of the type, or a mapping, of whichever fields it has.

        Of a new record, fields that are None by default are left out as long as they are None: nothing was said of
        them. Of ``changes`` to one, every field is given; of a pydantic model, which can tell, those that were set.

        :raises ValueError: it is neither.
        """
        if isinstance(record, collections.abc.Mapping):
            return self._mapping(record)
        if (opened := self._opened(record, changes)) is None:
            raise ValueError(f"a record is a {self.type.__name__} or a mapping, not {record!r}")
        return opened

    @abc.abstractmethod
    def _opened(self, record: t.Any, changes: bool) -> _Data | None: ...

    @abc.abstractmethod
    def _encode(self, value: t.Any) -> t.Any: ...

    def _mapping(self, record: collections.abc.Mapping[str, t.Any]) -> collections.abc.Mapping[str, t.Any]:
        if self._encoded is not None and self._encoded.isdisjoint(record):
            return record
        encoded = record.keys() if self._encoded is None else self._encoded
        return {name: self._encode(value) if name in encoded else value for name, value in record.items()}


def records(type: t.Any, *, encoded: collections.abc.Collection[str] | None) -> Records | None:
    """Give the records of a type; None for dictionaries, of which nothing has to be made.

    :raises TypeError: it is no type of records.
    """
    if type in _DICTIONARIES or t.get_origin(type) in _DICTIONARIES:
        return None
    library = importlib.import_module(f"flama.schemas.records.{_library(type)}")
    return t.cast("Records", library.records(type, encoded))


def _library(type: t.Any) -> str:
    # a TypedDict of typing_extensions is of another class than typing's before Python 3.12
    if hasattr(type, "__struct_fields__") or hasattr(type, "__required_keys__"):
        return "msgspec"
    if inspect.isclass(type) and (hasattr(type, "__pydantic_fields__") or dataclasses.is_dataclass(type)):
        return "pydantic"
    raise TypeError(f"{type!r} is no type of records: a pydantic model, dataclass, Struct or TypedDict would do")
