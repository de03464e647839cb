"""Scopes that come from the request: no operation reads, changes, counts or refers to another tenant's records."""

import collections.abc
import contextlib
import typing as t

import pytest
import sqlalchemy as sa

from flama import Flama, exceptions, types
from flama.client import Client
from flama.ddd import F, HTTPResourceRepository, MemoryRepository, MemoryWorker, Remote, Worker, WorkerComponent
from flama.ddd.repositories.sqlalchemy import SQLAlchemyRepository, SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.pagination import paginator
from flama.resources import CRUDResource, ResourceRoute
from flama.rest.operations import OPERATIONS
from flama.sqlalchemy import SQLAlchemyModule
from flama.types import Principal
from tests.support.schemas import tables

pytestmark = pytest.mark.anyio

metadata = sa.MetaData()
customer_table = sa.Table(
    "scoped_customer",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("tenant", sa.String(20), nullable=False),
    sa.Column("name", sa.String(20)),
    sa.UniqueConstraint("tenant", "id"),
)
order_table = sa.Table(
    "scoped_order",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("tenant", sa.String(20), nullable=False),
    sa.Column("note", sa.String(40)),
    sa.Column("customer_id", sa.ForeignKey("scoped_customer.id")),
    sa.Column("parent_id", sa.ForeignKey("scoped_order.id")),
    sa.UniqueConstraint("tenant", "note"),
)
country_table = sa.Table("scoped_country", metadata, sa.Column("id", sa.Integer, primary_key=True))

CUSTOMERS = [{"id": 1, "tenant": "acme", "name": "own"}, {"id": 2, "tenant": "bolt", "name": "s3cret"}]
ORDERS = [
    {"id": 1, "tenant": "acme", "note": "own", "customer_id": 1, "parent_id": None},
    {"id": 2, "tenant": "bolt", "note": "s3cret", "customer_id": 2, "parent_id": None},
    {"id": 3, "tenant": "acme", "note": "second", "customer_id": None, "parent_id": 1},
]


class CustomerRepository(SQLAlchemyTableRepository):
    _table = customer_table


class OrderRepository(SQLAlchemyTableRepository):
    _table = order_table


class CountryRepository(SQLAlchemyTableRepository):
    _table = country_table


class ShopWorker(SQLAlchemyWorker):
    customers: CustomerRepository
    orders: OrderRepository


class MixedShopWorker(Worker):
    customers: CustomerRepository
    orders: OrderRepository


class User(t.NamedTuple):
    id: str
    tenant: str | None


def current_user(authorization: t.Annotated[str | None, types.Header()]) -> User | None:
    return (
        None if authorization is None else User(authorization, None if authorization == "homeless" else authorization)
    )


async def tenant(user: Principal):
    return None if user.tenant is None else F.tenant == user.tenant


class Orders(CRUDResource):
    repository = OrderRepository
    idempotency = True


class ScopedOrders(CRUDResource):
    name = "orders"
    repository = OrderRepository
    scope = tenant


class Customers(CRUDResource):
    repository = CustomerRepository


class Shop(t.NamedTuple):
    client: Client
    worker: t.Any
    app: Flama

    async def call(
        self, method: str, path: str, json: t.Any = None, caller: str | None = "acme", **headers: str
    ) -> t.Any:
        told = {"content-type": "application/json", **({} if caller is None else {"authorization": caller})}
        return await self.client.request(method, path, json=json, headers={**told, **headers})

    async def stored(self, repository: str = "orders") -> list[t.Any]:
        """Return all records there are, whoever's they are."""
        async with self.worker.bound(self.app) as unit:
            return [record async for record in getattr(unit, repository).list(order_by="id")]

    async def others(self) -> list[t.Any]:
        return [
            record
            for name in ("customers", "orders")
            for record in await self.stored(name)
            if record["tenant"] != "acme"
        ]


BACKENDS = ("sqlite", "postgresql", "mariadb", "memory", "mixed")
URLS = {"postgresql": "postgres_url", "mariadb": "mariadb_url"}


class Backend(t.NamedTuple):
    name: str
    url: str


SQLITE = Backend("sqlite", "sqlite+aiosqlite://")


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    name = request.param
    return Backend(name, request.getfixturevalue(URLS[name]) if name in URLS else "sqlite+aiosqlite://")


@contextlib.asynccontextmanager
async def shop(backend: Backend, declared: str) -> collections.abc.AsyncGenerator[Shop]:
    kinds: dict[str, t.Any] = {"memory": MemoryWorker.of(ShopWorker), "mixed": MixedShopWorker}
    worker = kinds.get(backend.name, ShopWorker)()
    module = SQLAlchemyModule(backend.url)
    app = Flama(
        principal=current_user,
        modules=[module],
        components=[WorkerComponent(worker, scope=tenant if declared == "worker" else None)],
    )
    app.resources.add_resource("/orders/", Orders if declared == "worker" else ScopedOrders)
    app.resources.add_resource("/customers/", Customers)
    async with Client(app=app, raise_app_exceptions=True) as client, tables_of(app, backend):
        made = Shop(client, worker, app)
        async with worker.bound(app) as unit:
            await unit.customers.create(*CUSTOMERS)
            await unit.orders.create(*ORDERS)
        if backend.name == "postgresql":
            await _count_on(app)
        yield made


async def _count_on(app: Flama) -> None:
    async with app.sqlalchemy.engine.begin() as connection:
        for name in ("scoped_customer", "scoped_order"):
            await connection.execute(sa.select(sa.func.setval(sa.func.pg_get_serial_sequence(name, "id"), 100)))


@contextlib.asynccontextmanager
async def tables_of(app: Flama, backend: Backend) -> collections.abc.AsyncGenerator[None]:
    if backend.name == "memory":
        yield
        return
    from flama.resources._idempotency import table as keys

    engine = app.sqlalchemy.engine
    async with tables(engine, customer_table, order_table), tables(engine, keys):
        try:
            yield
        finally:  # MariaDB deletes no record while another refers to it, though that is to go as well
            async with engine.begin() as connection:
                await connection.execute(order_table.update().values(parent_id=None))


REQUESTS: dict[str, tuple[str, str, t.Any]] = {
    "create": ("POST", "/orders/", {"note": "new"}),
    "list": ("GET", "/orders/", None),
    "retrieve": ("GET", "/orders/2/", None),
    "update": ("PUT", "/orders/2/", {"note": "x", "customer_id": None, "parent_id": None}),
    "partial_update": ("PATCH", "/orders/2/", {"note": "x"}),
    "delete": ("DELETE", "/orders/2/", None),
    "replace": ("PUT", "/orders/", [{"id": 7, "note": "x"}]),
    "partial_replace": ("PATCH", "/orders/", [{"id": 7, "note": "x"}]),
    "drop": ("DELETE", "/orders/", None),
    "get_or_create": ("POST", "/orders/:get_or_create/?on=id", {"id": 2, "note": "x"}),
    "upsert": ("POST", "/orders/:upsert/", [{"id": 2, "note": "x"}]),
    "update_where": ("POST", "/orders/:update/?note=like:%25", {"customer_id": None}),
    "drop_where": ("POST", "/orders/:drop/?id=gt:0", None),
}


def test_every_operation_is_asked_for():
    assert {"create_many", *REQUESTS} == set(OPERATIONS) | {"create_many"}


@pytest.mark.parametrize("declared", ["worker", "resource"])
async def test_without_credentials_or_without_a_scope_nothing_is_done(backend, declared):
    async with shop(backend, declared) as made:
        before = await made.stored()

        answers = {
            (name, caller): await made.call(*wanted, caller=caller)
            for name, wanted in {**REQUESTS, "head": ("HEAD", "/orders/", None)}.items()
            for caller in (None, "homeless")
        }

        assert {key: answer.status_code for key, answer in answers.items()} == {
            (name, caller): 401 if caller is None else 403 for name, caller in answers
        }
        assert {
            answer.headers.get("www-authenticate") for (_, caller), answer in answers.items() if caller is None
        } == {"Bearer"}
        assert await made.stored() == before


ATTACKS: dict[str, list[tuple[str, str, t.Any]]] = {
    "create": [
        ("POST", "/orders/", {"note": "x", "tenant": "bolt"}),
        ("POST", "/orders/", [{"note": "x"}, {"note": "y", "tenant": "bolt"}]),
        ("POST", "/orders/", {"id": 2, "note": "x"}),
    ],
    "list": [
        ("GET", "/orders/", None),
        ("GET", "/orders/?tenant=bolt", None),
        ("GET", "/orders/?id=2", None),
        ("GET", "/orders/?tenant=not:eq:acme", None),
        ("GET", '/orders/?filter={"or":[["tenant","eq","bolt"],["id","gt",0]]}', None),
        ("GET", '/orders/?filter={"not":["tenant","eq","acme"]}', None),
        ("GET", "/orders/?order_by=-id&limit=1", None),
        ("GET", "/orders/?page=1&page_size=50&count=true", None),
    ],
    "retrieve": [("GET", "/orders/2/", None), ("HEAD", "/orders/2/", None)],
    "update": [
        ("PUT", "/orders/2/", {"note": "x", "customer_id": None, "parent_id": None}),
        ("PUT", "/orders/1/", {"note": "x", "tenant": "bolt", "customer_id": None, "parent_id": None}),
        ("PUT", "/orders/1/", {"id": 2, "note": "x", "customer_id": None, "parent_id": None}),
    ],
    "partial_update": [
        ("PATCH", "/orders/2/", {"note": "x"}),
        ("PATCH", "/orders/2/", {"tenant": "acme"}),
        ("PATCH", "/orders/1/", {"tenant": "bolt"}),
    ],
    "delete": [("DELETE", "/orders/2/", None)],
    "replace": [
        ("PUT", "/orders/", [{"id": 2, "note": "x"}]),
        ("PUT", "/orders/", [{"id": 7, "note": "x", "tenant": "bolt"}]),
        ("PUT", "/orders/", []),
    ],
    "partial_replace": [
        ("PATCH", "/orders/", [{"id": 2, "note": "x"}]),
        ("PATCH", "/orders/", [{"id": 1, "tenant": "bolt"}]),
    ],
    "drop": [("DELETE", "/orders/", None), ("DELETE", "/orders/?id=2", None)],
    "get_or_create": [
        ("POST", "/orders/:get_or_create/?on=id", {"id": 2, "note": "x"}),
        ("POST", "/orders/:get_or_create/?on=tenant,note", {"tenant": "bolt", "note": "s3cret"}),
    ],
    "upsert": [
        ("POST", "/orders/:upsert/", [{"id": 2, "note": "x"}]),
        ("POST", "/orders/:upsert/?set=tenant", [{"id": 1, "note": "own", "tenant": "bolt"}]),
        ("POST", "/orders/:upsert/?on=tenant,note", [{"tenant": "bolt", "note": "s3cret"}]),
    ],
    "update_where": [
        ("POST", "/orders/:update/?id=2", {"note": "x"}),
        ("POST", "/orders/:update/", {"customer_id": None}),
        ("POST", "/orders/:update/?tenant=bolt", {"tenant": "acme"}),
    ],
    "drop_where": [
        ("POST", "/orders/:drop/?id=2", None),
        ("POST", "/orders/:drop/", None),
        ("POST", "/orders/:drop/?tenant=bolt", None),
    ],
}


@pytest.mark.parametrize("declared", ["worker", "resource"])
async def test_no_operation_reaches_the_records_of_another_tenant(backend, declared):
    assert ATTACKS.keys() == REQUESTS.keys()
    async with shop(backend, declared) as made:
        before = await made.others()

        for attack in (each for attacks in ATTACKS.values() for each in attacks):
            answer = await made.call(*attack)

            assert answer.status_code < 500, attack
            assert "s3cret" not in answer.text.replace(str(attack[2]), ""), attack
            assert await made.others() == before, attack


@pytest.mark.parametrize("declared", ["worker", "resource"])
async def test_what_is_counted_streamed_and_deleted_is_within_the_scope(backend, declared):
    async with shop(backend, declared) as made:
        page = (await made.call("GET", "/orders/?page=1&count=true")).json()
        lines = (await made.call("GET", "/orders/", accept="application/x-ndjson")).text
        changed = await made.call("POST", "/orders/:update/?max_affected=2", {"customer_id": None})
        deleted = await made.call("POST", "/orders/:drop/?max_affected=2&id=3")

        assert (page["meta"]["count"], [each["id"] for each in page["data"]]) == (2, [1, 3])
        assert lines.count("\n") == 2
        assert "s3cret" not in lines
        assert sorted(each["id"] for each in changed.json()) == [1, 3]
        assert deleted.json() == {"deleted": 1}


@pytest.mark.parametrize("declared", ["worker", "resource"])
async def test_a_record_has_what_its_scope_says_without_being_sent_it(backend, declared):
    async with shop(backend, declared) as made:
        created = await made.call("POST", "/orders/", {"note": "new"})
        replaced = await made.call("PUT", f"/orders/{created.json()['id']}/", {"note": "newer"})
        upserted = await made.call("POST", "/orders/:upsert/?on=tenant,note", [{"note": "newer", "tenant": "acme"}])
        all_replaced = await made.call("PUT", "/orders/", [{"id": 9, "note": "only"}])

        assert [each.status_code for each in (created, replaced, upserted, all_replaced)] == [201, 200, 200, 200]
        assert {created.json()["tenant"], replaced.json()["tenant"]} == {"acme"}
        assert [each["tenant"] for each in all_replaced.json()] == ["acme"]
        assert [each["id"] for each in await made.stored()] == [2, 9]


def writes(column: str, value: t.Any, mark: str = "") -> dict[str, tuple[str, str, t.Any]]:
    """Return the operations that write a reference, each in one request."""
    n, m, o = (f"{each}{mark}" for each in "nmo")
    return {
        "create": ("POST", "/orders/", {"note": n, column: value}),
        "create many": ("POST", "/orders/", [{"note": m}, {"note": o, column: value}]),
        "update": ("PUT", "/orders/3/", {"note": f"p{mark}", "customer_id": None, "parent_id": None, column: value}),
        "partial_update": ("PATCH", "/orders/3/", {column: value}),
        "partial_replace": ("PATCH", "/orders/", [{"id": 3, column: value}]),
        "get_or_create": ("POST", "/orders/:get_or_create/?on=id", {"id": 70, "note": f"q{mark}", column: value}),
        "upsert": (
            "POST",
            "/orders/:upsert/",
            [{"id": 71, "note": f"r{mark}"}, {"id": 3, "note": f"s{mark}", column: value}],
        ),
        "update_where": ("POST", "/orders/:update/?id=3", {column: value}),
        "replace": ("PUT", "/orders/", [{"id": 1, "note": n}, {"id": 3, "note": m, column: value}]),
    }


@pytest.mark.parametrize(
    ("declared", "column"), [("worker", "customer_id"), ("worker", "parent_id"), ("resource", "parent_id")]
)
async def test_no_write_refers_to_a_record_of_another_tenant_nor_learns_of_it(backend, declared, column):
    async with shop(backend, declared) as made:
        before = await made.stored()

        for name in writes(column, None):
            theirs, nobodys = [await made.call(*writes(column, id)[name]) for id in (2, 999)]

            assert theirs.status_code == 400, name
            assert theirs.json()["kind"] == "foreign_key", name
            assert theirs.json() == nobodys.json(), name
            assert await made.stored() == before, name


@pytest.mark.parametrize("column", ["customer_id", "parent_id"])
async def test_writes_refer_to_records_of_the_scope_and_to_none(backend, column):
    async with shop(backend, "worker") as made:
        for value in (1, None):
            for name, wanted in writes(column, value, str(value)).items():
                answer = await made.call(*wanted)

                assert answer.status_code in (200, 201), (name, answer.text)
                assert _last(answer.json())[column] == value or name == "get_or_create", name


def _last(records: t.Any) -> t.Any:
    return records[-1] if isinstance(records, list) else records


async def test_records_that_are_stored_together_refer_to_one_another(backend):
    async with shop(backend, "worker") as made:
        answer = await made.call(
            "POST", "/orders/", [{"id": 50, "note": "a"}, {"id": 51, "note": "b", "parent_id": 50}]
        )

        assert [each["parent_id"] for each in answer.json()] == [None, 50]


@pytest.mark.parametrize("declared", ["worker", "resource"])
async def test_a_row_does_not_pass_for_the_record_that_it_refers_to_by_naming_its_key(backend, declared):
    # the record that is there is known by its tenant and note, and keeps its id
    async with shop(backend, declared) as made:
        before = await made.stored()

        theirs, nobodys = [
            await made.call(
                "POST",
                "/orders/:upsert/?on=tenant,note",
                [{"id": id, "tenant": "acme", "note": "own", "parent_id": id}],
            )
            for id in (2, 999)
        ]
        changed = [
            await made.call("POST", "/orders/:update/?id=3", {"id": 2, "parent_id": 2}),
            await made.call("POST", "/orders/", [{"id": 2, "note": "a"}, {"note": "b", "parent_id": 2}]),
            await made.call("POST", "/orders/:upsert/", [{"id": 2, "note": "a"}, {"note": "b", "parent_id": 2}]),
        ]

        assert theirs.json()["kind"] == "foreign_key"
        assert theirs.json() == nobodys.json()
        assert [each.status_code for each in changed] == [400] * 3
        assert await made.stored() == before


async def test_a_batch_takes_one_statement_for_each_foreign_key(backend):
    if backend.name == "memory":
        pytest.skip("there are no statements")
    async with shop(backend, "worker") as made:
        seen: list[str] = []
        engine = made.app.sqlalchemy.engine.sync_engine
        sa.event.listen(engine, "before_cursor_execute", lambda *args: seen.append(args[2]))

        answer = await made.call("POST", "/orders/", [{"note": f"n{n}", "customer_id": 1} for n in range(100)])

        assert answer.status_code == 201
        assert sum("FROM scoped_customer" in each for each in seen) == 1


part_table = sa.Table(
    "scoped_part",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("tenant", sa.String(20), nullable=False),
    sa.Column("owner", sa.String(20)),
    sa.Column("customer_id", sa.Integer),
    sa.ForeignKeyConstraint(["owner", "customer_id"], ["scoped_customer.tenant", "scoped_customer.id"]),
)


class PartRepository(SQLAlchemyTableRepository):
    _table = part_table


class PartWorker(SQLAlchemyWorker):
    customers: CustomerRepository
    pieces: PartRepository


@pytest.mark.parametrize("backend", ["sqlite", "postgresql", "mariadb"], indirect=True)
async def test_a_key_of_several_columns_is_looked_up_whole_though_one_of_them_changes(backend):
    app = Flama(modules=[SQLAlchemyModule(backend.url)])
    worker = PartWorker().with_scopes({None: (F.tenant == "acme",)})
    async with app.lifespan(), tables(app.sqlalchemy.engine, customer_table, part_table):
        async with PartWorker().bound(app) as unit:
            await unit.customers.create(*CUSTOMERS)
            await unit.pieces.create({"id": 1, "tenant": "acme", "owner": "bolt", "customer_id": None})

        async with worker.bound(app) as unit:
            with pytest.raises(exceptions.IntegrityError):
                await unit.pieces.update({"customer_id": 2}, id=1)
            with pytest.raises(exceptions.IntegrityError):
                await unit.pieces.create({"owner": "bolt", "customer_id": 2})
            await unit.pieces.create({"id": 2, "owner": "acme", "customer_id": 1})

            assert [(each["id"], each["customer_id"]) async for each in unit.pieces.list()] == [(1, None), (2, 1)]


async def test_a_thousand_keys_of_several_columns_are_looked_up(backend):
    if backend.name in ("memory", "mixed"):
        pytest.skip("there are no statements of its own")
    app = Flama(modules=[SQLAlchemyModule(backend.url)])
    async with app.lifespan(), tables(app.sqlalchemy.engine, customer_table, part_table):
        async with PartWorker().bound(app) as unit:
            await unit.customers.create(*({"id": id, "tenant": "acme"} for id in range(1, 1202)))

        async with PartWorker().with_scopes({None: (F.tenant == "acme",)}).bound(app) as unit:
            rows = [{"id": id, "owner": "acme", "customer_id": id} for id in range(1, 1202)]
            with pytest.raises(exceptions.IntegrityError):
                await unit.pieces.create(*rows, {"id": 1202, "owner": "bolt", "customer_id": 1})
            await unit.pieces.create(*rows)

            assert await unit.pieces.count() == 1201


class Forwarding(SQLAlchemyRepository):
    pass


class Stock(HTTPResourceRepository):
    _resource = "/stock/"


class Note(t.TypedDict):
    id: str


class Notes(MemoryRepository):
    _key = "id"


def _worker(base: type, **repositories: type) -> t.Any:
    return type("MadeWorker", (base,), {"__annotations__": repositories})


@pytest.mark.parametrize(
    ("worker", "scope", "message"),
    [
        (
            _worker(SQLAlchemyWorker, other=Forwarding),
            tenant,
            r"MadeWorker.other is a Forwarding.*scope={'other': None",
        ),
        (_worker(MemoryWorker, notes=Notes), tenant, "MadeWorker.notes is a Notes"),
        (_worker(ShopWorker), {"orders": tenant}, "MadeWorker.customers has no scope: None says"),
        (_worker(ShopWorker), {}, "has no scope: None says"),
        (_worker(ShopWorker), {"order": tenant, "customers": None, "orders": None}, "has no repository order"),
        (_worker(SQLAlchemyWorker), tenant, "declares no repositories"),
    ],
)
async def test_a_scope_that_can_not_be_kept_fails_at_start_up(worker, scope, message):
    app = Flama(
        principal=current_user,
        modules=[SQLAlchemyModule("sqlite+aiosqlite://")],
        components=[WorkerComponent(worker(), scope=scope)],
    )

    with pytest.raises(exceptions.ApplicationError, match=message):
        async with app.lifespan():
            pass


async def test_a_remote_repository_can_be_left_out_of_a_scope():
    worker = _worker(Worker, stock=t.Annotated[Stock, Remote("http://127.0.0.1:9")], orders=OrderRepository)
    modules = [SQLAlchemyModule("sqlite+aiosqlite://")]
    refused = Flama(modules=modules, principal=current_user, components=[WorkerComponent(worker(), scope=tenant)])
    taken = WorkerComponent(worker(), scope={"stock": None, "orders": tenant})

    with pytest.raises(exceptions.ApplicationError, match=r"stock is a Stock"):
        async with refused.lifespan():
            pass
    async with Flama(
        modules=[SQLAlchemyModule("sqlite+aiosqlite://")], principal=current_user, components=[taken]
    ).lifespan():
        pass


async def test_records_without_the_field_of_a_scope_are_never_shown():
    worker = _worker(SQLAlchemyWorker, orders=OrderRepository, countries=CountryRepository)()
    app = Flama(
        principal=current_user,
        modules=[SQLAlchemyModule("sqlite+aiosqlite://")],
        components=[WorkerComponent(worker, scope=tenant)],
    )

    @app.get("/")
    async def countries(worker: type(worker)):  # type: ignore[valid-type]
        async with worker:
            return [each async for each in worker.countries.list()]

    async with Client(app=app, raise_app_exceptions=True) as client:
        with pytest.raises(exceptions.ApplicationError, match=r"repository 'countries' names tenant.*'countries': …"):
            await client.get("/", headers={"authorization": "acme"})


async def test_what_is_no_condition_is_no_scope():
    app = Flama(
        components=[WorkerComponent(ShopWorker(), scope=lambda: True)],
        modules=[SQLAlchemyModule("sqlite+aiosqlite://")],
    )

    @app.get("/")
    async def orders(worker: ShopWorker):
        return {}

    async with Client(app=app, raise_app_exceptions=True) as client:
        with pytest.raises(exceptions.ApplicationError, match="returned True: a scope is a condition made by F"):
            await client.get("/")


@pytest.mark.parametrize("declared", ["worker", "resource"])
async def test_preconditions_tell_nothing_of_another_tenants_record(backend, declared):
    async with shop(backend, declared) as made:
        before = await made.others()

        answers = [
            await made.call(*REQUESTS[name], **{header: value})
            for name in ("retrieve", "update", "partial_update", "delete")
            for header, value in (("if-match", "*"), ("if-match", '"x"'), ("if-none-match", "*"))
        ]

        assert {answer.status_code for answer in answers} == {404}
        assert await made.others() == before


async def test_a_scoped_resource_is_not_among_those_that_any_handler_can_have():
    app = Flama(principal=current_user, modules=[SQLAlchemyModule("sqlite+aiosqlite://")])

    class Bounded(CRUDResource):
        model = order_table
        scope = tenant

    class Unbounded(CRUDResource):
        model = country_table

    for path, resource in (("/bounded/", Bounded), ("/unbounded/", Unbounded)):
        app.resources.add_resource(path, resource)

    async with app.lifespan(), app.resources.worker.bound(app) as unit:
        assert list(unit.repositories) == ["unbounded"]


async def test_handlers_of_ones_own_have_the_worker_within_its_scope():
    async with shop(SQLITE, "worker") as made:

        @paginator.paginated("limit_offset")
        async def notes(worker: ShopWorker):
            async with worker:
                yield worker.orders.list()

        made.app.add_route("/notes/", notes)

        assert [each["id"] for each in (await made.call("GET", "/notes/")).json()["data"]] == [1, 3]
        assert (await made.call("GET", "/notes/", caller=None)).status_code == 401


async def test_a_method_of_a_scoped_resource_does_not_ask_for_a_worker_past_the_scope():
    class Exported(CRUDResource):
        repository = OrderRepository
        scope = tenant

        @ResourceRoute.method("/:export/")
        async def export(self, worker: ShopWorker):
            return {}

    class Overriding(CRUDResource):
        repository = OrderRepository
        scope = tenant

        async def list(self, worker: ShopWorker):
            return {}

    app = Flama(principal=current_user, components=[WorkerComponent(ShopWorker())])

    for resource, name in ((Exported, "export"), (Overriding, "list")):
        with pytest.raises(exceptions.ResourceError, match=f"{resource.__name__}.{name} takes ShopWorker"):
            app.resources.add_resource("/orders/", resource)


def test_a_resource_whose_records_have_no_scopes_refuses_one():
    with pytest.raises(exceptions.ResourceError, match="needs a repository of a table, unlike Notes"):

        class Noted(CRUDResource):
            repository = Notes
            schema = Note
            scope = tenant

    with pytest.raises(exceptions.ResourceError, match="scope is 'tenant'"):

        class Named(CRUDResource):
            model = order_table
            scope = "tenant"


async def test_the_document_says_who_is_refused():
    async with shop(SQLITE, "worker") as made:
        whole = made.app.openapi["paths"]
    async with shop(SQLITE, "resource") as made:
        scoped = made.app.openapi["paths"]

    orders = [
        operation
        for paths in (whole, scoped)
        for path in paths
        if "orders" in path
        for operation in paths[path].values()
    ]
    assert orders
    assert all({"401", "403"} <= operation["responses"].keys() for operation in orders)
    assert {"401", "403"}.isdisjoint(scoped["/customers/"]["get"]["responses"])
