"""Schemas of a resource's records: how they are read from a request, how they are written to an answer."""

import collections.abc
import dataclasses
import typing as t

from flama import exceptions, schemas, types
from flama.http import request
from flama.http.response import json

__all__ = ["Input", "Output"]

_Record: t.TypeAlias = dict[str, t.Any]

_LISTS: t.Final = frozenset({"_many", "_parts"})


@dataclasses.dataclass(frozen=True)
class Input:
    """What requests bring: records of a schema.

    Of one that was made for a table, only what was sent is a record's; ``resets`` is what the rest becomes in a record
    that is replaced.
    """

    schema: t.Any
    is_made: bool = False
    resets: collections.abc.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        whole = types.SchemaMetadata(self.schema)
        partial = types.SchemaMetadata(self.schema, partial=True)
        one: t.Any = self.schema if self.is_made else t.Annotated[types.Schema, whole]
        part: t.Any = t.Annotated[types.Schema, partial]
        adapters = {
            "_one": one,
            "_many": list.__class_getitem__(one),
            "_part": part,
            "_parts": list.__class_getitem__(part),
        }
        for name, annotation in adapters.items():
            object.__setattr__(self, name, t.cast(schemas.Adapter, schemas.adapter(annotation)))

    def annotation(self, *, many: bool = False, partial: bool = False) -> t.Any:
        """Give how a handler would ask for it."""
        one: t.Any = t.Annotated[types.Schema, types.SchemaMetadata(self.schema, partial=partial)]
        return list.__class_getitem__(one) if many else one

    def one(self, scope: types.Scope, body: bytes) -> _Record:
        """Give the record that a body brings.

        :raises HTTPException: it brings none.
        """
        return self._sent(self._decoded("_one", scope, body))

    def many(self, scope: types.Scope, body: bytes) -> list[_Record]:
        """Give the records that a body brings."""
        return [self._sent(record) for record in self._decoded("_many", scope, body)]

    def part(self, scope: types.Scope, body: bytes) -> _Record:
        """Give the fields of a record that a body brings."""
        return t.cast(_Record, self._decoded("_part", scope, body))

    def parts(self, scope: types.Scope, body: bytes) -> list[_Record]:
        """Give the fields of records that a body brings."""
        return t.cast(list[_Record], self._decoded("_parts", scope, body))

    def replacing(self, record: _Record) -> _Record:
        """Give a record that takes another's place, whole."""
        return {**self.resets, **record}

    def _decoded(self, adapter: str, scope: types.Scope, body: bytes) -> t.Any:
        if (sent := request.content_type(scope)) != request.JSON:
            raise exceptions.NoCodecAvailable(sent, (request.JSON,))
        if adapter in _LISTS and body.strip() in (b"", b"null"):  # which would stand for a list of none
            raise exceptions.DecodeError("The body is a list of records, and there is none")
        return getattr(self, adapter).decode(body)

    def _sent(self, record: t.Any) -> _Record:
        if not self.is_made:
            return t.cast(_Record, record)
        return {name: getattr(record, name) for name in type(record).model_fields if name in record.model_fields_set}


@dataclasses.dataclass(frozen=True)
class Output:
    """What answers bring: records of a schema; of one that was made for a table, as they come from there."""

    schema: t.Any
    is_made: bool = False

    def __post_init__(self) -> None:
        one = t.cast(schemas.Adapter, schemas.adapter(self.schema))
        many = t.cast(schemas.Adapter, schemas.adapter(list.__class_getitem__(self.schema)))
        object.__setattr__(self, "one", json if self.is_made else one.encode)
        object.__setattr__(self, "many", json if self.is_made else many.encode)

    one: collections.abc.Callable[[t.Any], bytes] = dataclasses.field(init=False)
    many: collections.abc.Callable[[t.Any], bytes] = dataclasses.field(init=False)
