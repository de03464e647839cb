"""How little the repository of a SQL table asks of its database, and how much it can store, on every database."""

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from flama import exceptions
from flama.ddd import F
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from tests.support import schemas

pytestmark = [pytest.mark.anyio, pytest.mark.any_driver]

metadata = sa.MetaData()
letter_table = sa.Table(
    "letter",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("code", sa.Integer, unique=True),
    sa.Column("pages", sa.Integer),
    sa.Column("letter_body", sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb"), key="body"),
)


class Letters(SQLAlchemyTableRepository):
    _table = letter_table


@pytest.fixture
async def module(module):
    """Give the module with this table, too."""
    async with schemas.tables(module.engine, *metadata.sorted_tables):
        yield module


@pytest.fixture
def letters(connection):
    return Letters(connection)


@pytest.fixture
def statements(module):
    """Give the statements that are run, those of transactions apart."""
    run = []

    def hear(connection, cursor, statement, *rest):
        if "SAVEPOINT" not in statement:  # PostgreSQL's go with the statement, where nobody listens
            run.append(statement)

    sa.event.listen(module.engine.sync_engine, "before_cursor_execute", hear)
    return run


# what each verb costs, and what it costs on MariaDB, where an UPDATE doesn't give what it changed
VERBS = {
    "create": (1, 1, lambda letters: letters.create({"code": 9, "pages": 1})),
    "create of defaults": (1, 1, lambda letters: letters.create({})),
    "retrieve": (1, 1, lambda letters: letters.retrieve(id=1)),
    "retrieve by a condition": (1, 1, lambda letters: letters.retrieve(F.code == 1)),
    "get": (1, 1, lambda letters: letters.get(id=404)),
    "first": (1, 1, lambda letters: letters.first(F.pages == 5, order_by="-code")),
    "count": (1, 1, lambda letters: letters.count(F.pages == 5)),
    "exists": (1, 1, lambda letters: letters.exists(pages=5)),
    "update": (1, 2, lambda letters: letters.update({"pages": 6}, id=1)),
    "update of a key": (1, 2, lambda letters: letters.update({"id": 7}, id=1)),
    "update of one if": (1, 2, lambda letters: letters.update({"pages": 6}, F.pages == 5, id=1)),
    "update of none": (1, 1, lambda letters: letters.update({"pages": 6}, id=404)),
    "update of many": (1, 3, lambda letters: letters.update({"pages": 6}, pages=5)),
    "delete": (1, 1, lambda letters: letters.delete(id=1)),
    "drop": (1, 1, lambda letters: letters.drop(F.pages == 5)),
    "drop of a few": (1, 1, lambda letters: letters.drop(F.pages == 5, max_affected=3)),
    "upsert": (1, 1, lambda letters: letters.upsert({"code": 1, "pages": 6}, on="code")),
    "upsert of what is new": (1, 1, lambda letters: letters.upsert({"code": 9, "pages": 6}, on="code")),
    "get_or_create": (1, 1, lambda letters: letters.get_or_create({"code": 1}, on="code")),
    "get_or_create of what is new": (2, 1, lambda letters: letters.get_or_create({"code": 9}, on="code")),
}


@pytest.mark.parametrize("verb", VERBS)
async def test_a_verb_is_so_many_statements(letters, statements, connection, verb):
    await letters.create({"code": 1, "pages": 5}, {"code": 2, "pages": 5}, {"code": 3})
    usual, on_mariadb, run = VERBS[verb]
    assert await letters.update({"pages": 6}, id=404) == []  # looks up, once, whether the table has triggers
    statements.clear()

    await run(letters)

    assert len(statements) == (on_mariadb if connection.dialect.name == "mysql" else usual)


async def test_a_refused_deletion_asks_once_more_why(letters, statements):
    await letters.create({"pages": 5}, {"pages": 5})
    statements.clear()

    with pytest.raises(exceptions.MultipleRecordsError):
        await letters.delete(pages=5)
    with pytest.raises(exceptions.NotFoundError):
        await letters.delete(pages=6)

    assert len(statements) == 4
    assert await letters.count() == 2


async def test_a_record_that_changes_is_given_as_it_then_is_by_its_old_key_or_its_new_one(letters):
    await letters.create({"id": 1, "code": 1, "pages": 5}, {"id": 2, "code": 2, "pages": 5})

    assert await letters.update({"id": 7, "pages": 6}, F.pages == 5, id=1) == [
        {"id": 7, "code": 1, "pages": 6, "body": None}
    ]
    assert await letters.update({"pages": 8}, F.pages == 5, id=7) == []
    assert await letters.update({"pages": letter_table.c.pages + 1}, id=7) == [
        {"id": 7, "code": 1, "pages": 7, "body": None}
    ]
    assert await letters.update({"pages": 7}, id=7) == [{"id": 7, "code": 1, "pages": 7, "body": None}]


@pytest.mark.parametrize("way", ["by the driver", "by SQLAlchemy"])
async def test_more_are_created_than_a_statement_takes_values(letters, module, url, way):
    many = 23_000 if way == "by the driver" else 11_500
    if way == "by SQLAlchemy":
        sa.event.listen(module.engine.sync_engine, "before_cursor_execute", lambda *_: None)
    rows = [{"code": n, "pages": 1, "body": "x"} if n % 3 else {"code": n, "body": "y"} for n in range(many)]

    created = await letters.create(*rows)

    assert [letter["code"] for letter in created] == list(range(many))
    assert await letters.count() == many
    with pytest.raises(exceptions.IntegrityError) as caught:
        await letters.create(
            *({"code": n, "pages": 2, "body": "z"} for n in range(many + 5000, many - 1, -1)), {"code": 1}
        )
    assert (caught.value.kind, caught.value.fields) == ("unique", ("code",))
    assert await letters.count() == many


async def test_more_is_created_at_once_than_a_packet_holds(letters):
    bodies = [f"{n}'\\" * 50_000 for n in range(150)]

    created = await letters.create(*({"code": n, "body": body} for n, body in enumerate(bodies)))

    assert [letter["body"] for letter in created] == bodies


@pytest.mark.parametrize("verb", ["create", "create of many", "update", "update of many", "upsert"])
async def test_what_no_packet_holds_is_invalid_data_and_leaves_the_unit_as_it_was(letters, connection, verb):
    if connection.dialect.name != "mysql":
        pytest.skip("only MariaDB counts packets")
    (kept,) = await letters.create({"code": 1})
    huge = "x" * 20_000_000

    with pytest.raises(exceptions.InvalidDataError, match="max_allowed_packet"):
        match verb:
            case "create":
                await letters.create({"body": huge})
            case "create of many":
                await letters.create({"code": 2, "body": "x"}, {"code": 3, "body": huge})
            case "update":
                await letters.update({"body": huge}, id=kept["id"])
            case "update of many":
                await letters.update({"body": huge})
            case _:
                await letters.upsert({"code": 1, "body": huge}, on="code")

    assert [letter async for letter in letters.list()] == [kept]


@pytest.mark.parametrize("clause", ["nope = 1", "nope IS NULL"])
async def test_a_text_that_is_wrong_is_the_programs_fault(letters, clause):
    with pytest.raises(sa.exc.DBAPIError):
        await letters.count(sa.text(clause))
