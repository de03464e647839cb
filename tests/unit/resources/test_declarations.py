"""What a class of a resource can say, and what is wrong with it said when it is defined."""

import typing as t

import pydantic
import pytest
import sqlalchemy as sa

from flama import Flama, exceptions, types
from flama.client import Client
from flama.ddd import F, HTTPResourceRepository, MemoryRepository
from flama.http import JSONResponse
from flama.resources import CRUDResource, Resource, ResourceRoute, RESTResource, resource_method
from flama.sqlalchemy import SQLAlchemyModule
from tests.unit.resources.conftest import PuppyWorker, Toys, metadata, puppy

pytestmark = pytest.mark.anyio


class Name(pydantic.BaseModel):
    name: str


async def served(resource, path="/puppy/", **options):
    app = Flama(modules=[SQLAlchemyModule("sqlite+aiosqlite:///")], **options)
    app.resources.add_resource(path, resource)

    @app.on_event("startup")
    async def create():
        async with app.sqlalchemy.engine.begin() as connection:
            await connection.run_sync(metadata.create_all)

    return Client(app=app)


def table(*columns):
    return sa.Table("t", sa.MetaData(), *columns)


@pytest.mark.parametrize(
    ("error", "attributes", "message"),
    [
        (exceptions.ResourceAttributeNotFound, {}, "has neither a 'model' nor a 'repository'"),
        (exceptions.ResourceModelInvalid, {"model": "puppy"}, "'puppy', which is no sqlalchemy.Table"),
        (exceptions.ResourcePrimaryKeyNotFound, {"model": table(sa.Column("a", sa.Integer))}, "'t' has no primary key"),
        (
            exceptions.ResourcePrimaryKeyInvalid,
            {"model": table(*(sa.Column(name, sa.Integer, primary_key=True) for name in "ab"))},
            r"is a Integer\(\), b Integer\(\): it must be one",
        ),
        (
            exceptions.ResourcePrimaryKeyInvalid,
            {"model": table(sa.Column("a", sa.LargeBinary, primary_key=True))},
            "it must be one integer, string, date, datetime or UUID",
        ),
        (exceptions.ResourceNameInvalid, {"model": puppy, "name": "a b"}, "has the name 'a b'"),
        (exceptions.ResourceFilterInvalid, {"model": puppy, "filters": ("nope",)}, r"\['nope'\]: there are id, name"),
        (
            exceptions.ResourceFilterInvalid,
            {"model": puppy, "filters": {"age": ("eq", "like")}},
            r"age with \['like'\]: it has eq, gt, gte",
        ),
        (exceptions.ResourceFilterInvalid, {"model": puppy, "ordering": ("nope",)}, r"is ordered by \['nope'\]"),
        (exceptions.ResourceFilterInvalid, {"model": puppy, "order_by": "-nope"}, r"is ordered by \['nope'\]"),
        (exceptions.ResourceAttributeNotFound, {"model": puppy, "without": ("lst",)}, r"is without \['lst'\]"),
    ],
)
def test_what_cannot_be_served_is_refused_when_the_class_is_defined(error, attributes, message):
    with pytest.raises(error, match=message) as raised:
        type("Wrong", (CRUDResource,), attributes)

    assert isinstance(raised.value, exceptions.ResourceError)
    assert str(raised.value).startswith("Wrong")


def test_what_has_neither_schema_nor_table_is_refused():
    class Repository:
        async def retrieve(self, id): ...

    with pytest.raises(exceptions.ResourceSchemaNotFound, match="no 'schema', nor 'input_schema'"):
        type("Wrong", (CRUDResource,), {"repository": Repository, "input_schema": Name})


def test_answers_are_kept_by_key_beside_a_table_alone():
    class Repository:
        async def retrieve(self, id): ...

    with pytest.raises(exceptions.ResourceAttributeNotFound, match="needs a repository of a table"):
        type("Wrong", (CRUDResource,), {"repository": Repository, "schema": Name, "idempotency": True})


def test_a_base_of_resources_need_not_be_one():
    class Base(CRUDResource, abstract=True):
        max_page_size = 3

    class Puppy(Base):
        model = puppy

    assert Puppy.max_page_size == 3


def test_a_resource_is_called_what_its_class_is_unless_it_says():
    class Puppy(RESTResource):
        model = puppy

    class Other(RESTResource):
        model = puppy
        name = "dog"
        verbose_name = "Dogs"

    assert (Puppy.name, Puppy.verbose_name) == ("puppy", "Puppy")
    assert (Other.name, Other.verbose_name) == ("dog", "Dogs")


def test_errors_call_its_records_as_its_repository_does():
    class Remote(HTTPResourceRepository):
        _resource = "https://kennel.example/api/puppy/"

    class Kept(MemoryRepository):
        _key = "id"

    class Written:
        async def retrieve(self, id): ...

    class Named(Remote):
        _name = "dog"

    repositories = {"puppy": Remote, "Kept": Kept, "whelp": Written, "dog": Named}
    called = {
        name: type("Whelp", (CRUDResource,), {"repository": repository, "schema": Name}).spec.error_name
        for name, repository in repositories.items()
    }

    assert called == {name: name for name in repositories}
    assert type("Whelp", (CRUDResource,), {"model": puppy}).spec.error_name == "puppy"


async def test_all_errors_of_a_resource_call_its_records_alike():
    class Whelp(CRUDResource):
        model = puppy

    async with await served(Whelp, "/litter/") as client:
        litter = HTTPResourceRepository.of(Whelp, "/litter")(client)
        await litter.create({"name": "a"}, {"name": "b"})
        errors = []
        for call in (
            litter.create({"name": "a"}),  # the table's
            litter.retrieve(7),
            litter.count(nope=1),  # the resource's
            litter.first(order_by="nope"),
            litter.upsert({"name": "a"}, on="nope"),
            litter.create({"name": 7}),
            litter.retrieve(F.id > 0),  # the repository's over HTTP
            litter.retrieve(name="c"),
            litter.create({"name": object()}),
        ):
            with pytest.raises(exceptions.ResourceException) as caught:
                await call
            errors.append(caught.value)

    assert [error.resource for error in errors] == ["puppy"] * 9


async def test_a_method_serves_instead_of_the_operation_of_its_name():
    class Puppy(CRUDResource):
        model = puppy
        without = ("drop", "drop_where")

        async def create(self, data: t.Annotated[types.Schema, types.SchemaMetadata(Name)]):
            return JSONResponse({"own": data["name"], "called": self.verbose_name}, 201)

        @ResourceRoute.method("/{resource_id}/bark/", methods=["POST"], name="bark")
        async def bark(self, resource_id: int) -> str:
            return f"{resource_id} barks"

        @ResourceRoute.method("/", methods=["GET"], pagination="limit_offset")
        async def list(self):
            return [{"n": n} for n in range(3)]

    async with await served(Puppy) as client:
        created = await client.post("/puppy/", json={"name": "x"})
        barked = await client.post("/puppy/7/bark/")
        listed = await client.get("/puppy/", params={"limit": 2})
        dropped = [await client.delete("/puppy/"), await client.post("/puppy/:drop/")]
        url = client.app.resolve_url("puppy:bark", resource_id=7)

    assert (created.status_code, created.json()) == (201, {"own": "x", "called": "Puppy"})
    assert barked.json() == "7 barks"
    assert listed.json()["data"] == [{"n": 0}, {"n": 1}]
    assert [response.status_code for response in dropped] == [405, 405]
    assert url == "/puppy/7/bark/"


async def test_a_method_may_be_decorated_by_the_older_name():
    with pytest.warns(DeprecationWarning, match=r"called ResourceRoute\.method") as warned:

        class Hello(Resource):
            @resource_method("/", name="hi")
            def hi(self) -> str:
                return self._meta.name

    app = Flama()
    app.resources.add_resource("/hello/", Hello)
    async with Client(app=app) as client:
        assert (await client.get("/hello/")).json() == "hello"
    assert warned[0].filename == __file__


async def test_the_application_decorates_resources_and_their_methods():
    app = Flama()

    @app.resources.resource("/hello/")
    class Hello(Resource):
        @app.resources.method("/", name="hi")
        def hi(self) -> str:
            return "hi"

    async with Client(app=app) as client:
        assert (await client.get("/hello/")).json() == "hi"
    assert app.resolve_url("hello:hi") == "/hello/"


async def test_schemas_of_its_own_say_what_is_taken_and_answered():
    class Answer(pydantic.BaseModel):
        id: int
        name: str

    class Puppy(CRUDResource):
        model = puppy
        input_schema = Name
        output_schema = Answer

    async with await served(Puppy) as client:
        created = await client.post("/puppy/", json={"name": "Bella"})
        refused = await client.post("/puppy/", json={"name": "Coco", "age": 3})
        hidden = await client.get("/puppy/", params={"age": "3"})

    assert created.json() == {"id": 1, "name": "Bella"}
    assert (refused.status_code, refused.json()["names"], refused.json()["columns"]) == (422, ["age"], ["name"])
    assert (hidden.status_code, hidden.json()["columns"]) == (422, ["id", "name"])


async def test_filters_and_orders_are_those_that_are_granted():
    class Puppy(CRUDResource):
        model = puppy
        filters = {"age": ("eq", "gte")}
        ordering = ("name",)
        order_by = "-name"
        max_page_size = 2

    async with await served(Puppy) as client:
        await client.post("/puppy/", json=[{"name": name, "age": 3} for name in "bca"])
        queries = [
            "age=gte:3",
            "age=3",
            "age=lt:3",
            "name=a",
            'filter=["name","isnull"]',
            "order_by=age",
            "page_size=9",
        ]
        responses = [await client.get(f"/puppy/?{query}") for query in queries]

    assert [response.status_code for response in responses] == [200, 200, 400, 422, 422, 422, 200]
    assert [record["name"] for record in responses[-1].json()["data"]] == ["c", "b"]


async def test_changes_without_a_precondition_are_refused_where_one_is_required():
    class Puppy(CRUDResource):
        model = puppy
        preconditions = True

    async with await served(Puppy) as client:
        created = await client.post("/puppy/", json={"name": "a"})
        refused = [await client.patch("/puppy/1/", json={"age": 1}), await client.delete("/puppy/1/")]
        read = await client.get("/puppy/1/")
        changed = await client.patch("/puppy/1/", json={"age": 1}, headers={"if-match": created.headers["etag"]})

    assert [response.status_code for response in refused] == [428, 428]
    assert (read.status_code, changed.status_code) == (200, 200)


async def test_keys_are_not_kept_unless_it_is_said():
    class Puppy(CRUDResource):
        model = puppy

    async with await served(Puppy) as client:
        key = {"idempotency-key": "k"}
        responses = [await client.post("/puppy/", json={"name": name}, headers=key) for name in "ab"]

    assert [response.json()["name"] for response in responses] == ["a", "b"]


async def test_a_worker_without_the_repository_is_refused():
    class Toy(CRUDResource):
        model = puppy
        worker = PuppyWorker

    with pytest.raises(exceptions.ResourceAttributeNotFound, match="no worker has the repository ToyRepository"):
        Flama().resources.add_resource("/toy/", Toy)


async def test_a_page_costs_one_statement_of_no_more_rows_than_it_has_and_one():
    class Puppy(CRUDResource):
        model = puppy

    read = []
    async with await served(Puppy) as client:
        await client.post("/puppy/", json=[{"name": f"{n:03}"} for n in range(300)])
        first = (await client.get("/puppy/", params={"cursor": ""})).json()
        sa.event.listen(
            client.app.sqlalchemy.engine.sync_engine,
            "before_cursor_execute",
            lambda *args: read.append((args[2], args[3])),
        )
        await client.get("/puppy/", params={"cursor": first["meta"]["next"]})
        await client.get("/puppy/", params={"page": 20})

    assert len(read) == 2
    assert all("LIMIT" in statement and 11 in parameters for statement, parameters in read)
    assert "WHERE puppy.id > ?" in read[0][0]  # goes on from a place, however many records are before it


def test_the_repository_is_that_of_the_table_unless_it_says():
    class Toy(CRUDResource):
        repository = Toys

    class Puppy(CRUDResource):
        model = puppy

    assert Toy.spec.repository is Toys
    assert Puppy.spec.repository._table is puppy
