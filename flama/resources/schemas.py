"""Schemas of a resource's records: how they are read from a request, how they are written to an answer."""

import collections.abc
import typing as t

from flama import exceptions, schemas, types
from flama.http import request
from flama.http.response import finite_json, json

__all__ = ["Input", "Output", "TableInput"]

_Record: t.TypeAlias = dict[str, t.Any]
_Encode: t.TypeAlias = collections.abc.Callable[[t.Any], t.Any]


class Input:
    """What requests bring: records of a schema, of which errors tell by a name.

    A field that the schema doesn't have, and by the name of which records are ``answered``, is the resource's own: what
    is sent of it is passed over. Any other is refused, unless the schema says itself what becomes of others. ``check``
    raises what is wrong with a record that the schema lets pass.
    """

    def __init__(
        self,
        schema: t.Any,
        name: str,
        answered: collections.abc.Iterable[str],
        check: collections.abc.Callable[[_Record], None] = lambda record: None,
    ) -> None:
        self.schema = schema
        self._check = check
        self._name = name
        self._one, self._many = _adapters(self.annotation())
        self._part, self._parts = _adapters(self.annotation(partial=True))
        self._fields = schemas.names(schema)
        self._known = frozenset({*(self._fields or ()), *answered})

    def annotation(self, *, many: bool = False, partial: bool = False) -> t.Any:
        """Give how a handler would ask for it."""
        one: t.Any = t.Annotated[types.Schema, types.SchemaMetadata(self.schema, partial=partial)]
        return list.__class_getitem__(one) if many else one

    async def one(self, scope: types.Scope, body: bytes) -> _Record:
        """Return the record that a body brings.

        :raises HTTPException: it brings none.
        :raises UnknownColumnError: it brings what no record has.
        """
        return t.cast(_Record, await self._decoded(self._one, scope, body))

    async def many(self, scope: types.Scope, body: bytes, limit: schemas.RecordLimit) -> list[_Record]:
        """Return the records that a body brings.

        :raises TooManyRecords: it brings more than the limit.
        """
        return t.cast(list[_Record], await self._decoded(self._many, scope, body, limit))

    async def part(self, scope: types.Scope, body: bytes) -> _Record:
        """Return the fields of a record that a body brings."""
        return t.cast(_Record, await self._decoded(self._part, scope, body))

    async def parts(self, scope: types.Scope, body: bytes, limit: schemas.RecordLimit) -> list[_Record]:
        """Return the fields of records that a body brings.

        :raises TooManyRecords: it brings more than the limit.
        """
        return t.cast(list[_Record], await self._decoded(self._parts, scope, body, limit))

    async def sent(self, scope: types.Scope, body: bytes, limit: schemas.RecordLimit) -> list[_Record]:
        """Return the records that a body brings, of each what was sent alone, without the schema's defaults.

        :raises TooManyRecords: it brings more than the limit.
        """
        whole, parts = await self.many(scope, body, limit), await _decode(self._parts, body)
        return [{name: record[name] for name in part} for record, part in zip(whole, parts, strict=True)]

    def new(self, records: list[_Record]) -> list[_Record]:
        """Give records that are to be stored.

        :raises IntegrityError: one lacks its key, which nothing else gives it.
        """
        return records

    def replacing(self, record: _Record, stamped: collections.abc.Collection[str] = ()) -> _Record:
        """Give a record that takes another's place, whole, but for what is ``stamped`` on it.

        :raises IntegrityError: it lacks a field that no record is without.
        """
        return record

    async def _decoded(
        self, adapter: schemas.Adapter, scope: types.Scope, body: bytes, limit: schemas.RecordLimit | None = None
    ) -> t.Any:
        if (sent := request.content_type(scope)) != request.JSON:  # nor without one: no other site's page can say that
            raise exceptions.NoCodecAvailable(sent, (request.JSON,))
        if limit is not None:
            limit.check(body)
            if body.strip() in (b"", b"null"):  # which would be a list of none
                raise exceptions.DecodeError("The body is a list of records, and there is none")
        found = self._small(adapter, body) if len(body) <= schemas.LARGE else await self._large(adapter, body)
        for record in found if isinstance(found, list) else (found,):
            self._check(record)
        return found

    def _small(self, adapter: schemas.Adapter, body: bytes) -> t.Any:
        if self._fields is not None:
            self._check_names(adapter.names(body), self._fields)
        return adapter.decode(body)

    async def _large(self, adapter: schemas.Adapter, body: bytes) -> t.Any:
        most = len(self._known) + exceptions.UnknownColumnError.counted
        async with schemas.turn():
            if self._fields is not None:
                self._check_names(await schemas.names_of_large(adapter, body, most), self._fields)
            return await schemas.decode_large(adapter, body)

    def _check_names(self, names: list[str], fields: collections.abc.Iterable[str]) -> None:
        if unknown := [name for name in names if name not in self._known]:
            raise exceptions.UnknownColumnError(resource=self._name, names=unknown, columns=fields)


class TableInput(Input):
    """What requests bring for a table: only what was sent is a record's.

    Bodies are read by the schema ``taken``, which leaves it to the table to refuse null, and described by another. What
    a record that is replaced isn't sent becomes what it is by ``resets``; of what is ``required`` there is no such. Its
    ``key`` is told by its path, or it has it already.
    """

    def __init__(
        self,
        described: t.Any,
        taken: t.Any,
        name: str,
        answered: collections.abc.Iterable[str],
        *,
        key: str,
        resets: collections.abc.Mapping[str, t.Any],
        required: collections.abc.Iterable[str],
    ) -> None:
        super().__init__(taken, name, answered)
        self._one, self._many = self._part, self._parts = _adapters(taken)  # which has what was sent alone
        self.schema = described
        self._key = key
        self._resets = resets
        self._required = tuple(required)

    async def sent(self, scope: types.Scope, body: bytes, limit: schemas.RecordLimit) -> list[_Record]:
        return await self.many(scope, body, limit)

    def new(self, records: list[_Record]) -> list[_Record]:
        if self._key in self._required and any(record.get(self._key) is None for record in records):
            raise self._lacking([self._key])
        return records

    def replacing(self, record: _Record, stamped: collections.abc.Collection[str] = ()) -> _Record:
        kept = {self._key, *stamped}
        if missing := [name for name in self._required if name not in record and name not in kept]:
            raise self._lacking(missing)
        resets = {name: value for name, value in self._resets.items() if name not in stamped}
        return {**(resets if stamped else self._resets), **record}

    def _lacking(self, fields: list[str]) -> exceptions.IntegrityError:
        return exceptions.IntegrityError(resource=self._name, kind="not_null", fields=fields)


async def _decode(adapter: schemas.Adapter, body: bytes) -> t.Any:
    if len(body) <= schemas.LARGE:
        return adapter.decode(body)
    async with schemas.turn():
        return await schemas.decode_large(adapter, body)


def _adapters(one: t.Any) -> tuple[schemas.Adapter, schemas.Adapter]:
    """What reads one of a type, and a list of them."""
    return _adapter(one), _adapter(list.__class_getitem__(one))


def _adapter(annotation: t.Any) -> schemas.Adapter:
    return t.cast(schemas.Adapter, schemas.adapter(annotation))


class Output:
    """What responses hold: records of a schema.

    With ``encoders``, the schema was made for a table, and records are encoded as they come from there; those of the
    columns that JSON needs prepared are named in it. ``is_finite`` says that none holds a number JSON has no form for.
    """

    one: collections.abc.Callable[[t.Any], bytes]
    many: collections.abc.Callable[[list[t.Any]], bytes]

    def __init__(
        self, schema: t.Any, encoders: collections.abc.Mapping[str, _Encode] | None = None, *, is_finite: bool = False
    ) -> None:
        self.schema = schema
        self._json = finite_json if is_finite else json
        self._encoders = encoders or {}
        if encoders is None:
            one, many = _adapters(schema)
            self.one, self.many = one.encode, many.encode
        else:
            self.one = self._encode_one
            self.many = self._encode_many

    @property
    def names(self) -> tuple[str, ...]:
        """The names by which the fields of records are answered."""
        return schemas.names(self.schema, output=True) or ()

    def _encode_one(self, record: t.Any) -> bytes:
        return _encode(self._json, self._prepared(record))

    def _encode_many(self, records: list[t.Any]) -> bytes:
        if not self._encoders and records and isinstance(records[0], dict):
            return _encode(self._json, records)
        return _encode(self._json, [self._prepared(record) for record in records])

    def _prepared(self, record: t.Any) -> t.Any:
        """Return a record under the names of its columns, which a model's own JSON may not have."""
        fields = record if isinstance(record, dict) else _fields(record)
        if not self._encoders or not isinstance(fields, dict):
            return fields
        prepared = {
            name: encode(fields[name]) for name, encode in self._encoders.items() if fields.get(name) is not None
        }
        return {**fields, **prepared}


def _fields(record: t.Any) -> t.Any:
    return record.model_dump() if hasattr(record, "model_dump") else record


def _encode(encode: collections.abc.Callable[[t.Any], bytes], content: t.Any) -> bytes:
    """Return the JSON of records of a table.

    :raises SerializationError: they hold a value that JSON can't.
    """
    try:
        return encode(content)
    except (TypeError, ValueError, RecursionError) as error:
        raise exceptions.SerializationError(str(error)) from error
