"""A REST service written by hand on what goes over the wire, which notes what it is asked."""

import collections.abc
import dataclasses
import json
import typing as t
import urllib.parse

import msgspec
import starlette.requests
import starlette.responses

from flama import exceptions, query
from flama.rest import conditional_requests, errors, filters, ndjson, ordering, paging
from flama.rest.query_parameters import MAX_AFFECTED, ON

__all__ = ["Asked", "Service"]

Record: t.TypeAlias = dict[str, t.Any]

ALLOWED: t.Final = {
    "id": filters.field_filter(str),
    "name": filters.field_filter(str),
    "age": filters.field_filter(int),
}


class Asked(t.NamedTuple):
    """A request."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: t.Any


@dataclasses.dataclass
class Service:
    """People of an id, a name and an age, kept in a list; ``first`` answers instead, if it does."""

    people: list[Record] = dataclasses.field(default_factory=list)
    style: paging.Style = "page_number"
    most: int = 1_000
    asked: list["Asked"] = dataclasses.field(default_factory=list)
    first: collections.abc.Callable[[str, str], starlette.responses.Response | None] = lambda method, path: None

    async def __call__(self, scope: t.Any, receive: t.Any, send: t.Any) -> None:
        """Answer a request."""
        request = starlette.requests.Request(scope, receive)
        body = await request.body()
        path = scope["raw_path"].decode()
        asked = Asked(
            request.method, path, dict(request.query_params), dict(request.headers), json.loads(body or "null")
        )
        self.asked.append(asked)
        try:
            response = self.first(request.method, path) or self.answer(request, path, asked.body)
        except exceptions.ResourceException as error:
            status, content, headers = errors.encode(error) or (500, {}, {})
            response = starlette.responses.JSONResponse(content, status, headers)
        await response(scope, receive, send)

    def answer(self, request: starlette.requests.Request, path: str, body: t.Any) -> starlette.responses.Response:
        """Do what is asked."""
        pairs = urllib.parse.parse_qsl(request.scope["query_string"].decode(), keep_blank_values=True)
        _, _, segment, *_ = [*path.split("/"), ""]
        match request.method, segment:
            case "GET", "":
                return self.listed(request, pairs)
            case "POST", "":
                return _json(self.created(body), 201)
            case "POST", ":get_or_create":
                return self.got_or_created(body, dict(pairs).get(ON, "id").split(","))
            case "POST", ":upsert":
                return _json([self.upserted(each, dict(pairs).get(ON, "id").split(",")) for each in body])
            case "POST", ":update":
                return _json([self.changed(each, body) for each in self.affected(pairs)])
            case "POST" | "DELETE", ":drop" | "":
                found = self.affected(pairs)
                self.people = [each for each in self.people if each not in found]
                return _json({"deleted": len(found)})
        return self.of_one(request, urllib.parse.unquote(segment), body)

    def of_one(self, request: starlette.requests.Request, id: str, body: t.Any) -> starlette.responses.Response:
        """Do what is asked of one record."""
        person = next((each for each in self.people if each["id"] == id), None)
        if person is None:
            raise exceptions.NotFoundError(resource="person", id=id)
        said = request.headers.get(conditional_requests.IF_MATCH, "*")
        if not conditional_requests.matches(conditional_requests.decode(said), _tag(person)):
            raise exceptions.PreconditionFailedError(resource="person", id=id)
        if request.method == "DELETE":
            self.people.remove(person)
            return starlette.responses.Response(status_code=204)
        if request.method in {"PUT", "PATCH"}:
            self.changed(person, body)
        return _json(person, 200, etag=_tag(person))

    def listed(self, request: starlette.requests.Request, pairs: list[tuple[str, str]]) -> starlette.responses.Response:
        """Give a page of those that match, or a stream of them."""
        order = query.parse_order(ordering.decode(pairs, ALLOWED, resource="person"), keys=["id"])
        found = query.sort_records(self.matching(pairs), order)
        if ndjson.MEDIA_TYPE in request.headers["accept"]:
            lines = b"".join(map(ndjson.encode, found))
            return starlette.responses.Response(lines, media_type=ndjson.MEDIA_TYPE)
        page = paging.decode(self.style, dict(pairs), self.most)
        offset = int(page.cursor or page.offset)
        data = found[offset : offset + page.limit]
        more = offset + page.limit < len(found)
        following = dataclasses.replace(page, offset=offset + page.limit, cursor=str(offset + page.limit))
        count = len(found) if page.count else None
        return _json(paging.envelope(self.style, page, data, count, next=following if more else None))

    def matching(self, pairs: list[tuple[str, str]]) -> list[Record]:
        """Give those on which the conditions of a query hold."""
        conditions = filters.decode(pairs, ALLOWED, resource="person")
        return [person for person in self.people if all(each.matches(person) for each in conditions)]

    def affected(self, pairs: list[tuple[str, str]]) -> list[Record]:
        """Give those that a query writes, unless they are too many."""
        found, most = self.matching(pairs), dict(pairs).get(MAX_AFFECTED)
        if most is not None and len(found) > int(most):
            raise exceptions.MultipleRecordsError(resource="person")
        return found

    def created(self, body: t.Any) -> t.Any:
        """Store one or many."""
        for each in body if isinstance(body, list) else [body]:
            if any(person["id"] == each["id"] for person in self.people):
                raise exceptions.IntegrityError(resource="person", kind="unique", fields=["id"])
            self.people.append({**dict.fromkeys(ALLOWED), **each})
        return body

    def upserted(self, data: Record, on: list[str]) -> Record:
        """Store one, or change the one that is alike."""
        alike = (each for each in self.people if all(each[name] == data[name] for name in on))
        if (person := next(alike, None)) is None:
            self.people.append(person := dict(data))
        return self.changed(person, data)

    def got_or_created(self, data: Record, on: list[str]) -> starlette.responses.Response:
        """Give the one that is alike, or store one."""
        alike = (each for each in self.people if all(each[name] == data[name] for name in on))
        person = next(alike, None)
        return _json(self.created(data), 201) if person is None else _json(person)

    def changed(self, person: Record, data: Record) -> Record:
        """Change one."""
        person.update(data)
        return person


def _json(content: t.Any, status: int = 200, **headers: str) -> starlette.responses.Response:
    return starlette.responses.Response(msgspec.json.encode(content), status, headers, "application/json")


def _tag(person: Record) -> str:
    return conditional_requests.etag(msgspec.json.encode(person))
