"""What a repository in memory promises of its own; what it has in common with others, the contract and a law hold."""

import dataclasses
import datetime
import uuid

import pydantic
import pytest
import sqlalchemy as sa

from flama import exceptions
from flama.ddd import F, MemoryRepository
from flama.memory import Store

pytestmark = pytest.mark.anyio

metadata = sa.MetaData()
author_table = sa.Table(
    "author",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True, default=uuid.uuid4),
    sa.Column("full_name", sa.String(20), key="name", nullable=False, unique=True),
    sa.Column("tags", sa.JSON(none_as_null=True)),
    sa.Column("seen", sa.Integer, default=0, onupdate=lambda: 7),
)
book_table = sa.Table(
    "book",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("title", sa.String(20), nullable=False),
    sa.Column("author", sa.ForeignKey("author.id", name="book_has_author", ondelete="CASCADE")),
    sa.Column("editor", sa.Uuid, sa.ForeignKey("author.id", ondelete="SET NULL")),
    sa.Column("price", sa.Numeric(6, 2)),
    sa.Column("shop", sa.String(10)),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("created_at", sa.DateTime),
    sa.Column("updated_at", sa.DateTime(timezone=True)),
    sa.Column("deleted_at", sa.DateTime),
)
note_table = sa.Table("note", metadata, sa.Column("text", sa.String(20)))


class Authors(MemoryRepository):
    _table = author_table


class Books(MemoryRepository):
    _table = book_table


class KeptBooks(Books):
    _version = "version"
    _created_at = "created_at"
    _updated_at = "updated_at"
    _deleted_at = "deleted_at"


class Notes(MemoryRepository):
    _table = note_table


class Carts(MemoryRepository):
    _key = "id"
    _name = "cart"


class Seats(MemoryRepository):
    _key = ("row", "number")


@pytest.fixture
async def session():
    async with Store().session() as session:
        yield session


@pytest.fixture
def authors(session):
    return Authors(session)


@pytest.fixture
def books(session):
    return KeptBooks(session)


@pytest.fixture
def carts(session):
    return Carts(session)


async def everything(repository, *clauses, **options):
    return [record async for record in repository.list(*clauses, **options)]


async def test_nobody_changes_what_is_kept_through_what_was_given_or_taken(authors, carts):
    tags = ["a"]
    (created,) = await authors.create({"name": "Ann", "tags": tags})
    (cart,) = await carts.create({"tags": tags})

    for record in (created, await authors.retrieve(), *await everything(authors), cart, await carts.retrieve()):
        record["tags"].append("b")
    tags.append("c")

    assert (await authors.retrieve())["tags"] == ["a"]
    assert (await carts.retrieve())["tags"] == ["a"]


@pytest.mark.parametrize("clause", [author_table.c.name == "Ann", sa.text("1")])
async def test_an_expression_of_sqlalchemys_is_refused_with_what_is_taken(authors, clause):
    await authors.create({"name": "Ann"})

    for ask in (authors.retrieve, authors.count, authors.drop, authors.delete, lambda each: authors.update({}, each)):
        with pytest.raises(
            exceptions.InvalidDataError, match=r"memory can't tell whether .* it takes conditions that F"
        ):
            await ask(clause)


@pytest.mark.parametrize("clause", [True, "name = 'Ann'", None, F.name])
async def test_what_is_no_clause_is_refused(authors, clause):
    with pytest.raises(exceptions.InvalidDataError, match="neither a condition nor an SQLAlchemy clause"):
        await authors.count(clause)


async def test_an_expression_as_a_value_is_refused(authors):
    with pytest.raises(exceptions.InvalidDataError, match="memory can't work SQL expressions out"):
        await authors.create({"name": sa.func.upper("a")})
    with pytest.raises(exceptions.InvalidDataError, match="memory can't work SQL expressions out"):
        await authors.retrieve(name=sa.func.upper("a"))


async def test_columns_of_the_table_stand_for_their_keys(authors):
    await authors.create({"name": "b"}, {"name": "a"})
    column = author_table.c.name

    assert await everything(authors, order_by=column, fields=[column]) == [{"name": "a"}, {"name": "b"}]
    assert await everything(authors, order_by=[(column, "desc")], fields=column) == [{"name": "b"}, {"name": "a"}]
    assert (await authors.upsert({"name": "a", "tags": ["x"]}, on=column, set=author_table.c.tags))[0]["tags"] == ["x"]


async def test_a_column_of_another_table_is_named(authors):
    with pytest.raises(exceptions.InvalidDataError, match="order_by"):
        await everything(authors, order_by=book_table.c.title)
    with pytest.raises(exceptions.UnknownColumnError, match=r"book\.title"):
        await authors.retrieve(fields=[book_table.c.title])


async def test_what_is_asked_of_text_is_not_asked_of_numbers(authors):
    with pytest.raises(exceptions.InvalidDataError, match="'seen' is no text"):
        await authors.count(F.seen.contains("1"))


async def test_a_condition_is_compared_as_its_column_keeps_values(authors, books):
    (ann,) = await authors.create({"name": "Ann"})
    await books.create({"title": "A", "price": 1.5, "author": ann["id"]}, {"title": "B", "price": 2})

    assert await books.count(F.price == 1.5) == 1
    assert await books.count(F.author.in_([ann["id"], uuid.uuid4()])) == 1
    with pytest.raises(exceptions.InvalidDataError, match="'author' is a UUID"):
        await books.count(F.author == str(ann["id"]))


async def test_onupdate_is_set_unless_the_data_say_something_else(authors):
    await authors.create({"name": "Ann"})

    assert (await authors.update({"name": "Bob"}))[0]["seen"] == 7
    assert (await authors.update({"seen": 2}))[0]["seen"] == 2
    assert (await authors.update({}))[0]["seen"] == 2


async def test_a_record_whose_parent_goes_goes_or_forgets_it(authors, books):
    ann, bob = await authors.create({"name": "Ann"}, {"name": "Bob"})
    await books.create({"title": "A", "author": ann["id"]}, {"title": "B", "author": bob["id"], "editor": ann["id"]})

    await authors.delete(id=ann["id"])

    assert await everything(books, fields=["title", "editor"]) == [{"title": "B", "editor": None}]


async def test_an_error_tells_which_reference_was_refused(books):
    with pytest.raises(exceptions.IntegrityError) as caught:
        await books.create({"title": "A", "author": uuid.uuid4()})

    error = caught.value
    assert (error.resource, error.kind, error.constraint, error.fields) == (
        *("book", "foreign_key", "book_has_author"),
        ("author",),
    )


async def test_a_table_without_a_key_is_kept_and_has_no_places(session):
    notes = Notes(session)
    await notes.create({"text": "b"}, {"text": "a"}, {"text": "a"})

    assert await everything(notes, order_by="text", limit=2) == [{"text": "a"}, {"text": "a"}]
    assert await notes.drop(text="a") == 2
    with pytest.raises(exceptions.SQLAlchemyError, match="no primary key"):
        await everything(notes, after={"text": "a"})
    with pytest.raises(exceptions.SQLAlchemyError, match="no primary key"):
        await notes.upsert({"text": "a"})


async def test_a_list_is_what_there_was_when_its_first_record_was_asked_for(carts):
    await carts.create({}, {}, {})

    listing = carts.list()
    await carts.create({})
    found = [await anext(listing)]
    await carts.drop()
    found += [record async for record in listing]

    assert [record["id"] for record in found] == [1, 2, 3, 4]


async def test_a_list_ends_with_its_unit_or_when_it_is_closed():
    async with Store().session() as session:
        carts = Carts(session)
        await carts.create({}, {})
        closed, open_still = carts.list(), carts.list()
        await anext(closed)
        await anext(open_still)
        await closed.aclose()
        assert [record async for record in closed] == []

    with pytest.raises(exceptions.SessionClosedError):
        await anext(open_still)
    with pytest.raises(exceptions.SessionClosedError):
        await carts.count()


@pytest.mark.parametrize("lock", ["update", "share nowait", "update skip locked"])
async def test_what_is_held_is_read_as_ever(carts, lock):
    (cart,) = await carts.create({})

    assert await carts.retrieve(lock=lock) == cart
    assert await everything(carts, lock=lock) == [cart]


async def test_a_lock_that_is_none_is_named(carts):
    with pytest.raises(exceptions.InvalidDataError, match="no lock 'nonsense': it is one of 'update'"):
        await carts.get(lock="nonsense")


async def test_versions_stamps_and_deletions_are_kept_as_in_a_database(books):
    (created,) = await books.create({"title": "A"})
    (changed,) = await books.update({"title": "B", "version": 1}, id=created["id"])
    with pytest.raises(exceptions.ConflictError, match="it isn't of version 1 any more"):
        await books.update({"title": "C", "version": 1}, id=created["id"])
    await books.delete(id=created["id"])

    gone = await books.with_deleted().retrieve()
    assert (created["version"], changed["version"], gone["version"]) == (1, 2, 3)
    assert created["created_at"] == changed["created_at"] == gone["created_at"]
    assert created["updated_at"] < changed["updated_at"] <= gone["updated_at"]
    assert (created["deleted_at"], await books.count()) == (None, 0)
    assert gone["deleted_at"] is not None
    assert await books.with_deleted().drop() == 1


async def test_a_deleted_record_is_still_in_the_way(books):
    await books.create({"id": 1, "title": "A"})
    await books.delete(id=1)

    for write in (books.create, books.upsert, books.get_or_create):
        with pytest.raises(exceptions.IntegrityError) as caught:
            await write({"id": 1, "title": "A"})
        assert (caught.value.kind, caught.value.fields) == ("unique", ("id",))


async def test_a_scope_is_read_stamped_and_never_left(books):
    mine, others = books.scoped(F.shop == "mine", F.price < 10), books.scoped(F.shop == "other")
    (created,) = await mine.create({"title": "A", "price": 1})
    await others.create({"title": "B"})

    assert created["shop"] == "mine"
    assert await everything(mine, fields=["title"]) == [{"title": "A"}]
    assert (await mine.drop(title="B"), await mine.count(F.shop == "other")) == (0, 0)
    for outside in ({"shop": "other"}, {"price": 11}):
        with pytest.raises(exceptions.PermissionDeniedError):
            await mine.update(outside)
        with pytest.raises(exceptions.PermissionDeniedError):
            await mine.create({"title": "C", "price": 1, **outside})
    assert await books.count() == 2
    assert (await books.retrieve(title="A"))["price"] == 1


def test_a_name_that_is_no_column_is_told_at_once():
    with pytest.raises(exceptions.ApplicationError, match=r"'_version' names .*'nonsense'.*title"):
        type("Wrong", (MemoryRepository,), {"_table": book_table, "_version": "nonsense"})


async def test_a_repository_of_nothing_cannot_be_made(session):
    with pytest.raises(AttributeError, match="neither a _table nor a _key"):
        MemoryRepository(session)


async def test_repositories_of_one_table_and_session_are_equal(session, books):
    assert books == KeptBooks(session)
    assert hash(books) == hash(KeptBooks(session))
    assert books != books.with_deleted()
    assert books != Authors(session)
    assert books != "books"


async def test_without_a_table_records_have_whichever_fields_they_like(carts):
    one, two = await carts.create({"owner": "Ann", "items": {"a": 1}}, {"total": 3})

    assert (one, two) == ({"id": 1, "owner": "Ann", "items": {"a": 1}}, {"id": 2, "total": 3})
    assert await everything(carts, F.owner.isnull()) == [two]
    assert await everything(carts, F.total > 1, order_by="-owner") == [two]
    assert await everything(carts, order_by="owner") == [one, two]
    assert await carts.retrieve(items={"a": 1}) == one
    assert await carts.update({"total": 4}, owner="Ann") == [{**one, "total": 4}]
    assert await carts.retrieve(id=2, fields=["owner", "total"]) == {"owner": None, "total": 3}


async def test_without_a_table_the_key_tells_records_apart(carts, session):
    await carts.create({"id": "x"})

    with pytest.raises(exceptions.IntegrityError) as caught:
        await carts.create({"id": "x"})
    assert (caught.value.resource, caught.value.kind, caught.value.fields) == ("cart", "unique", ("id",))
    assert await carts.upsert({"id": "x", "n": 1}) == [{"id": "x", "n": 1}]
    with pytest.raises(exceptions.NotFoundError, match=r"'cart' \(y\) not found"):
        await carts.retrieve(id="y")
    with pytest.raises(exceptions.InvalidDataError, match="'id' is a key, which can't change"):
        await carts.create({"id": ["x"]})
    with pytest.raises(exceptions.IntegrityError) as caught:
        await Seats(session).create({"row": "A"})
    assert (caught.value.kind, caught.value.fields) == ("not_null", ("number",))


async def test_without_a_table_values_that_cannot_be_compared_are_told(carts):
    await carts.create({"n": 1}, {"n": "a"})

    for ask in (
        lambda: carts.count(F.n > 0),
        lambda: everything(carts, order_by="n"),
        lambda: carts.count(F.n.like("a")),
    ):
        with pytest.raises(exceptions.InvalidDataError, match=r"not supported|expected string"):
            await ask()


@pytest.mark.parametrize("ask", ["scoped", "with_deleted"])
async def test_without_a_table_there_are_no_scopes_and_no_deleted_records(carts, ask):
    with pytest.raises(exceptions.ApplicationError, match="'cart'"):
        getattr(carts, ask)()


class Address(pydantic.BaseModel):
    street: str


class User(pydantic.BaseModel):
    id: int | None = None
    name: str
    born: datetime.date | None = None
    address: Address | None = None


@dataclasses.dataclass
class Author:
    name: str
    tags: list[str] | None = None
    id: uuid.UUID | None = None


async def test_values_of_a_type_go_in_and_come_out_without_a_table(session):
    class Users(MemoryRepository[User]):
        _key = "id"

    users, born = Users(session), datetime.date(2000, 1, 2)
    (ann,) = await users.create(User(name="Ann", born=born, address=Address(street="Elm")))

    assert ann == User(id=1, name="Ann", born=born, address=Address(street="Elm"))
    assert await users.retrieve(F.born < datetime.date(2001, 1, 1)) == ann
    assert await users.update(User(name="Eve"), id=1) == [ann.model_copy(update={"name": "Eve"})]
    with pytest.raises(exceptions.UnknownColumnError, match="nonsense"):
        await users.create({"name": "Bob", "nonsense": 1})


async def test_values_of_a_type_go_in_and_come_out_of_a_table(session):
    class TypedAuthors(MemoryRepository[Author]):
        _table = author_table

    authors = TypedAuthors(session)
    (ann,) = await authors.create(Author("Ann", ["a"]))

    assert (ann.name, ann.tags, type(ann.id)) == ("Ann", ["a"], uuid.UUID)
    assert await authors.get_or_create(Author("Ann"), on="name") == (ann, False)


@pytest.mark.parametrize("verb", ["create", "update", "upsert", "get_or_create", "delete", "drop"])
async def test_a_write_that_fails_by_a_fault_changes_nothing(verb):
    store = Store()
    async with store.session() as session:
        carts = Carts(session)
        (cart,) = await carts.create({"id": 1})
        store.fail(verb, exceptions.UnavailableError(resource="cart"), table="cart")

        arguments = [] if verb in ("delete", "drop") else [{"id": 2}]
        with pytest.raises(exceptions.UnavailableError):
            await getattr(carts, verb)(*arguments)

        assert await everything(carts) == [cart]


@pytest.mark.parametrize("verb", ["retrieve", "get", "first", "count", "exists", "list"])
async def test_a_read_can_fail_by_a_fault_once(verb):
    store = Store()
    async with store.session() as session:
        carts = Carts(session)
        await carts.create({"id": 1})
        store.fail(verb, ZeroDivisionError)

        async def read():
            return await (everything(carts) if verb == "list" else getattr(carts, verb)())

        with pytest.raises(ZeroDivisionError):
            await read()
        assert await read()
