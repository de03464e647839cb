"""Records that msgspec converts: Structs and TypedDicts."""

import collections.abc
import dataclasses
import datetime
import decimal
import enum
import typing as t
import uuid

import msgspec

from flama._numbers import read_infinite
from flama.schemas.row_adapters.base import RowAdapter

__all__ = ["StructRowAdapter", "TypedDictRowAdapter", "make_row_adapter"]

_Data: t.TypeAlias = dict[str, t.Any]
# types with another form in JSON; a value of any other type may be an SQL expression
_ENCODED: t.Final = (
    (dict, list, tuple, set, frozenset, msgspec.Struct, enum.Enum)
    + (uuid.UUID, decimal.Decimal, datetime.date, datetime.time, datetime.timedelta)
)  # fmt: skip


class _MsgspecRowAdapter(RowAdapter):
    _floats: tuple[str, ...] = ()  # encoded names of fields with floats, whose infinities may be strings

    def read(self, records: list[_Data]) -> list[t.Any]:
        try:
            return t.cast("list[t.Any]", msgspec.convert(records, self.many))
        except msgspec.ValidationError as error:
            read = read_infinite(records, self._floats) if self._floats else records
            if read == records:
                raise ValueError(f"no {self.type.__name__}: {error}") from error
        return self.read(read)

    def _encode(self, value: t.Any) -> t.Any:
        if not isinstance(value, _ENCODED) and not dataclasses.is_dataclass(value):
            return value
        return msgspec.to_builtins(value)


class TypedDictRowAdapter(_MsgspecRowAdapter):
    """Records of a TypedDict type."""

    def __init__(self, type: t.Any, encoded: collections.abc.Collection[str] | None) -> None:
        hints = t.get_type_hints(type)
        super().__init__(type, dict.fromkeys(hints, msgspec.NODEFAULT), encoded)
        self._floats = tuple(name for name, hint in hints.items() if _is_float(hint))

    def _to_dict(self, record: t.Any, changes: bool) -> None:
        return None


class StructRowAdapter(_MsgspecRowAdapter):
    """Records of a msgspec Struct type."""

    def __init__(self, type: t.Any, encoded: collections.abc.Collection[str] | None) -> None:
        fields = msgspec.structs.fields(type)
        super().__init__(type, {field.name: field.default for field in fields}, encoded)
        sent = {field.name: field.encode_name for field in fields}
        stored = {name: name for name in sent} if encoded is not None else sent
        self._names = sent
        self._floats = tuple(field.encode_name for field in fields if _is_float(field.type))
        self._renamed = encoded is not None and sent != stored
        self._drops_more = encoded is not None and type.__struct_config__.forbid_unknown_fields

    def read(self, records: list[_Data]) -> list[t.Any]:
        if self._renamed or self._drops_more:
            names = self._names
            records = [{names[name]: value for name, value in record.items() if name in names} for record in records]
        return super().read(records)

    def _to_dict(self, record: t.Any, changes: bool) -> _Data | None:
        if not isinstance(record, self.type):
            return None
        omitted = frozenset[str]() if changes else self._none_by_default
        values = {
            name: value
            for name, value in msgspec.structs.asdict(record).items()
            if value is not msgspec.UNSET and (value is not None or name not in omitted)
        }
        if self._encoded is None:
            return {self._names.get(name, name): self._encode(value) for name, value in values.items()}
        return {name: self._encode(value) if name in self._encoded else value for name, value in values.items()}


def _is_float(annotation: t.Any) -> bool:
    bare = t.get_args(annotation)[0] if hasattr(annotation, "__metadata__") else annotation
    return bare is float or any(map(_is_float, t.get_args(bare)))


def make_row_adapter(type: t.Any, encoded: collections.abc.Collection[str] | None) -> RowAdapter:
    """Return the conversion for a type of records."""
    return (StructRowAdapter if hasattr(type, "__struct_fields__") else TypedDictRowAdapter)(type, encoded)
