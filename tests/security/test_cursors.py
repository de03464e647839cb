"""Cursors: what they reveal of the records that they are positions among, and who can make one."""

import base64
import typing as t

import msgspec
import pydantic
import pytest
import sqlalchemy as sa

from flama import Flama, exceptions, types
from flama.client import ASGITransport, Client
from flama.ddd import F, WorkerComponent
from flama.ddd.repositories.http import HTTPResourceRepository
from flama.ddd.repositories.memory import MemoryRepository
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.http import HTTPWorker
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.query import Condition
from flama.resources import CRUDResource
from flama.rest import cursors, value_codecs
from flama.sqlalchemy import SQLAlchemyModule

pytestmark = pytest.mark.anyio

SECRET = "0123456789abcdef0123456789abcdef"
OTHER = b"another secret of the application"

metadata = sa.MetaData()
people = sa.Table(
    "person",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(20), nullable=False),
    sa.Column("vat", sa.String(40), nullable=False),
)
ROWS = [{"id": n, "name": f"n{n}", "vat": f"VAT-{n:03}"} for n in range(1, 8)]


class People(SQLAlchemyTableRepository):
    _table = people


class PeopleWorker(SQLAlchemyWorker):
    person: People


class Shown(pydantic.BaseModel):
    id: int
    name: str


class Nameless(pydantic.BaseModel):
    name: str


class Excluding(Shown):
    vat: str = pydantic.Field(exclude=True)


class Masking(Shown):
    vat: pydantic.SecretStr


class Struct(msgspec.Struct):
    id: int
    name: str


class Aliased(pydantic.BaseModel):
    id: int
    tax: str = pydantic.Field(validation_alias="vat", serialization_alias="taxNumber")


Dictionaries = t.Annotated[types.SchemaList, types.SchemaMetadata(Shown)]


def app_of(returned=list[Shown], order_by="vat", app=None, **options):
    app = app or Flama(modules=[SQLAlchemyModule("sqlite+aiosqlite://")], **options)
    app.add_component(WorkerComponent(PeopleWorker()))

    async def people_by_number(worker: PeopleWorker):
        async with worker:
            yield worker.person.list(order_by=order_by)

    people_by_number.__annotations__["return"] = returned
    app.add_get("/", people_by_number, pagination="cursor")
    return app


async def fill(app):
    async with app.sqlalchemy.engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
        await connection.execute(sa.insert(people), ROWS)


async def walked(client, **query):
    found, cursor, all_cursors = [], "", []
    while cursor is not None:
        page = (await client.get("/", params={"limit": 3, "cursor": cursor, **query})).json()
        found += page["data"]
        cursor = page["meta"]["next"]
        all_cursors += [each for each in (cursor, page["meta"]["previous"]) if each]
    return found, all_cursors


def opened(cursor):
    return base64.urlsafe_b64decode(cursor + "==")


@pytest.mark.parametrize(
    "returned", [list[Shown], list[Struct], list[Excluding], list[Masking], Dictionaries], ids=repr
)
async def test_without_a_secret_a_page_in_the_order_of_what_isnt_answered_is_an_error(returned, caplog):
    async with Client(app=(app := app_of(returned))) as client:
        await fill(app)
        response = await client.get("/", params={"limit": 3})

    assert response.status_code == 500
    assert "vat" not in response.text
    assert all(part in caplog.text for part in ("'people_by_number'", "'vat'", "secret="))


async def test_without_an_annotation_records_are_answered_as_their_class_has_it(caplog):
    class Typed(SQLAlchemyTableRepository[Excluding]):
        _table = people

    class TypedWorker(SQLAlchemyWorker):
        person: Typed

    app = Flama(modules=[SQLAlchemyModule("sqlite+aiosqlite://")], components=[WorkerComponent(TypedWorker())])

    @app.get("/", pagination="cursor")
    async def typed(worker: TypedWorker):
        async with worker:
            yield worker.person.list(order_by="vat")

    async with Client(app=app) as client:
        await fill(app)
        response = await client.get("/", params={"limit": 3})

    assert response.status_code == 500
    assert "without 'vat'" in caplog.text


async def test_the_key_that_breaks_ties_is_a_field_of_the_order(caplog):
    async with Client(app=(app := app_of(list[Nameless], "name"))) as client:
        await fill(app)
        response = await client.get("/")

    assert response.status_code == 500
    assert "without 'id'" in caplog.text


@pytest.mark.parametrize(
    ("returned", "order_by"),
    [(list[Shown], "name"), (list[Aliased], "vat"), (t.Any, "vat"), (list[dict], "vat"), (list[Shown] | None, "name")],
    ids=repr,
)
async def test_without_a_secret_pages_are_in_the_order_of_what_is_answered(returned, order_by):
    async with Client(app=(app := app_of(returned, order_by))) as client:
        await fill(app)
        found, _ = await walked(client)

    assert [each["id"] for each in found] == [row["id"] for row in ROWS]


async def test_a_gateway_reveals_no_more_by_the_cursors_of_its_service(caplog):
    class Person(CRUDResource):
        model = people

    class Remote(HTTPResourceRepository):
        _resource = "/person"
        _pagination = "cursor"

    class Kept(HTTPWorker):
        person: Remote

    service = Flama(modules=[SQLAlchemyModule("sqlite+aiosqlite://")])
    service.resources.add_resource("/person/", Person)
    responses = []
    async with Client(app=service):
        await fill(service)
        for secret in (None, SECRET):
            app = Flama(secret=secret)
            app.add_component(WorkerComponent(Kept("http://service", transport=ASGITransport(app=service))))

            @app.get("/", pagination="cursor")
            async def narrowed(worker: Kept) -> list[Shown]:
                async with worker:
                    yield worker.person.list(order_by="vat")

            async with Client(app=app) as client:
                responses.append(await client.get("/", params={"limit": 3}))

    assert [response.status_code for response in responses] == [500, 200]
    assert "without 'vat'" in caplog.text
    assert b"VAT" not in opened(responses[1].json()["meta"]["next"])


@pytest.mark.parametrize("secret", [SECRET, SECRET.encode(), [SECRET, OTHER], (OTHER,)], ids=repr)
async def test_with_a_secret_no_cursor_reveals_what_isnt_answered(secret):
    async with Client(app=(app := app_of(secret=secret))) as client:
        await fill(app)
        found, all_cursors = await walked(client)

    assert [each["id"] for each in found] == [row["id"] for row in ROWS]
    assert len(all_cursors) == 4
    assert not any(b"VAT" in opened(cursor) for cursor in all_cursors)


async def test_the_length_of_a_cursor_says_nothing_of_a_short_value():
    codec = cursors.codec(SECRET)

    lengths = {len(codec.encode(cursors.CursorPosition(("x" * n, 7)), "")) for n in range(40)}

    assert len(lengths) == 1


async def test_two_cursors_of_one_place_are_different_texts():
    codec = cursors.codec(SECRET)

    assert codec.encode(cursors.CursorPosition((1,)), "") != codec.encode(cursors.CursorPosition((1,)), "")


def forged(position, binding=""):
    """What anybody can make who has read the source: the cursor of an application without a secret."""
    return cursors.codec(None).encode(cursors.CursorPosition(position), binding)


async def test_a_cursor_that_the_application_didnt_make_is_refused():
    async with Client(app=(app := app_of(secret=SECRET))) as client:
        await fill(app)
        (_, [cursor, *_]), whole = await walked(client), opened
        cut = base64.urlsafe_b64encode(whole(cursor)[:-1]).decode().rstrip("=")
        flipped = [
            base64.urlsafe_b64encode(bytes(byte ^ (i == n) for i, byte in enumerate(whole(cursor))))
            .decode()
            .rstrip("=")
            for n in range(len(whole(cursor)))
        ]
        wrong = [cut, *flipped, forged(("VAT-003", 3)), "x", "AAAA", "=" * 9, cursor * 2, "é", "A" * 20_000]
        answers = [await client.get("/", params={"cursor": each}) for each in wrong]

    assert {response.status_code for response in answers} == {400}
    assert all("leave it empty to begin anew" in response.text for response in answers)


async def test_the_cursor_of_another_secret_is_refused_until_that_is_one_of_ours():
    one, other, both = (app_of(secret=secret) for secret in (SECRET, OTHER, [OTHER, SECRET]))
    async with Client(app=one) as client:
        await fill(one)
        _, [cursor, *_] = await walked(client)
    statuses = []
    for app in (other, both):
        async with Client(app=app) as client:
            await fill(app)
            response = await client.get("/", params={"cursor": cursor, "limit": 3})
            statuses.append(response.status_code)

    assert statuses == [400, 200]
    assert [each["id"] for each in response.json()["data"]] == [4, 5, 6]


@pytest.mark.parametrize("secret", [None, SECRET], ids=["open", "encrypted"])
def test_a_cursor_is_bound_to_query_and_scope_of_the_caller(secret):
    codec, place = cursors.codec(secret), cursors.CursorPosition((7, None), backward=True)
    readers = [value_codecs.decoder_for(int), value_codecs.decoder_for(str)]
    made = cursors.QueryCursors(codec, "/a/", "acme", [("age", "1")]).encode(place, "order")

    def read(path="/a/", caller="acme", query=(("age", "1"),), order="order"):
        return cursors.QueryCursors(codec, path, caller, list(query)).decode(made, readers, order)

    assert read() == place
    for others in ({"path": "/b/"}, {"caller": "bolt"}, {"caller": ""}, {"query": ()}, {"order": "other"}):
        with pytest.raises(cursors.InvalidCursorError):
            read(**others)


async def test_a_cursor_of_one_resource_is_none_of_another():
    rows = [{"id": n, "name": f"n{n}"} for n in range(1, 5)]

    class Dogs(MemoryRepository):
        _table = sa.Table(
            "dog", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(9))
        )

    class Dog(CRUDResource):
        repository = Dogs

    app = Flama(secret=SECRET)
    app.resources.add_resource("/dog/", Dog)
    app.resources.add_resource("/cat/", Dog)
    async with Client(app=app) as client:
        await client.post("/dog/", json=rows)
        cursor = (await client.get("/dog/?cursor=&limit=2")).json()["meta"]["next"]
        statuses = [
            (await client.get(f"/{kind}/?limit=2", params={"cursor": cursor})).status_code for kind in ("dog", "cat")
        ]

    assert statuses == [200, 400]


async def test_a_mounted_application_has_its_own_secret_or_that_of_the_one_around_it():
    assert Flama(secret=SECRET)._cursors.is_secret
    assert not Flama()._cursors.is_secret
    outer, inner = Flama(secret=SECRET), Flama()
    own = Flama(secret=OTHER)
    outer.mount("/inner", inner)
    outer.mount("/own", own)
    async with Client(app=outer):
        assert inner._cursors is outer._cursors
        assert own._cursors is not outer._cursors


@pytest.mark.parametrize(
    "secret",
    ["", "short", b"short", "é" * 15, [], [SECRET, "short"], [""], 7, [7], {SECRET: 1}],
    ids=repr,
)
def test_a_secret_that_is_none_fails_at_start_up_and_isnt_shown(secret):
    with pytest.raises(exceptions.ApplicationError, match="token_urlsafe") as raised:
        Flama(secret=secret)

    assert "short" not in str(raised.value)


def test_a_secret_isnt_shown_by_the_application():
    app = Flama(secret=SECRET)

    assert SECRET not in repr(vars(app))
    assert SECRET not in repr(vars(app._cursors))


def test_without_the_package_a_secret_fails_at_start_up(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cryptography.hazmat.primitives.ciphers.aead", None)

    with pytest.raises(exceptions.DependencyNotInstalled, match=r"flama-data\[secrets\]"):
        Flama(secret=SECRET)


class ExcludingAll(pydantic.BaseModel):
    id: int
    name: str
    vat: str = pydantic.Field(default="", exclude=True)


async def test_what_a_resources_schema_excludes_is_nothing_to_filter_or_order_by():
    class Person(CRUDResource):
        model = people
        schema = ExcludingAll

    assert "vat" not in Person.spec.ordering
    assert "vat" not in Person.spec.filters

    with pytest.raises(exceptions.ResourceFilterInvalid, match="vat"):

        class ByNumber(CRUDResource):
            model = people
            schema = ExcludingAll
            order_by = "vat"


def test_a_list_of_a_resource_whose_key_isnt_answered_fails_at_definition():
    with pytest.raises(exceptions.ResourceFilterInvalid, match=r"'id'.*cursor"):

        class Person(CRUDResource):
            model = people
            input_schema = Shown
            output_schema = Nameless

    class Unlisted(CRUDResource):
        model = people
        input_schema = Shown
        output_schema = Nameless
        without = ("list",)

    assert Unlisted


class TestScopes:
    """A cursor of one caller's records is none of another's."""

    async def test_of_a_resource_and_of_a_handler(self, tmp_path):
        def named(name: t.Annotated[str, types.Header()]) -> Condition:
            return F.name.in_([name, "both"])

        class Served(CRUDResource):
            model = people
            repository = People
            worker = PeopleWorker

        module = SQLAlchemyModule(f"sqlite+aiosqlite:///{tmp_path}/people.sqlite")
        app = Flama(modules=[module], components=[WorkerComponent(PeopleWorker(), scope=named)], secret=SECRET)
        app.resources.add_resource("/served/", Served)

        @app.route("/handled/")
        @app.paginator.paginated("cursor")
        async def handled(worker: PeopleWorker) -> t.AsyncIterator[Shown]:
            async with worker:
                yield worker.person.list(order_by="id")

        async with Client(app=app) as client:
            async with module.engine.begin() as connection:
                await connection.run_sync(metadata.create_all)
                await connection.execute(sa.insert(people), [{**row, "name": "both"} for row in ROWS])
            for path in ("/served/", "/handled/"):
                query = {"limit": "2", "cursor": ""}
                first = await client.get(path, params=query, headers={"name": "ann"})
                assert first.status_code == 200, first.text
                query["cursor"] = first.json()["meta"]["next"]
                again = await client.get(path, params=query, headers={"name": "ann"})
                other = await client.get(path, params=query, headers={"name": "bob"})

                assert [row["id"] for row in again.json()["data"]] == [3, 4]
                assert other.status_code == 400
