"""What the repository of a SQL table promises, on every database."""

import pytest
import sqlalchemy as sa

from flama import exceptions
from flama.ddd.repositories.sqlalchemy import SQLAlchemyRepository, SQLAlchemyTableRepository

pytestmark = [pytest.mark.anyio, pytest.mark.any_driver]


@pytest.fixture
def users(connection, user_table):
    return type("Users", (SQLAlchemyTableRepository,), {"_table": user_table})(connection)


@pytest.fixture
def posts(connection, post_table):
    return type("Posts", (SQLAlchemyTableRepository,), {"_table": post_table})(connection)


def alice(**changes):
    return {"id": "a", "name": "Alice", "email": "alice@x.org", "age": 30, "note": None, **changes}


def bob(**changes):
    return {"id": "b", "name": "Bob", "email": "bob@x.org", "age": 40, "note": "b", **changes}


async def test_create_gives_the_record_as_stored(users):
    created = await users.create(alice())

    assert created == [alice()]
    assert await users.retrieve(id="a") == alice()


async def test_records_are_keyed_as_data_and_filters_are(users):
    await users.create(alice())

    assert [record async for record in users.list(order_by="email")] == [alice()]
    assert await users.update({"email": "new@x.org"}, email="alice@x.org") == [alice(email="new@x.org")]


async def test_an_absent_column_has_its_default(users):
    (created,) = await users.create({"name": "Alice", "email": "alice@x.org"})

    assert created["age"] == 18
    assert len(created["id"]) == 36


async def test_none_is_null_and_not_the_default(users):
    (created,) = await users.create(alice(age=None))

    assert created["age"] is None


async def test_none_as_primary_key_means_that_there_is_none_yet(users):
    (created,) = await users.create(alice(id=None))

    assert len(created["id"]) == 36
    assert (await users.update(alice(id=None, name="Al"), id=created["id"]))[0]["name"] == "Al"


async def test_create_keeps_the_order_and_the_data_of_records_with_different_columns(users):
    created = await users.create(
        {"id": "1", "name": "d", "email": "1"},
        {"id": "2", "name": "e", "email": "2", "note": "z"},
        {"id": "3", "name": "f", "email": "3", "age": 5},
        {"note": "y", "id": "4", "name": "g", "email": "4"},
    )

    assert [(record["id"], record["note"], record["age"]) for record in created] == [
        ("1", None, 18),
        ("2", "z", 18),
        ("3", None, 5),
        ("4", "y", 18),
    ]


async def test_create_of_many_keeps_their_order(posts):
    created = await posts.create(*({"title": f"{n}"} for n in range(1500)))

    assert [record["title"] for record in created] == [f"{n}" for n in range(1500)]
    assert len({record["id"] for record in created}) == 1500


async def test_create_of_nothing_stores_nothing(users):
    assert await users.create() == []
    assert [record async for record in users.list()] == []


async def test_create_of_an_empty_record_stores_the_defaults(posts):
    created = await posts.create({}, {})

    assert [record["title"] for record in created] == ["untitled", "untitled"]


async def test_a_value_may_be_an_sql_expression(users, user_table):
    await users.create(alice(name=sa.func.upper("x")), bob(name=sa.func.upper("y")))

    assert [record["name"] async for record in users.list(order_by="id")] == ["X", "Y"]
    assert (await users.update({"age": user_table.c.age + 1}, id="a"))[0]["age"] == 31


async def test_create_stores_all_or_nothing(users):
    await users.create(bob())

    with pytest.raises(exceptions.IntegrityError):
        await users.create(alice(), {"id": "c", "name": "C", "email": "bob@x.org"})

    assert [record["id"] async for record in users.list()] == ["b"]


@pytest.mark.parametrize("first", [True, False])
async def test_after_a_refused_write_the_unit_goes_on(users, connection, first):
    await users.create(alice())
    await connection.commit()
    if not first:
        await users.create(bob())

    with pytest.raises(exceptions.IntegrityError):
        await users.create(alice())

    await users.create(alice(id="c", email="c"))
    await connection.commit()
    expected = ["a", "c"] if first else ["a", "b", "c"]
    assert [record["id"] async for record in users.list(order_by="id")] == expected


async def test_an_unique_violation_tells_its_columns(users):
    await users.create(alice())

    with pytest.raises(exceptions.IntegrityError) as caught:
        await users.create(bob(email="alice@x.org"))

    assert (caught.value.resource, caught.value.kind, caught.value.fields) == ("user", "unique", ("email",))
    assert caught.value.detail == ""
    assert caught.value.__cause__ is not None


async def test_a_primary_key_that_is_taken_is_an_unique_violation(users):
    await users.create(alice())

    with pytest.raises(exceptions.IntegrityError) as caught:
        await users.create(bob(id="a"))

    assert (caught.value.kind, caught.value.fields) == ("unique", ("id",))


async def test_a_value_cannot_pass_for_the_name_of_a_constraint(users):
    forged = "x' for key 'PRIMARY"
    await users.create(alice(email=forged))

    with pytest.raises(exceptions.IntegrityError) as caught:
        await users.create(bob(email=forged))

    assert caught.value.fields == ("email",)


async def test_a_missing_value_is_a_not_null_violation(users):
    with pytest.raises(exceptions.IntegrityError) as caught:
        await users.create({"id": "a", "name": "Alice"})

    assert (caught.value.kind, caught.value.fields) == ("not_null", ("email",))


async def test_null_where_it_may_not_be_is_a_not_null_violation(users):
    await users.create(alice())

    with pytest.raises(exceptions.IntegrityError) as caught:
        await users.update({"email": None}, id="a")

    assert (caught.value.kind, caught.value.fields) == ("not_null", ("email",))


async def test_a_check_violation_tells_its_name(users):
    with pytest.raises(exceptions.IntegrityError) as caught:
        await users.create(alice(age=200))

    assert (caught.value.kind, caught.value.constraint) == ("check", "age_is_human")


async def test_foreign_keys_are_enforced_in_every_verb(users, posts):
    (post,) = await posts.create({"author": (await users.create(alice()))[0]["id"]})

    refused = [posts.create({"author": "x"}), posts.update({"author": "x"}), users.delete(id="a"), users.drop()]

    for verb in refused:
        with pytest.raises(exceptions.IntegrityError) as caught:
            await verb
        assert caught.value.kind == "foreign_key"
    assert await posts.retrieve() == post


async def test_retrieve_tells_none_from_many(users):
    with pytest.raises(exceptions.NotFoundError) as caught:
        await users.retrieve(id="nobody")
    assert caught.value.resource == "user"

    await users.create(alice(), bob())

    with pytest.raises(exceptions.MultipleRecordsError):
        await users.retrieve()


async def test_clauses_and_filters_must_all_hold(users, user_table):
    await users.create(alice(), bob())

    assert (await users.retrieve(user_table.c.age > 20, user_table.c.id.in_(["a", "b"]), name="Bob"))["id"] == "b"
    assert (await users.retrieve(note=None))["id"] == "a"


async def test_update_gives_the_changed_records(users, user_table):
    await users.create(alice(), bob())

    updated = await users.update({"age": 50, "id": "c"}, user_table.c.age > 30)

    assert updated == [bob(age=50, id="c")]
    assert await users.update({"age": 1}, id="nobody") == []
    assert {record["age"] for record in await users.update({"age": 60})} == {60}


async def test_update_without_data_gives_the_records_as_they_are(users):
    await users.create(alice(), bob())

    assert await users.update({}, id="a") == [alice()]


async def test_delete_deletes_exactly_one(users):
    await users.create(alice(), bob())

    with pytest.raises(exceptions.MultipleRecordsError):
        await users.delete()
    with pytest.raises(exceptions.NotFoundError):
        await users.delete(id="nobody")
    await users.delete(id="a")
    await users.delete()

    assert [record async for record in users.list()] == []


async def test_drop_tells_how_many_it_deleted(users):
    await users.create(alice(), bob())

    assert await users.drop(id="a") == 1
    assert await users.drop() == 1
    assert await users.drop() == 0


async def test_list_is_ordered_both_ways(users):
    await users.create(alice(), bob())

    assert [record["id"] async for record in users.list(order_by="age")] == ["a", "b"]
    assert [record["id"] async for record in users.list(order_by="age", order_direction="desc")] == ["b", "a"]


async def test_the_portable_subset_is_called_by_keyword(users):
    await users.create(alice())

    assert (await users.update(data={"age": 31}, id="a"))[0]["age"] == (await users.retrieve(id="a"))["age"] == 31
    await users.delete(id="a")


@pytest.mark.parametrize("name", ["nmae", "email_address"])
async def test_unknown_columns_are_named_with_those_there_are(users, name):
    verbs = [
        lambda: users.create({name: 1}),
        lambda: users.create(alice(), alice(**{name: 1})),
        lambda: users.update({name: 1}),
        lambda: users.update({"name": "x"}, **{name: 1}),
        lambda: users.retrieve(**{name: 1}),
        lambda: users.delete(**{name: 1}),
        lambda: users.drop(**{name: 1}),
        lambda: anext(users.list(**{name: 1})),
        lambda: anext(users.list(order_by=name)),
    ]

    for verb in verbs:
        with pytest.raises(exceptions.UnknownColumnError) as caught:
            await verb()
        assert caught.value.names == (name,)
        assert caught.value.columns == ("id", "name", "email", "age", "note")


async def test_a_clause_of_another_table_is_named(users, posts, post_table):
    await users.create(alice())
    await posts.create({"author": "a"})

    with pytest.raises(exceptions.UnknownColumnError, match=r"post\.author"):
        await users.retrieve(post_table.c.author == "a")

    within = sa.select(post_table.c.author)
    assert (await users.retrieve(users._table.c.id.in_(within)))["id"] == "a"


@pytest.mark.parametrize("clause", [True, "id = 1", None])
async def test_what_is_no_clause_is_refused(users, clause):
    with pytest.raises(exceptions.InvalidDataError, match="clause"):
        await users.drop(clause)


async def test_a_filter_with_a_list_says_what_to_do(users):
    with pytest.raises(exceptions.InvalidDataError, match=r"in_\("):
        await users.retrieve(id=["a", "b"])


async def test_an_order_direction_is_one_of_two(users):
    with pytest.raises(exceptions.InvalidDataError, match="'asc' or 'desc'"):
        await anext(users.list(order_by="id", order_direction="DESC"))


async def test_what_is_no_record_is_refused(users):
    with pytest.raises(exceptions.InvalidDataError, match="mapping"):
        await users.create([alice()])


@pytest.mark.parametrize(
    "data", [{"age": 2**70}, {"age": "many"}, {"name": "x" * 33}, {"name": "a\x00b"}, {"name": "\ud800"}]
)
async def test_a_value_that_does_not_fit_is_invalid_or_stored_as_the_database_has_it(users, url, data):
    stored_anyway = {"sqlite": ({"name": "x" * 33}, {"name": "a\x00b"}), "mysql": ({"name": "a\x00b"},)}
    if data in stored_anyway.get(url.partition("+")[0], ()):
        assert (await users.create(alice(**data)))[0] == alice(**data)
        return

    # SQLite stores a word in a column of numbers, where it is greater than all of them
    with pytest.raises((exceptions.InvalidDataError, exceptions.IntegrityError)):
        await users.create(alice(**data))

    assert await users.create(alice()) == [alice()]


async def test_breaking_out_of_a_list_leaves_the_connection_usable(posts):
    await posts.create(*({} for _ in range(1000)))

    async for _ in posts.list():
        break
    async for _ in posts.list():
        assert len(await posts.update({"title": "x"})) == 1000
        break

    assert await posts.drop() == 1000


async def test_leaving_a_list_early_frees_its_cursor_on_the_server(posts, connection, url):
    if not url.startswith("postgresql"):
        pytest.skip("only PostgreSQL tells which cursors are open")
    await posts.create(*({} for _ in range(1000)))
    open_cursors = sa.text("SELECT count(*) FROM pg_cursors WHERE statement NOT LIKE '%pg_cursors%'")

    listing = posts.list()
    await anext(listing)
    during = (await connection.execute(open_cursors)).scalar()
    await listing.aclose()
    after_aclose = (await connection.execute(open_cursors)).scalar()
    async for _ in posts.list():
        break
    await posts.update({}, id=1)
    after_break = (await connection.execute(open_cursors)).scalar()

    assert (during, after_aclose, after_break) == (1, 0, 0)
    assert [post async for post in listing] == []


async def test_a_list_can_be_read_while_its_records_change(posts):
    await posts.create(*({} for _ in range(500)))

    async for post in posts.list():
        await posts.delete(id=post["id"])

    assert await posts.drop() == 0


async def test_a_list_goes_on_while_others_are_created(posts):
    await posts.create(*({} for _ in range(500)))
    listing = posts.list(order_by="id")
    first = await anext(listing)

    await posts.create({"title": "x"}, {"title": "x"})

    listed = [first, *[post async for post in listing]]
    assert len({post["id"] for post in listed}) == len(listed) >= 500


async def test_repositories_of_one_kind_and_connection_are_equal(users, posts, connection):
    assert users == type(users)(connection)
    assert hash(users) == hash(type(users)(connection))
    assert users != posts
    assert SQLAlchemyRepository(connection) == SQLAlchemyRepository(connection)
    assert users != "users"


def test_a_repository_without_a_table_cannot_be_made(anyio_backend):
    with pytest.raises(AttributeError, match="_table"):
        SQLAlchemyTableRepository(object())
