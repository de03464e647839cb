"""Services that call things otherwise than ours."""

import pytest
import starlette.responses

from flama import exceptions
from flama.client import Client
from flama.ddd import F
from flama.ddd.repositories.http import HTTPResourceRepository
from tests.support.rest import Service

pytestmark = pytest.mark.anyio

ALL = [{"uuid": number, "name": f"n{number}"} for number in range(7)]


class Stranger:
    """A service that pages as it likes."""

    def __init__(self, answer):
        self.asked = []
        self._answer = answer

    async def __call__(self, scope, receive, send):
        query = dict(pair.split("=") for pair in scope["query_string"].decode().split("&") if pair)
        self.asked.append((scope["method"], scope["path"], query))
        await self._answer(query)(scope, receive, send)


def rest_framework(query):
    """Pages of Django's REST framework."""
    page, size = int(query.get("page", 1)), int(query["page_size"])
    following = f"http://localapp/thing?page={page + 1}&page_size={size}" if page * size < len(ALL) else None
    body = {"count": len(ALL), "next": following, "previous": None, "results": ALL[(page - 1) * size : page * size]}
    return starlette.responses.JSONResponse(body)


def links(query):
    """Lists with links, as GitHub has them."""
    page, size = int(query.get("page", 1)), int(query["per_page"])
    following = f'<http://localapp/thing?page={page + 1}&per_page={size}>; rel="next"' if page * size < len(ALL) else ""
    return starlette.responses.JSONResponse(ALL[(page - 1) * size : page * size], headers={"link": following})


def bare(query):
    """Lists, of which nothing is told."""
    offset, size = int(query["start"]), int(query["max"])
    return starlette.responses.JSONResponse(ALL[offset : offset + size])


def tokens(query):
    """Pages that refer to the next by a token."""
    start, size = int(query.get("after") or 0), int(query["first"])
    more = start + size < len(ALL)
    body = {"items": ALL[start : start + size], "meta": {"page_token": str(start + size) if more else None}}
    return starlette.responses.JSONResponse(body)


class Things(HTTPResourceRepository):
    _resource = "/thing"
    _id = "uuid"
    _slash = False
    _page_size = 3


class OfRestFramework(Things):
    _envelope = "results"


class OfLinks(Things):
    _envelope = None
    _names = {"page_size": "per_page"}


class Bare(Things):
    _envelope = None
    _pagination = "limit_offset"
    _names = {"offset": "start", "limit": "max"}


class OfTokens(Things):
    _envelope = "items"
    _pagination = "cursor"
    _names = {"cursor": "after", "limit": "first", "next": "page_token"}


KINDS = [(OfRestFramework, rest_framework, 3), (OfLinks, links, 3), (Bare, bare, 4), (OfTokens, tokens, 3)]


@pytest.mark.parametrize(("kind", "answer", "requests"), KINDS, ids=lambda value: getattr(value, "__name__", None))
async def test_its_lists_are_read_to_the_end(kind, answer, requests):
    stranger = Stranger(answer)

    async with Client(app=stranger) as client:
        assert [thing async for thing in kind(client).list()] == ALL

    assert len(stranger.asked) == requests
    assert {path for _, path, _ in stranger.asked} == {"/thing"}


@pytest.mark.parametrize(("kind", "answer", "requests"), KINDS[:1])
async def test_its_count_is_told_where_it_tells_one(kind, answer, requests):
    async with Client(app=Stranger(answer)) as client:
        assert await kind(client).count() == 7


async def test_where_it_tells_none_that_is_an_error():
    async with Client(app=Stranger(bare)) as client:
        with pytest.raises(exceptions.InvalidResponseError, match="how many"):
            await Bare(client).count()


async def test_a_list_that_is_not_where_it_should_be_is_an_error():
    async with Client(app=Stranger(bare)) as client:
        with pytest.raises(exceptions.InvalidResponseError, match="no 'results'"):
            [thing async for thing in type("X", (Bare,), {"_envelope": "results"})(client).list()]


async def test_its_records_may_be_in_an_envelope():
    class Wrapped(Things):
        _record_envelope = "thing"

    async with Client(app=Stranger(lambda query: starlette.responses.JSONResponse({"thing": ALL[0]}))) as client:
        things = Wrapped(client)
        assert await things.retrieve(0) == await things.create({}) == await things.update(0, {}) == ALL[0]

    async with Client(app=Stranger(lambda query: starlette.responses.JSONResponse({"thing": 7}))) as client:
        with pytest.raises(exceptions.InvalidResponseError):
            await Wrapped(client).retrieve(0)


async def test_a_record_is_asked_for_by_the_name_of_its_id():
    stranger = Stranger(lambda query: starlette.responses.JSONResponse(ALL[0]))

    async with Client(app=stranger) as client:
        await Things(client).retrieve(uuid=0)
        await Things(client).update({}, uuid=0)
        await Things(client).delete(id="a/b")

    assert [(method, path) for method, path, _ in stranger.asked] == [
        ("GET", "/thing/0"),
        ("PUT", "/thing/0"),
        ("DELETE", "/thing/a/b"),
    ]


async def test_a_subclass_is_as_its_base_but_for_what_it_says():
    class Other(OfRestFramework):
        _envelope = "others"

    assert Other._wire_format.slash is False
    assert Other._wire_format.envelope == "others"
    assert OfRestFramework._wire_format.envelope == "results"


async def test_ours_needs_nothing_said():
    class People(HTTPResourceRepository):
        _resource = "/person"

    service = Service([{"id": "a", "name": "Ann", "age": 1}])

    async with Client(app=service) as client:
        assert await People(client).count(F.age == 1) == 1
