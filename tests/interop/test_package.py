"""The package ``flama`` 2.2.2, whose HTTP side ours gets on with: each with the other's service, over a socket."""

import httpx
import pytest
import sqlalchemy as sa

from flama import Flama
from flama.client import Client
from flama.ddd import F
from flama.ddd.repositories.http import HTTPResourceRepository
from flama.exceptions import IntegrityError, InvalidResponseError, NotFoundError, ResourceException
from flama.resources import CRUDResource
from flama.sqlalchemy import SQLAlchemyModule
from tests.support.server import served

pytestmark = pytest.mark.anyio

metadata = sa.MetaData()
puppy = sa.Table(
    "puppy",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String, nullable=False, unique=True),
    sa.Column("age", sa.Integer),
)

LITTER = [{"id": number, "name": f"puppy {number:02}", "age": number % 5 or None} for number in range(1, 26)]
COCO = {"id": 1, "name": "Coco", "age": 3}


class Puppies(CRUDResource):
    """Our service's."""

    name = "puppy"
    model = puppy


class PuppyRepository(HTTPResourceRepository):
    """Those of a service, ours or the package's."""

    _resource = "/puppy"


class KennelRepository(HTTPResourceRepository):
    """The same, where they are asked for by limit and offset."""

    _resource = "/kennel"
    _pagination = "limit_offset"


@pytest.fixture(scope="module")
def our_url():
    """Give the URL of our service."""
    app = Flama(modules=[SQLAlchemyModule("sqlite+aiosqlite:///")])
    app.resources.add_resource("/puppy/", Puppies)

    @app.on_event("startup")
    async def start():
        async with app.sqlalchemy.engine.begin() as connection:
            await connection.run_sync(metadata.create_all)

    with served(app) as url:
        yield url


@pytest.fixture
async def puppies(package_url):
    """Give our repository of the package's service, which has no puppies yet."""
    # The package sends a body after its 204, for which uvicorn hangs up: what is sent at once on the same connection is
    # lost. Reads are sent again; writes can't be, so that nothing below writes after it has deleted.
    async with httpx.AsyncClient() as client:
        await client.delete(f"{package_url}/puppy/")
    async with Client(base_url=package_url) as client:
        yield PuppyRepository(client)


@pytest.fixture
async def litter(puppies):
    """Give our repository of the package's service, which has a litter."""
    await puppies.replace(LITTER)
    return puppies


@pytest.fixture
def ours(package, our_url):
    """Give a function that calls the package's repository of our service, which has no puppies yet."""
    httpx.delete(f"{our_url}/puppy/")
    return lambda method, *args, **kwargs: package(our_url, method, *args, **kwargs)


def by_id(records):
    return sorted(records, key=lambda record: record["id"])


class TestOurRepositoryOfItsService:
    async def test_stores_and_finds_a_record(self, puppies):
        created = await puppies.create({"name": "Coco", "age": 3})

        assert created == COCO
        assert await puppies.retrieve(1) == COCO
        assert await puppies.get(id=1) == COCO

    async def test_replaces_changes_and_deletes_a_record(self, puppies):
        await puppies.create(COCO)

        assert await puppies.update(1, {"name": "Bella"}) == {"id": 1, "name": "Bella", "age": None}
        assert await puppies.partial_update(1, {"age": 7}) == {"id": 1, "name": "Bella", "age": 7}
        await puppies.delete(1)
        assert await puppies.get(1) is None

    @pytest.mark.parametrize(
        ("method", "args"),
        [("retrieve", ()), ("update", ({"name": "x"},)), ("partial_update", ({"name": "x"},)), ("delete", ())],
    )
    async def test_tells_that_a_record_is_missing(self, puppies, method, args):
        with pytest.raises(NotFoundError) as caught:
            await getattr(puppies, method)(7, *args)

        assert caught.value.id == 7

    async def test_tells_that_a_constraint_is_broken(self, litter):
        with pytest.raises(IntegrityError):
            await litter.create({"name": "puppy 01"})
        with pytest.raises(IntegrityError):
            await litter.update(2, {"name": "puppy 01"})
        with pytest.raises(IntegrityError):
            await litter.partial_update(2, {"name": "puppy 01"})
        with pytest.raises(IntegrityError):
            await litter.replace([COCO, {"id": 2, "name": "Coco"}])

        assert [record async for record in litter.list()] == LITTER

    async def test_lists_everything_by_pages_of_any_size_and_ends(self, litter):
        whole = [record async for record in litter.list()]
        sizes = {}
        for size in (5, 7, 25, 26):
            small = type("Small", (PuppyRepository,), {"_page_size": size})(litter._client)
            sizes[size] = [record async for record in small.list()]

        assert whole == LITTER
        assert sizes == dict.fromkeys(sizes, LITTER)

    async def test_lists_by_limit_and_offset_where_the_service_does(self, litter):
        kennel = KennelRepository(litter._client)

        assert [record async for record in kennel.list()] == LITTER
        assert [record async for record in kennel.list(offset=20, limit=3)] == LITTER[20:23]

    async def test_fails_to_list_by_limit_and_offset_where_the_service_ignores_them(self, litter):
        # Its resources know page numbers alone: to such a question they answer with their first page for ever.
        with pytest.raises(InvalidResponseError, match="repeats"):
            [record async for record in litter.list(pagination="limit_offset")]

    async def test_counts_and_finds_the_first(self, litter):
        assert await litter.count() == 25
        assert await litter.exists(name="puppy 07")
        assert not await litter.exists(name="nobody")
        assert await litter.first(order_by="-name") == LITTER[-1]

    @pytest.mark.parametrize(
        "conditions",
        [
            (F.age >= 3,),
            (F.age < 2,),
            (F.age > 1, F.age <= 3),
            (F.age == 4,),
            (F.age != 4,),
            (F.age.in_([1, 4]),),
            (~F.age.in_([1, 4]),),
            (F.age.is_(None),),
            (~F.age.is_(None),),
            (F.name.startswith("puppy 1"),),
            (F.name.endswith("5"), F.age.is_(None)),
            (F.name.contains("y 0"),),
            (F.name == "puppy 07",),
        ],
        ids=str,
    )
    async def test_filters_in_the_words_of_both(self, litter, conditions):
        found = [record async for record in litter.list(*conditions)]

        assert found == [record for record in LITTER if all(each.matches(record) for each in conditions)]
        assert found

    async def test_orders_by_one_field(self, litter):
        rising = [record["name"] async for record in litter.list(order_by="name")]
        falling = [record["name"] async for record in litter.list(order_by="-name")]
        said = [record["name"] async for record in litter.list(order_by="name", order_direction="desc")]

        assert rising == falling[::-1] == said[::-1] == [record["name"] for record in LITTER]

    async def test_replaces_the_whole_and_a_part(self, litter):
        part = [{**LITTER[1], "age": 9}, {"id": 30, "name": "Coco", "age": None}]

        assert by_id(await litter.partial_replace(part)) == part
        assert await litter.retrieve(2) == part[0]
        assert await litter.count() == 26
        assert await litter.replace([COCO]) == [COCO]
        assert [record async for record in litter.list()] == [COCO]

    async def test_is_refused_what_the_service_does_not_know_and_nothing_is_done(self, litter):
        for call in (litter.get_or_create({"name": "Coco"}, on="name"), litter.upsert(COCO)):
            with pytest.raises(ResourceException):
                await call

        assert [record async for record in litter.list()] == LITTER

    async def test_drops_all_and_tells_that_the_service_does_not_tell_how_many(self, litter):
        # It answers 204, whose body can't come over a socket.
        with pytest.raises(InvalidResponseError):
            await litter.drop()

        assert await litter.count() == 0


class TestItsRepositoryOfOurService:
    async def test_stores_and_finds_a_record(self, ours):
        assert ours("create", {"name": "Coco", "age": 3}) == COCO
        assert ours("retrieve", 1) == COCO

    async def test_replaces_changes_and_deletes_a_record(self, ours, refused):
        ours("create", COCO)

        assert ours("update", 1, {"name": "Bella"}) == {"id": 1, "name": "Bella", "age": None}
        assert ours("partial_update", 1, {"age": 7}) == {"id": 1, "name": "Bella", "age": 7}
        assert ours("delete", 1) is None
        with refused("NotFoundError"):
            ours("retrieve", 1)

    async def test_sends_a_record_back_with_its_id_which_that_of_the_path_outdoes(self, ours):
        record = ours("create", COCO)

        assert ours("update", 1, {**record, "age": 4}) == {**COCO, "age": 4}
        assert ours("partial_update", 1, {**record, "id": 9, "age": 5}) == {**COCO, "age": 5}

    async def test_is_refused_what_no_record_has_though_it_knows_no_such_error(self, ours, refused):
        ours("create", COCO)

        for method, args in {"create": ({"nmae": "x"},), "partial_update": (1, {"nmae": "x"})}.items():
            with refused("HTTPStatusError"):
                ours(method, *args)
        assert ours("list") == [COCO]

    @pytest.mark.parametrize(
        ("method", "args"),
        [("retrieve", ()), ("update", ({"name": "x"},)), ("partial_update", ({"name": "x"},)), ("delete", ())],
    )
    async def test_tells_that_a_record_is_missing(self, ours, refused, method, args):
        with refused("NotFoundError"):
            ours(method, 7, *args)

    async def test_tells_that_a_constraint_is_broken(self, ours, refused):
        ours("replace", LITTER)

        for method, args in {
            "create": ({"name": "puppy 01"},),
            "update": (2, {"name": "puppy 01"}),
            "partial_update": (2, {"name": "puppy 01"}),
            "replace": ([COCO, {"id": 2, "name": "Coco"}],),
            "partial_replace": ([{"id": 2, "name": "puppy 01"}],),
        }.items():
            with refused("IntegrityError"):
                ours(method, *args)
        assert ours("list") == LITTER

    @pytest.mark.parametrize("pagination", ["page_number", "limit_offset"])
    @pytest.mark.parametrize("count", [0, 9, 10, 25])
    async def test_lists_everything_and_ends(self, ours, pagination, count):
        ours("replace", LITTER[:count])

        assert ours("list", pagination=pagination) == LITTER[:count]

    async def test_does_not_end_at_its_own_service(self, package, package_url, litter):
        # Why ours takes page_number for another name of page.
        found = package(package_url, "list", enough=30)

        assert found == [*LITTER[:10], *LITTER[:10], *LITTER[:10]]

    async def test_replaces_the_whole_and_a_part(self, ours):
        ours("replace", LITTER)
        part = [{**LITTER[1], "age": 9}, {"id": 30, "name": "Coco", "age": None}]

        assert ours("partial_replace", part) == part
        assert ours("retrieve", 2) == part[0]
        assert ours("replace", [COCO]) == [COCO]
        assert ours("list") == [COCO]

    async def test_drops_all_and_tells_how_many(self, ours):
        ours("replace", LITTER)

        assert ours("drop") == 25
        assert ours("list") == []


class TestBothServices:
    @pytest.mark.parametrize(
        "query",
        [
            "page=2&page_size=7",
            "page=3&count=true",
            "page=9",
            "order_by=name&order_direction=desc",
            "order_by=id&order_direction=desc&page=2",
            "age=gte:3",
            "age=4",
            "age=not:4",
            "age=gt:1&age=lt:4",
            "age=in:1&age=in:4",
            "age=not:in:1&age=not:in:2",
            "age=isnull",
            "age=not:isnull",
            "name=icontains:PUPPY%201",
            "name=istartswith:PUPPY%202&age=lte:3",
            "name=iendswith:5",
            "name=like:puppy%20_7",
            "name=eq:puppy%2007",
            "name=nobody",
        ],
    )
    async def test_answer_a_query_alike(self, litter, package_url, our_url, query):
        async with httpx.AsyncClient() as client:
            await client.put(f"{our_url}/puppy/", json=LITTER)
            theirs, ours = [
                (await client.get(f"{url}/puppy/?{query}")).raise_for_status().json() for url in (package_url, our_url)
            ]

        assert ours["data"] == theirs["data"]
        assert ours["meta"].items() >= theirs["meta"].items()

    @pytest.mark.parametrize("query", ["age=gte:old", "age=isnull:1", "page=two", "age=gte:"])
    async def test_refuse_a_query_alike(self, package_url, our_url, query):
        async with httpx.AsyncClient() as client:
            statuses = {(await client.get(f"{url}/puppy/?{query}")).status_code for url in (package_url, our_url)}

        assert statuses == {400}
