"""Records that pydantic validates: its models, dataclasses."""

import collections.abc
import dataclasses
import datetime
import decimal
import enum
import functools
import typing as t
import uuid

import pydantic
import pydantic_core

from flama.schemas.records.base import Records

__all__ = ["PydanticRecords", "records"]

_Data: t.TypeAlias = dict[str, t.Any]
# what JSON has another form for; what is neither this nor a model may be an SQL expression
_ENCODED: t.Final = (
    (dict, list, tuple, set, frozenset, pydantic.BaseModel, enum.Enum)
    + (uuid.UUID, decimal.Decimal, datetime.date, datetime.time, datetime.timedelta)
)  # fmt: skip


class PydanticRecords(Records):
    """Records that are pydantic's models, or dataclasses."""

    def __init__(self, type: t.Any, encoded: collections.abc.Collection[str] | None) -> None:
        super().__init__(type, _defaults(type), encoded)
        self._validate = pydantic.TypeAdapter(self.many).validator.validate_python
        self._drops_more = encoded is not None and _config(type).get("extra") == "forbid"

    def read(self, records: list[_Data]) -> list[t.Any]:
        if self._drops_more:
            fields = self.fields
            records = [{name: value for name, value in record.items() if name in fields} for record in records]
        try:
            return t.cast("list[t.Any]", self._validate(records, strict=False, by_alias=True, by_name=True))
        except pydantic.ValidationError as error:
            raise ValueError(f"no {self.type.__name__}: {_told(error)}") from error

    def _opened(self, record: t.Any, changes: bool) -> _Data | None:
        if not isinstance(record, self.type):
            return None
        data = self._said(record, changes)
        if self._encoded is None:
            return _dumped(record, data.keys(), by_alias=True)
        encoded = self._encoded & data.keys()
        return data | _dumped(record, encoded, by_alias=False) if encoded else data

    def _encode(self, value: t.Any) -> t.Any:
        if not isinstance(value, _ENCODED) and not dataclasses.is_dataclass(value):
            return value
        return pydantic_core.to_jsonable_python(value, by_alias=self._encoded is None)

    def _said(self, record: t.Any, changes: bool) -> _Data:
        attributes = _attributes(record)
        was_set = getattr(record, "model_fields_set", None)
        if changes:
            return {name: value for name, value in attributes.items() if was_set is None or name in was_set}
        quiet = self._quiet - (was_set or set())
        return {name: value for name, value in attributes.items() if value is not None or name not in quiet}


def records(type: t.Any, encoded: collections.abc.Collection[str] | None) -> PydanticRecords:
    """Give the records of a type."""
    return PydanticRecords(type, encoded)


def _defaults(type: t.Any) -> _Data:
    if issubclass(type, pydantic.BaseModel):
        return {name: field.default for name, field in type.model_fields.items()}
    # pydantic's Field() may stand where a dataclass has a default
    return {field.name: getattr(field.default, "default", field.default) for field in dataclasses.fields(type)}


def _config(type: t.Any) -> collections.abc.Mapping[str, t.Any]:
    return getattr(type, "model_config", None) or getattr(type, "__pydantic_config__", {})


def _attributes(record: t.Any) -> _Data:
    if isinstance(record, pydantic.BaseModel):
        return {**vars(record), **(record.model_extra or {})}
    return {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}


def _dumped(record: t.Any, names: collections.abc.Set[str], *, by_alias: bool) -> _Data:
    serializer = _serializer(t.cast("t.Any", type(record)))
    return t.cast(
        "_Data",
        serializer.to_python(record, mode="json", include=set(names), by_alias=by_alias, exclude_computed_fields=True),
    )


@functools.lru_cache(1000)
def _serializer(type: t.Any) -> t.Any:
    return pydantic.TypeAdapter(type).serializer


def _told(error: pydantic.ValidationError) -> str:
    # not what the value was: that is the record's own business
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return f"'{'.'.join(map(str, first['loc'][1:]))}': {first['msg']}"
