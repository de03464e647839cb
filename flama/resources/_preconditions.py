"""Preconditions of a resource: ``If-Match``, ``If-None-Match``."""

import contextlib
import typing as t

from flama import exceptions, pagination
from flama.query.conditions import as_mapping
from flama.resources._adapters import RecordStore
from flama.resources._request import ResourceRequest
from flama.resources._spec import ResourceSpec
from flama.rest import conditional_requests, value_codecs
from flama.rest.conditional_requests import IF_MATCH, IF_NONE_MATCH

__all__ = ["Preconditions", "check_collection", "etag", "parse_preconditions"]

_Tags: t.TypeAlias = tuple[str, ...] | None


def etag(spec: ResourceSpec, record: t.Any, body: bytes) -> str:
    """Return the ETag of a record: from its version column if there is one, or from its body."""
    version = as_mapping(record).get(spec.version or "")
    return conditional_requests.etag(body) if version is None else conditional_requests.etag_from_version(version)


class Preconditions(t.NamedTuple):
    """The preconditions of a request: the ETags of ``If-Match`` and ``If-None-Match``."""

    match: _Tags
    none_match: _Tags

    async def filters(self, request: ResourceRequest, records: RecordStore) -> dict[str, t.Any]:
        """Return the filters to add to a write, after the preconditions are checked.

        With a version column the write itself compares versions. Otherwise the record is read and locked.

        :raises PreconditionFailedError: the record is in another state.
        """
        if self.match is None and self.none_match is None:
            return {}
        if (version := self._version(request.spec)) is not None:
            return version
        record = await records.retrieve(request.id, lock=True)
        tag = etag(request.spec, record, request.spec.output.one(record))
        if self.match is not None and not conditional_requests.matches(self.match, tag):
            raise _precondition_error(request)
        if self.none_match is not None and conditional_requests.matches(self.none_match, tag, weak=True):
            raise _precondition_error(request)
        return {}

    @contextlib.contextmanager
    def translate_conflicts(self, request: ResourceRequest) -> t.Iterator[None]:
        """Translate the conflict of a write with another version to a failed precondition."""
        try:
            yield
        except exceptions.ConflictError as error:
            if self.match is None or error.retryable:
                raise
            raise _precondition_error(request) from error

    def _version(self, spec: ResourceSpec) -> dict[str, t.Any] | None:
        if spec.version is None or spec.table is None or self.none_match is not None or len(self.match or ()) != 1:
            return None
        text = conditional_requests.version((self.match or ("",))[0])
        with contextlib.suppress(ValueError):
            return None if text is None else {spec.version: value_codecs.decoder_for(int)(text)}
        return None


def parse_preconditions(request: ResourceRequest) -> Preconditions:
    """Return the preconditions of a request.

    :raises ValidationError: a header is not a list of ETags.
    :raises HTTPException: the resource requires ``If-Match``, which is missing (428).
    """
    match, none_match = _parse_tags(request, IF_MATCH), _parse_tags(request, IF_NONE_MATCH)
    if request.operation.writes and request.spec.preconditions and match is None:
        raise exceptions.HTTPException(428, "This request requires If-Match with the ETag of the record")
    return Preconditions(match, none_match)


def check_collection(request: ResourceRequest) -> None:
    """Check the ``If-Match`` of a request that changes many records, which share no ETag.

    :raises ValidationError: the header is not a list of ETags.
    :raises HTTPException: the resource requires the header, which is missing (428).
    :raises PreconditionFailedError: the header is something else than ``*``.
    """
    match = _parse_tags(request, IF_MATCH)
    if match is None and request.spec.preconditions:
        raise exceptions.HTTPException(428, "This request requires If-Match: *, as it changes records in any state")
    if match not in (None, conditional_requests.ANY):
        raise _precondition_error(request)


def _parse_tags(request: ResourceRequest, header: str) -> _Tags:
    value = request.header(header)
    try:
        return None if value is None else conditional_requests.decode(value)
    except ValueError as error:
        raise pagination.query_error(error) from error


def _precondition_error(request: ResourceRequest) -> exceptions.PreconditionFailedError:
    return exceptions.PreconditionFailedError(resource=request.spec.error_name, id=request.id)
