"""What a unit of work in memory promises, and the worker that stands in for one of a database."""

import asyncio
import types
import typing as t

import pytest
import sqlalchemy as sa

from flama import Flama, exceptions
from flama.client import ASGITransport, Client
from flama.ddd import (
    BaseRepository,
    F,
    HTTPResourceRepository,
    HTTPWorker,
    MemoryRepository,
    MemoryWorker,
    Remote,
    Worker,
    WorkerComponent,
)
from flama.ddd.repositories.sqlalchemy import SQLAlchemyRepository, SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.memory import MemoryModule, Store

pytestmark = pytest.mark.anyio

metadata = sa.MetaData()
account_table = sa.Table(
    "account",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("owner", sa.String(20), nullable=False, unique=True),
    sa.Column("balance", sa.Integer, nullable=False, default=0),
    sa.Column("parent", sa.Integer, sa.ForeignKey("account.id", deferrable=True, initially="DEFERRED")),
)


class Accounts(SQLAlchemyTableRepository):
    """Accounts, by their owners."""

    _table = account_table

    async def create(self, *data):
        return await super().create(*({**record, "owner": record["owner"].title()} for record in data))

    async def rich(self):
        return [account["owner"] async for account in self.list(F.balance >= 100, order_by="owner")]

    async def total(self):
        return (await self._connection.execute(sa.select(sa.func.sum(account_table.c.balance)))).scalar()


class BestAccounts(Accounts):
    async def rich(self):
        return ["best", *await super().rich()]


class Audit(BaseRepository):
    pass


class Carts(MemoryRepository):
    _key = "id"


class Bank(SQLAlchemyWorker):
    """A bank."""

    accounts: Accounts
    audit: Audit

    async def transfer(self, source, target, amount):
        async with self:
            for owner, change in ((source, -amount), (target, amount)):
                account = await self.accounts.retrieve(owner=owner)
                await self.accounts.update({"balance": account["balance"] + change}, owner=owner)


class Shop(MemoryWorker):
    carts: Carts


class Stock(HTTPResourceRepository):
    _resource = "/stock"


BankInMemory = MemoryWorker.of(Bank)


async def carts_of(worker):
    async with worker:
        return [cart["id"] async for cart in worker.carts.list(order_by="id")]


async def test_a_unit_that_ends_well_is_kept_and_one_that_fails_is_not():
    shop = Shop()
    async with shop:
        await shop.carts.create({"id": 1})
    with pytest.raises(ZeroDivisionError):
        async with shop:
            await shop.carts.create({"id": 2})
            raise ZeroDivisionError

    assert await carts_of(shop) == [1]


async def test_entered_again_it_is_a_savepoint():
    shop = Shop()
    async with shop:
        await shop.carts.create({"id": 1})
        with pytest.raises(ZeroDivisionError):
            async with shop:
                await shop.carts.create({"id": 2})
                raise ZeroDivisionError
        async with shop:
            await shop.carts.create({"id": 3})

    assert await carts_of(shop) == [1, 3]


async def test_commit_and_rollback_keep_or_undo_what_was_done_so_far():
    shop = Shop()
    async with shop:
        await shop.carts.create({"id": 1})
        await shop.commit()
        await shop.carts.create({"id": 2})
        await shop.rollback()
        await shop.carts.create({"id": 3})

    assert await carts_of(shop) == [1, 3]


async def test_units_of_tasks_have_the_store_one_after_the_other():
    shop = Shop()
    async with shop:
        await shop.carts.create({"id": 1, "n": 0})

    async def increase():
        async with shop:
            cart = await shop.carts.retrieve(id=1)
            await asyncio.sleep(0)
            await shop.carts.update({"n": cart["n"] + 1}, id=1)

    await asyncio.gather(*(increase() for _ in range(50)))

    async with shop:
        assert (await shop.carts.retrieve(id=1))["n"] == 50


async def test_a_unit_cancelled_anywhere_leaves_nothing_half_done_and_the_store_to_others():
    shop, steps = Shop(store=Store(timeout=5)), 12
    for step in range(steps):

        async def unit():
            async with shop:
                await shop.carts.create({"n": 1})
                async with shop:
                    await shop.carts.create({"n": 2})
                await shop.carts.update({"n": 3})

        task = asyncio.create_task(unit())
        for _ in range(step):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    async with shop:
        values = [cart["n"] async for cart in shop.carts.list()]
    assert set(values) <= {3}
    assert len(values) % 2 == 0


@pytest.mark.parametrize("verb", ["begin", "create", "update", "commit"])
@pytest.mark.parametrize("way", ["fail", "cancel"])
async def test_a_fault_undoes_the_whole_unit_once(verb, way):
    shop = Shop()

    async def unit():
        async with shop:
            await shop.carts.create({"id": 1})
            await shop.carts.update({"n": 1})

    if way == "fail":
        shop.store.fail(verb, exceptions.UnavailableError(resource="cart"))
    else:
        shop.store.cancel(verb)
    (failed,) = await asyncio.gather(asyncio.create_task(unit()), return_exceptions=True)

    # a commit is brought to its end though who waits for it is cancelled
    kept = (verb, way) == ("commit", "cancel")
    assert isinstance(failed, exceptions.UnavailableError if way == "fail" else asyncio.CancelledError)
    assert await carts_of(shop) == [1] * kept
    if not kept:
        await unit()
        assert await carts_of(shop) == [1]


async def test_a_unit_that_is_in_anothers_way_is_run_again():
    shop = Shop()
    shop.store.fail("commit", exceptions.ConflictError(resource="cart", retryable=True))

    await shop.run(lambda worker: worker.carts.create({}))

    assert await carts_of(shop) == [1]


async def test_hooks_run_as_the_unit_ended():
    shop, ran = Shop(), []
    async with shop:
        shop.after_commit(lambda: ran.append("kept"))
    shop.store.fail("commit", ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        async with shop:
            shop.after_commit(lambda: ran.append("never"))
            shop.after_rollback(lambda: ran.append("undone"))

    assert ran == ["kept", "undone"]


async def test_a_reference_that_is_checked_at_the_end_is():
    bank = BankInMemory()
    with pytest.raises(exceptions.IntegrityError) as caught:
        async with bank:
            await bank.accounts.create({"owner": "ann", "parent": 2})
    async with bank:
        assert await bank.accounts.count() == 0
        await bank.accounts.create({"id": 1, "owner": "ann", "parent": 2})
        await bank.accounts.create({"id": 2, "owner": "bob"})

    assert (caught.value.kind, caught.value.fields) == ("foreign_key", ("parent",))


async def test_workers_have_stores_of_their_own_unless_they_are_given_one():
    store = Store()
    one, other, alone = Shop(store=store), Shop(store=store), Shop()
    async with one:
        await one.carts.create({"id": 1})

    assert (await carts_of(other), await carts_of(alone)) == ([1], [])
    assert one.store is store


async def test_workers_bound_to_applications_share_the_templates_store():
    shop = Shop()
    bound = shop.bound(t.cast("t.Any", object()))
    async with bound:
        await bound.carts.create({"id": 1})

    assert await carts_of(shop) == [1]


async def test_the_stand_in_has_the_repositories_with_their_own_methods_and_the_workers():
    bank = BankInMemory()
    async with bank:
        await bank.accounts.create({"owner": "ann", "balance": 100}, {"owner": "bob"})
    await bank.transfer("Ann", "Bob", 30)

    async with bank:
        assert await bank.accounts.rich() == []
        assert (await bank.accounts.retrieve(owner="Bob"))["balance"] == 30
        assert isinstance(bank.accounts, Accounts)
        assert isinstance(bank.accounts, MemoryRepository)
        assert isinstance(bank.audit, Audit)
    assert isinstance(bank, Bank)
    assert (BankInMemory.__name__, BankInMemory.__doc__) == ("Bank", "A bank.")


async def test_methods_that_override_others_find_them():
    bank = MemoryWorker.of(type("BestBank", (Bank,), {"__annotations__": {"accounts": BestAccounts}}))()

    async with bank:
        await bank.accounts.create({"owner": "ann", "balance": 100})
        assert await bank.accounts.rich() == ["best", "Ann"]


async def test_a_method_that_speaks_sql_says_what_to_do():
    bank = BankInMemory()

    async with bank:
        with pytest.raises(
            exceptions.ApplicationError, match="Accounts is kept in memory, where there is no connection"
        ):
            await bank.accounts.total()


class TotalInMemory(MemoryRepository):
    _table = account_table

    async def total(self):
        return sum([account["balance"] async for account in self.list()])


async def test_another_repository_can_be_put_in_the_place_of_one():
    bank = MemoryWorker.of(Bank, {"accounts": TotalInMemory})()

    async with bank:
        await bank.accounts.create({"owner": "ann", "balance": 3}, {"owner": "bob", "balance": 4})
        assert await bank.accounts.total() == 7


def test_a_repository_that_works_on_a_connection_is_told_at_once():
    class Reports(SQLAlchemyRepository):
        pass

    worker = type("Reporting", (SQLAlchemyWorker,), {"__annotations__": {"reports": Reports}})

    with pytest.raises(exceptions.ApplicationError, match="Reports works on what SQLAlchemyWorker opens"):
        MemoryWorker.of(worker)
    assert issubclass(MemoryWorker.of(worker, {"reports": Audit}), worker)


class Deferred(SQLAlchemyWorker):
    accounts: "LateAccounts"


DeferredInMemory = MemoryWorker.of(Deferred)


class LateAccounts(Accounts):
    pass


async def test_what_is_declared_by_a_name_that_comes_later_is_kept_too():
    worker = DeferredInMemory()

    async with worker:
        await worker.accounts.create({"owner": "ann"})
        assert isinstance(worker.accounts, LateAccounts)
        assert await worker.accounts.count() == 1


async def test_a_store_can_be_given_to_all_workers_of_a_stand_in():
    store = Store()
    bank = MemoryWorker.of(Bank, store=store)
    async with (one := bank()):
        await one.accounts.create({"owner": "ann"})

    async with (other := bank(timeout=3)):
        assert await other.accounts.count() == 1


async def test_options_of_a_database_are_taken_and_mean_nothing():
    bank = BankInMemory(isolation="SERIALIZABLE", read_only=True, store=(store := Store()))

    async with bank.options(read_only=False) as unit:
        await unit.accounts.create({"owner": "ann"})

    async with BankInMemory(store=store) as other:
        assert await other.accounts.count() == 1


async def test_a_handler_is_given_the_stand_in_where_it_asks_for_the_worker():
    app = Flama(components=[WorkerComponent(worker=BankInMemory())])

    @app.post("/account/{owner}/")
    async def open_account(worker: Bank, owner: str) -> list[dict[str, t.Any]]:
        async with worker:
            return await worker.accounts.create({"owner": owner})

    async with Client(app=app) as client:
        first, second = await client.post("/account/ann/"), await client.post("/account/ann/")

    assert first.json()[0]["owner"] == "Ann"
    assert (second.status_code, second.json()["error"]) == (400, "IntegrityError")


async def test_memory_is_one_of_a_workers_backends_with_the_applications_store():
    class Till(Worker):
        carts: Carts
        audit: Audit

    app = types.SimpleNamespace(memory=MemoryModule())
    async with (one := Till(app)):
        await one.carts.create({"id": 1})
    with pytest.raises(ZeroDivisionError):
        async with (failed := Till(app)):
            await failed.carts.create({"id": 2})
            raise ZeroDivisionError

    assert await carts_of(Till(app)) == [1]
    with pytest.raises(exceptions.ApplicationError, match="carts need the application's store"):
        async with Till():
            pass


class Mixed(Worker):
    accounts: Accounts
    carts: Carts
    stock: t.Annotated[Stock, Remote("http://stock.example")]


async def test_the_stand_in_of_a_worker_of_several_backends_leaves_remote_services_where_they_are():
    app = Flama()

    @app.get("/stock/{id}/")
    def stock(id: str) -> dict[str, str]:
        return {"id": id}

    there = Remote("http://stock.example", client=(("transport", ASGITransport(app)),))
    mixed = MemoryWorker.of(Mixed)(stock=there)
    async with Client(app=app), mixed:
        await mixed.accounts.create({"owner": "ann"})
        await mixed.carts.create({"id": 1})
        assert await mixed.stock.retrieve("saw") == {"id": "saw"}

    async with mixed:
        assert (await mixed.accounts.count(), await mixed.carts.count()) == (1, 1)


class StockInMemory(MemoryRepository):
    _key = "id"


async def test_the_stand_in_of_a_worker_calls_no_remote_service_that_it_was_not_told_of():
    made = MemoryWorker.of(Mixed)

    with pytest.raises(exceptions.ApplicationError) as caught:
        made()

    assert "Mixed.stock is a Stock, which calls a remote service" in str(caught.value)
    assert "MemoryWorker.of(Mixed, {'stock': …})" in str(caught.value)
    async with MemoryWorker.of(Mixed, {"stock": StockInMemory})() as mixed:
        await mixed.stock.create({"id": "saw"})
        assert await mixed.stock.retrieve(id="saw") == {"id": "saw"}


def test_a_worker_of_a_remote_service_cannot_be_kept():
    worker = type("Remoted", (HTTPWorker,), {"__annotations__": {"stock": Stock}})

    with pytest.raises(exceptions.ApplicationError, match="Stock works on what HTTPWorker opens"):
        MemoryWorker.of(worker)
