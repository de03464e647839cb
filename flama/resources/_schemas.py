"""Schemas of a resource's records, for request bodies, for responses."""

import collections.abc
import typing as t

from flama import exceptions, schemas, types
from flama._annotations import unwrap
from flama.http import request
from flama.http.response import encode_json, finite_json

__all__ = ["RequestSchema", "ResponseSchema", "TableRequestSchema", "annotations"]

_Record: t.TypeAlias = dict[str, t.Any]
_Encode: t.TypeAlias = collections.abc.Callable[[t.Any], t.Any]


def annotations(schema: t.Any) -> dict[str, t.Any]:
    """Return the annotations of a schema's fields, without aliases of types."""
    return {name: unwrap(annotation) for name, annotation in t.get_type_hints(schema).items()}


class RequestSchema:
    """A reader of request bodies that hold records of a schema.

    ``name`` is the resource's name in errors. Fields that are only in responses (``answered``) are ignored in requests.
    Any other unknown field is an error, unless the schema has its own policy for extra fields. ``check`` raises an
    error for a record that satisfies the schema, but not the resource.
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

    def annotation(self, *, partial: bool = False) -> t.Any:
        """Return the annotation of a handler's parameter for a record."""
        return t.Annotated[types.Schema, types.SchemaMetadata(self.schema, partial=partial)]

    async def read(self, scope: types.Scope, body: bytes, *, partial: bool = False) -> _Record:
        """Return the record in a body; with ``partial``, some of its fields.

        :raises HTTPException: the body is no such record.
        :raises UnknownColumnError: the body has a field that no record has.
        """
        return t.cast(_Record, await self._decode_body(self._part if partial else self._one, scope, body))

    async def read_many(
        self, scope: types.Scope, body: bytes, limit: schemas.RecordLimit, *, partial: bool = False
    ) -> list[_Record]:
        """Return the records in a body, as :meth:`read` does.

        :raises TooManyRecords: there are more than the limit.
        """
        adapter = self._parts if partial else self._many
        return t.cast(list[_Record], await self._decode_body(adapter, scope, body, limit))

    async def read_sent(self, scope: types.Scope, body: bytes, limit: schemas.RecordLimit) -> list[_Record]:
        """Return the records in a body as :meth:`read_many` does, without the schema's defaults."""
        whole = await self.read_many(scope, body, limit)
        partials = await self._decode(self._parts, body, checks_names=False)
        return [{name: record[name] for name in partial} for record, partial in zip(whole, partials, strict=True)]

    def require_keys(self, records: list[_Record]) -> list[_Record]:
        """Return the records to store.

        :raises IntegrityError: a record lacks its key, and nothing generates it.
        """
        return records

    def fill_missing(self, record: _Record, stamped: collections.abc.Collection[str] = ()) -> _Record:
        """Return the complete record that replaces another one, except for the ``stamped`` fields.

        :raises IntegrityError: a required field is missing.
        """
        return record

    async def _decode_body(
        self, adapter: schemas.Adapter, scope: types.Scope, body: bytes, limit: schemas.RecordLimit | None = None
    ) -> t.Any:
        content_type = request.content_type(scope)
        if content_type != request.JSON:  # required: other sites' pages can't send this type
            raise exceptions.NoCodecAvailable(content_type, (request.JSON,))
        if limit is not None:
            limit.check(body)
            if body.strip() in (b"", b"null"):  # decoders would take it for an empty list
                raise exceptions.DecodeError("The body must be a list of records")
        found = await self._decode(adapter, body, checks_names=self._fields is not None)
        for record in found if isinstance(found, list) else (found,):
            self._check(record)
        return found

    async def _decode(self, adapter: schemas.Adapter, body: bytes, *, checks_names: bool) -> t.Any:
        if len(body) <= schemas.LARGE:
            if checks_names:
                self._check_names(adapter.names(body))
            return adapter.decode(body)
        async with schemas.decoding_slot():
            if checks_names:
                most = len(self._known) + exceptions.UnknownColumnError.counted
                self._check_names(await schemas.names_of_large(adapter, body, most))
            return await schemas.decode_large(adapter, body)

    def _check_names(self, names: list[str]) -> None:
        if unknown := [name for name in names if name not in self._known]:
            raise exceptions.UnknownColumnError(resource=self._name, names=unknown, columns=self._fields or ())


class TableRequestSchema(RequestSchema):
    """A reader of request bodies for a table: a record has only the fields that were sent.

    Bodies are validated by the schema ``taken``, which leaves null to the table's own constraints, and documented by
    ``described``. A replaced record takes the fields that weren't sent from ``resets``. ``required`` fields aren't in
    ``resets``. The ``key`` comes from the path, or is in the record already.
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
        self._one, self._many = self._part, self._parts = _adapters(taken)  # a TypedDict: only fields that were sent
        self.schema = described
        self._key = key
        self._resets = resets
        self._required = tuple(required)

    async def read_sent(self, scope: types.Scope, body: bytes, limit: schemas.RecordLimit) -> list[_Record]:
        return await self.read_many(scope, body, limit)

    def require_keys(self, records: list[_Record]) -> list[_Record]:
        if self._key in self._required and any(record.get(self._key) is None for record in records):
            raise self._missing_error([self._key])
        return records

    def fill_missing(self, record: _Record, stamped: collections.abc.Collection[str] = ()) -> _Record:
        managed = {self._key, *stamped}
        if missing := [name for name in self._required if name not in record and name not in managed]:
            raise self._missing_error(missing)
        resets = {name: value for name, value in self._resets.items() if name not in stamped}
        return {**(resets if stamped else self._resets), **record}

    def _missing_error(self, fields: list[str]) -> exceptions.IntegrityError:
        return exceptions.IntegrityError(resource=self._name, kind="not_null", fields=fields)


def _adapters(one: t.Any) -> tuple[schemas.Adapter, schemas.Adapter]:
    """Return the adapters of a type, and of a list of it."""
    return _adapter(one), _adapter(list.__class_getitem__(one))


def _adapter(annotation: t.Any) -> schemas.Adapter:
    return t.cast(schemas.Adapter, schemas.adapter(annotation))


class ResponseSchema:
    """A writer of response bodies that hold records of a schema.

    ``encoders`` mark a schema derived from a table: rows are encoded without validation, and ``encoders`` convert the
    columns that JSON can't represent. ``is_finite`` promises that no value is NaN or an infinity.
    """

    one: collections.abc.Callable[[t.Any], bytes]
    many: collections.abc.Callable[[list[t.Any]], bytes]

    def __init__(
        self, schema: t.Any, encoders: collections.abc.Mapping[str, _Encode] | None = None, *, is_finite: bool = False
    ) -> None:
        self.schema = schema
        self._json = finite_json if is_finite else encode_json
        self._encoders = encoders or {}
        if encoders is None:
            one, many = _adapters(schema)
            self.one, self.many = one.encode, many.encode
        else:
            self.one = self._encode_one
            self.many = self._encode_many

    @property
    def annotations(self) -> dict[str, t.Any]:
        """The annotations of the fields of records in responses."""
        return {
            name: kind for name, kind in annotations(self.schema).items() if schemas.has_output_field(self.schema, name)
        }

    @property
    def names(self) -> tuple[str, ...]:
        """The field names of records in responses."""
        return schemas.names(self.schema, output=True) or ()

    def _encode_one(self, record: t.Any) -> bytes:
        return _encode(self._json, self._prepare(record))

    def _encode_many(self, records: list[t.Any]) -> bytes:
        if not self._encoders and records and isinstance(records[0], dict):
            return _encode(self._json, records)
        return _encode(self._json, [self._prepare(record) for record in records])

    def _prepare(self, record: t.Any) -> t.Any:
        """Return a record by column names, which a model's own JSON may rename."""
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
    """Return the JSON of a table's records.

    :raises SerializationError: JSON has no form for a value.
    """
    try:
        return encode(content)
    except (TypeError, ValueError, RecursionError) as error:
        raise exceptions.SerializationError(str(error)) from error
