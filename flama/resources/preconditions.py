"""Preconditions of a resource: whether a record is in the state that a request was made for."""

import contextlib
import typing as t

from flama import exceptions, pagination
from flama.query.conditions import as_mapping
from flama.resources.asked import Asked
from flama.resources.records import Records
from flama.resources.rest import RESTResource
from flama.rest import preconditions, values
from flama.rest.preconditions import IF_MATCH, IF_NONE_MATCH

__all__ = ["Expected", "check_collection", "etag", "expected"]

_Tags: t.TypeAlias = tuple[str, ...] | None


def etag(resource: type[RESTResource], record: t.Any, body: bytes) -> str:
    """Give the tag of a record: of its version where those are counted, or of the body that it is sent as."""
    version = as_mapping(record).get(getattr(resource._repository, "_version", None) or "")
    return preconditions.etag(body) if version is None else preconditions.of_version(version)


class Expected(t.NamedTuple):
    """What state a request expects a record to be in."""

    match: _Tags
    none_match: _Tags

    async def filters(self, asked: Asked, records: Records) -> dict[str, t.Any]:
        """Give what a write has to ask for besides the record's key, once nothing else is against it.

        Where versions are counted, the write itself compares them. Otherwise the record is read, and held.

        :raises PreconditionFailedError: it is in another state.
        """
        if self.match is None and self.none_match is None:
            return {}
        if (version := self._version(asked.resource)) is not None:
            return version
        record = await records.retrieve(asked.id, hold=True)
        tag = etag(asked.resource, record, asked.resource._output.one(record))
        if self.match is not None and not preconditions.matches(self.match, tag):
            raise _failed(asked)
        if self.none_match is not None and preconditions.matches(self.none_match, tag, weak=True):
            raise _failed(asked)
        return {}

    @contextlib.contextmanager
    def refusing(self, asked: Asked) -> t.Iterator[None]:
        """Let a write that finds another version than was expected be refused as the precondition that it was."""
        try:
            yield
        except exceptions.ConflictError as error:
            if self.match is None or error.retryable:
                raise
            raise _failed(asked) from error

    def _version(self, resource: type[RESTResource]) -> dict[str, t.Any] | None:
        field = getattr(resource._repository, "_version", None)
        if field is None or resource._table is None or self.none_match is not None or len(self.match or ()) != 1:
            return None
        text = preconditions.version((self.match or ("",))[0])
        with contextlib.suppress(ValueError):
            return None if text is None else {field: values.reader(int)(text)}
        return None


def expected(asked: Asked) -> Expected:
    """Give the state that a request expects a record to be in.

    :raises ValidationError: what it says is none.
    :raises HTTPException: it says nothing by ``If-Match`` though the resource asks for it (428).
    """
    match, none_match = _tags(asked, IF_MATCH), _tags(asked, IF_NONE_MATCH)
    if asked.operation.writes and asked.resource.preconditions and match is None:
        raise exceptions.HTTPException(428, "Say by If-Match of which state of the record this is the change")
    return Expected(match, none_match)


def check_collection(asked: Asked) -> None:
    """Check that a request may change many records: these have no state in common that it could name.

    :raises ValidationError: what it says by ``If-Match`` is no tag.
    :raises HTTPException: it says nothing though the resource asks for it (428).
    :raises PreconditionFailedError: it says something else than ``*``.
    """
    match = _tags(asked, IF_MATCH)
    if match is None and asked.resource.preconditions:
        raise exceptions.HTTPException(428, "Say by If-Match: * that this changes records in whatever state they are")
    if match not in (None, preconditions.ANY):
        raise _failed(asked)


def _tags(asked: Asked, header: str) -> _Tags:
    value = asked.header(header)
    try:
        return None if value is None else preconditions.decode(value)
    except ValueError as error:
        raise pagination.refused(error) from error


def _failed(asked: Asked) -> exceptions.PreconditionFailedError:
    return exceptions.PreconditionFailedError(resource=asked.resource._called, id=asked.id)
