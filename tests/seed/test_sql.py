"""What the page says of SQL repositories, sentence by sentence."""

import collections.abc
import inspect

import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from flama.ddd.exceptions import IntegrityError, MultipleRecordsError, NotFoundError
from flama.ddd.repositories import AbstractRepository, BaseRepository
from flama.ddd.repositories.sqlalchemy import SQLAlchemyRepository, SQLAlchemyTableRepository

pytestmark = pytest.mark.anyio

metadata = sqlalchemy.MetaData()
user_table = sqlalchemy.Table(
    "seed_user",
    metadata,
    sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True),
    sqlalchemy.Column("name", sqlalchemy.String, nullable=False),
    sqlalchemy.Column("email", sqlalchemy.String, nullable=False, unique=True),
    sqlalchemy.Column("active", sqlalchemy.Boolean, nullable=False),
)


class UserRepository(SQLAlchemyTableRepository):
    _table = user_table


class ExtendedUserRepository(SQLAlchemyTableRepository):
    _table = user_table

    async def count_active_users(self) -> int:
        result = await self._connection.execute(self._table.select().where(self._table.c.active == True))  # noqa: E712
        return len(result.all())


ALICE = {"id": 1, "name": "Alice", "email": "alice@example.com", "active": True}
BOB = {"id": 2, "name": "Bob", "email": "bob@example.com", "active": False}
CAROL = {"id": 3, "name": "Carol", "email": "carol@example.com", "active": True}


@pytest.fixture(params=["sqlite", "postgresql"])
async def engine(request, tmp_path):
    """Give an engine whose database has the table, empty."""
    on_sqlite = request.param == "sqlite"
    url = f"sqlite+aiosqlite:///{tmp_path}/page.sqlite" if on_sqlite else request.getfixturevalue("postgres_url")
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    yield engine
    async with engine.begin() as connection:
        await connection.run_sync(metadata.drop_all)
    await engine.dispose()


@pytest.fixture
async def connection(engine):
    """Give an open connection."""
    async with engine.connect() as connection:
        yield connection


@pytest.fixture
async def users(connection):
    """Give the repository with three users in it."""
    repository = UserRepository(connection)
    await repository.create(ALICE, BOB, CAROL)
    await connection.commit()
    return repository


async def every(repository, *clauses, **filters):
    return [record async for record in repository.list(*clauses, **filters)]


# Repository hierarchy


def test_each_class_adds_to_the_one_above():
    hierarchy = [AbstractRepository, BaseRepository, SQLAlchemyRepository, SQLAlchemyTableRepository]

    assert [base for base in reversed(SQLAlchemyTableRepository.__mro__) if base in hierarchy] == hierarchy


def test_the_abstract_repository_is_an_interface_that_cannot_be_made():
    assert inspect.isabstract(AbstractRepository)
    with pytest.raises(TypeError):
        AbstractRepository()


async def test_a_sqlalchemy_repository_has_the_connection_it_was_given(connection):
    assert isinstance(connection, AsyncConnection)
    assert SQLAlchemyRepository(connection)._connection is connection


# Built-in CRUD methods


async def test_the_table_is_that_of_the_class_attribute(connection):
    assert UserRepository(connection)._table is user_table


async def test_create_inserts_one_row_and_returns_it(connection):
    users = UserRepository(connection)

    assert await users.create(ALICE) == [ALICE]
    assert await every(users) == [ALICE]


async def test_create_inserts_more_rows_and_returns_them_in_order(connection):
    assert await UserRepository(connection).create(CAROL, ALICE, BOB) == [CAROL, ALICE, BOB]


async def test_creating_what_breaks_a_constraint_is_an_integrity_error(users):
    with pytest.raises(IntegrityError):
        await users.create({"id": 4, "name": "Dave", "email": ALICE["email"], "active": True})


async def test_retrieve_fetches_the_one_row_that_matches(users):
    assert await users.retrieve(email="bob@example.com") == BOB


async def test_retrieving_what_no_row_matches_is_not_found(users):
    with pytest.raises(NotFoundError):
        await users.retrieve(name="Dave")


async def test_retrieving_what_more_rows_match_is_an_error(users):
    with pytest.raises(MultipleRecordsError):
        await users.retrieve(active=True)


async def test_update_changes_the_rows_that_match_and_returns_them(users):
    updated = await users.update({"active": False}, active=True)

    assert sorted(updated, key=lambda user: user["id"]) == [ALICE | {"active": False}, CAROL | {"active": False}]
    assert await every(users, active=True) == []


async def test_an_update_that_breaks_a_constraint_is_an_integrity_error(users):
    with pytest.raises(IntegrityError):
        await users.update({"email": BOB["email"]}, id=1)


async def test_delete_removes_the_one_row_that_matches(users):
    assert await users.delete(name="Bob") is None
    assert await every(users, order_by="id") == [ALICE, CAROL]


async def test_deleting_what_does_not_exist_is_not_found(users):
    with pytest.raises(NotFoundError):
        await users.delete(id=4)


async def test_list_without_arguments_gives_every_row_asynchronously(users):
    rows = users.list()

    assert isinstance(rows, collections.abc.AsyncIterable)
    assert sorted([row["id"] async for row in rows]) == [1, 2, 3]


async def test_list_orders_by_a_column_ascending_unless_told_otherwise(users):
    assert await every(users, order_by="name") == [ALICE, BOB, CAROL]
    assert await every(users, order_by="name", order_direction="asc") == [ALICE, BOB, CAROL]
    assert await every(users, order_by="name", order_direction="desc") == [CAROL, BOB, ALICE]


async def test_drop_deletes_every_row_that_matches_and_returns_how_many(users):
    assert await users.drop(active=True) == 2
    assert await every(users) == [BOB]


async def test_drop_without_arguments_empties_the_table(users):
    assert await users.drop() == 3
    assert await every(users) == []


STYLES = {
    "a clause": ([user_table.c["id"].in_((1, 4)), user_table.c["name"] != "Bob"], {}),
    "a keyword": ([], {"email": "alice@example.com"}),
    "both": ([user_table.c["id"].in_((1, 2))], {"active": True}),
}


@pytest.mark.parametrize(("clauses", "filters"), STYLES.values(), ids=STYLES)
class TestBothStylesOfFilteringAreUnderstoodBy:
    async def test_retrieve(self, users, clauses, filters):
        assert await users.retrieve(*clauses, **filters) == ALICE

    async def test_update(self, users, clauses, filters):
        assert await users.update({"active": False}, *clauses, **filters) == [ALICE | {"active": False}]

    async def test_delete(self, users, clauses, filters):
        await users.delete(*clauses, **filters)

        assert await every(users, order_by="id") == [BOB, CAROL]

    async def test_list(self, users, clauses, filters):
        assert await every(users, *clauses, **filters) == [ALICE]

    async def test_drop(self, users, clauses, filters):
        assert await users.drop(*clauses, **filters) == 1
        assert await every(users, order_by="id") == [BOB, CAROL]


# Adding custom methods


async def test_a_custom_method_has_the_connection_for_any_query(users, connection):
    assert await ExtendedUserRepository(connection).count_active_users() == 2


async def test_a_class_with_custom_methods_still_has_the_inherited_ones(users, connection):
    assert await ExtendedUserRepository(connection).retrieve(id=1) == ALICE


# SQL repository example


async def test_what_was_written_is_there_for_others_once_the_caller_commits(engine, connection):
    await UserRepository(connection).create(ALICE)
    await connection.commit()

    async with engine.connect() as another:
        assert await every(UserRepository(another)) == [ALICE]


async def test_what_was_written_is_gone_when_the_caller_rolls_back(users, connection):
    await users.create({"id": 4, "name": "Dave", "email": "dave@example.com", "active": True})
    await users.update({"active": True}, id=2)
    await users.delete(id=1)
    await connection.rollback()

    assert await every(users, order_by="id") == [ALICE, BOB, CAROL]
