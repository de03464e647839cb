"""Records that pydantic validates: its models and dataclasses."""

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

from flama.schemas.row_adapters.base import RowAdapter

__all__ = ["PydanticRowAdapter", "make_row_adapter"]

_Data: t.TypeAlias = dict[str, t.Any]
# types with another form in JSON; a value of any other type may be an SQL expression
_ENCODED: t.Final = (
    (dict, list, tuple, set, frozenset, pydantic.BaseModel, enum.Enum)
    + (uuid.UUID, decimal.Decimal, datetime.date, datetime.time, datetime.timedelta)
)  # fmt: skip


class PydanticRowAdapter(RowAdapter):
    """Records of a pydantic model or a dataclass."""

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
            raise ValueError(f"no {self.type.__name__}: {_first_error(error)}") from error

    def _to_dict(self, record: t.Any, changes: bool) -> _Data | None:
        if not isinstance(record, self.type):
            return None
        data = self._explicit_values(record, changes)
        if self._encoded is None:
            return _dump(record, data.keys(), by_alias=True)
        encoded = self._encoded & data.keys()
        return data | _dump(record, encoded, by_alias=False) if encoded else data

    def _encode(self, value: t.Any) -> t.Any:
        if not isinstance(value, _ENCODED) and not dataclasses.is_dataclass(value):
            return value
        return pydantic_core.to_jsonable_python(value, by_alias=self._encoded is None)

    def _explicit_values(self, record: t.Any, changes: bool) -> _Data:
        attributes = _attributes(record)
        was_set = getattr(record, "model_fields_set", None)
        if changes:
            return {name: value for name, value in attributes.items() if was_set is None or name in was_set}
        omitted = self._none_by_default - (was_set or set())
        return {name: value for name, value in attributes.items() if value is not None or name not in omitted}


def make_row_adapter(type: t.Any, encoded: collections.abc.Collection[str] | None) -> PydanticRowAdapter:
    """Return the conversion for a type of records."""
    return PydanticRowAdapter(type, encoded)


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


def _dump(record: t.Any, names: collections.abc.Set[str], *, by_alias: bool) -> _Data:
    serializer = _serializer(t.cast("t.Any", type(record)))
    return t.cast(
        "_Data",
        serializer.to_python(record, mode="json", include=set(names), by_alias=by_alias, exclude_computed_fields=True),
    )


@functools.lru_cache(1000)
def _serializer(type: t.Any) -> t.Any:
    return pydantic.TypeAdapter(type).serializer


def _first_error(error: pydantic.ValidationError) -> str:
    # without the value, which may be confidential
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return f"'{'.'.join(map(str, first['loc'][1:]))}': {first['msg']}"
