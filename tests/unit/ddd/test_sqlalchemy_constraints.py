"""Which fields a refused write names, however the database has cut the constraint's name."""

import itertools

import pytest
import sqlalchemy as sa

from flama import exceptions
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository

pytestmark = [pytest.mark.anyio, pytest.mark.any_driver]

CONVENTION = {
    "pk": "pk_%(table_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(column_0_name)s_is_checked",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
}
PLAIN = "which_is_a_very_long_name_for_a_column_of_numbers"
WIDE = "größe_und_länge_über_alles_in_einer_spalte_für_größen"  # letters of two bytes each
SHORT = "n"
TABLES = ("measurement", "measurement_of_a_table_whose_name_is_long_as_well")
COLUMNS = ((PLAIN,), (WIDE,), (SHORT,), (PLAIN, SHORT), (SHORT, PLAIN))


def columns_of(names):
    return [sa.Column("id", sa.Integer, primary_key=True), *[sa.Column(name, sa.Integer) for name in names]]


def tables(convention, restrict):
    """A table for each name and set of columns, restricted by what ``restrict`` adds."""
    metadata = sa.MetaData(naming_convention=convention or None)
    for number, (name, names) in enumerate(itertools.product(TABLES, COLUMNS)):
        restrict(sa.Table(f"{name}_{number}", metadata, *columns_of(names)), names)
    return metadata


def restrict_by_constraint(table, names):
    table.append_constraint(sa.UniqueConstraint(*names))


def restrict_by_index(table, names):
    sa.Index(None, *[table.columns[name] for name in names], unique=True)


def restrict_by_check(table, names):
    table.append_constraint(sa.CheckConstraint(sa.and_(*[table.columns[name] < 5 for name in names])))


def restrict_by_reference(table, names):
    parent = table.metadata.tables.get("parent")
    if parent is None:
        parent = sa.Table("parent", table.metadata, sa.Column("id", sa.Integer, primary_key=True))
    table.append_constraint(sa.ForeignKeyConstraint(names[:1], [parent.columns.id]))


def restrict_by_key(table, names):
    """The primary key alone, which every table has."""


async def refusals(module, metadata, *records):
    """The errors of tables that records, or records of these numbers, are stored in, by table."""
    found = {}
    async with module.engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    connection = await module.open_connection()
    try:
        for table in metadata.sorted_tables:
            repository = type("Repository", (SQLAlchemyTableRepository,), {"_table": table})(connection)
            if table.name == "parent":
                continue
            names = [column.name for column in table.columns if column.name != "id"]
            try:
                await repository.create(
                    *[each if isinstance(each, dict) else dict.fromkeys(names, each) for each in records]
                )
            except exceptions.IntegrityError as error:
                found[table.name] = error.kind, set(error.fields)
    finally:
        await module.close_connection(connection)
        async with module.engine.begin() as connection:
            await connection.run_sync(metadata.drop_all)
    return found


def expected(metadata, kind):
    return {
        table.name: (kind, {column.name for column in table.columns if column.name != "id"})
        for table in metadata.tables.values()
        if table.name != "parent"
    }


@pytest.mark.parametrize("convention", [CONVENTION, {}], ids=["convention", "default"])
@pytest.mark.parametrize("restrict", [restrict_by_constraint, restrict_by_index])
async def test_a_repeated_value_names_the_fields_that_are_unique(module, restrict, convention):
    metadata = tables(convention, restrict)

    assert await refusals(module, metadata, 1, 1) == expected(metadata, "unique")


@pytest.mark.parametrize("convention", [CONVENTION, {}], ids=["convention", "default"])
async def test_a_repeated_key_names_its_fields(module, convention):
    metadata = tables(convention, restrict_by_key)

    found = await refusals(module, metadata, {"id": 1}, {"id": 1})

    assert found == dict.fromkeys(metadata.tables, ("unique", {"id"}))


@pytest.mark.parametrize("convention", [CONVENTION, {}], ids=["convention", "default"])
async def test_a_failed_check_names_the_fields_that_it_is_on(module, convention):
    if not convention and module.engine.dialect.name != "postgresql":
        pytest.skip("the database's own name tells of no column")
    if module.engine.dialect.name == "sqlite":
        pytest.skip("SQLite reports names of ASCII letters alone")
    metadata = tables(convention, restrict_by_check)

    assert await refusals(module, metadata, 7) == expected(metadata, "check")


@pytest.mark.parametrize("convention", [CONVENTION, {}], ids=["convention", "default"])
async def test_a_missing_parent_names_the_fields_that_refer_to_it(module, convention):
    if module.engine.dialect.name == "sqlite":
        pytest.skip("SQLite reports no foreign key")
    metadata = tables(convention, restrict_by_reference)

    found = await refusals(module, metadata, 7)

    assert found == {
        table.name: ("foreign_key", {table.columns.keys()[1]})
        for table in metadata.tables.values()
        if table.name != "parent"
    }


async def test_of_names_that_are_cut_alike_the_database_numbers_the_second(module):
    metadata = sa.MetaData()
    first, second = f"{PLAIN}_one", f"{PLAIN}_two"
    columns = [sa.Column("id", sa.Integer, primary_key=True), sa.Column(first, sa.Integer, primary_key=False)]
    table = sa.Table(TABLES[1], metadata, *columns, sa.Column(second, sa.Integer))
    table.append_constraint(sa.UniqueConstraint(first))
    table.append_constraint(sa.UniqueConstraint(second))

    repository = type("Repository", (SQLAlchemyTableRepository,), {"_table": table})

    async with module.engine.connect() as connection:
        await connection.run_sync(metadata.create_all)
        await repository(connection).create({first: 1, second: 1})
        with pytest.raises(exceptions.IntegrityError) as caught_first:
            await repository(connection).create({first: 1, second: 2})
        with pytest.raises(exceptions.IntegrityError) as caught_second:
            await repository(connection).create({first: 2, second: 1})
        await connection.rollback()
        await connection.run_sync(metadata.drop_all)
        await connection.commit()

    assert (caught_first.value.fields, caught_second.value.fields) == ((first,), (second,))


async def test_a_name_that_postgresql_itself_has_cut_is_known(module):
    if module.engine.dialect.name != "postgresql":
        pytest.skip("the others refuse a name that is too long")
    metadata = sa.MetaData()
    name = f"unique_{PLAIN}_{PLAIN}"
    table = sa.Table("measurement", metadata, *columns_of([PLAIN]))
    async with module.engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
        await connection.exec_driver_sql(f"ALTER TABLE measurement ADD CONSTRAINT {name} UNIQUE ({PLAIN})")
    table.append_constraint(sa.UniqueConstraint(PLAIN, name=name))

    assert await refusals(module, metadata, 1, 1) == expected(metadata, "unique")
