"""What type checkers must see of the records of repositories, and what they must refuse; never run.

A line that they must refuse says so in a comment; both are told to complain of a comment that they don't need.
"""

import dataclasses
import typing as t

import msgspec
import pydantic
import sqlalchemy

from flama.ddd import F, HTTPResourceRepository, RecordIterator
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.repositories.sqlalchemy._explain import Explanation
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.sqlalchemy import metadata

user_table = sqlalchemy.Table("typed_user", metadata)


class User(pydantic.BaseModel):
    id: int
    name: str


@dataclasses.dataclass
class Tool:
    id: int


class Shop(msgspec.Struct):
    id: int


class City(t.TypedDict):
    id: int


class Users(SQLAlchemyTableRepository[User]):
    _table = user_table
    _version = "version"


class Admins(Users):
    pass


class Tools(SQLAlchemyTableRepository[Tool]):
    _table = user_table


class Shops(SQLAlchemyTableRepository[Shop]):
    _table = user_table


class Cities(SQLAlchemyTableRepository[City]):
    _table = user_table


class Plain(SQLAlchemyTableRepository):
    _table = user_table


class RemoteUsers(HTTPResourceRepository[User]):
    _resource = "/user"


class RemotePlain(HTTPResourceRepository):
    _resource = "/user"


Row = t.TypeVar("Row")


class Base(SQLAlchemyTableRepository[Row]):
    async def all(self) -> list[Row]:
        return [record async for record in self.list()]


class Worker(SQLAlchemyWorker):
    users: Users
    tools: Base[Tool]


async def reads(users: Users, admins: Admins, cities: Cities, plain: Plain) -> None:
    t.assert_type(await users.retrieve(id=1), User)
    t.assert_type(await users.get(F.id == 1), User | None)
    t.assert_type(await users.first(order_by="-name"), User | None)
    t.assert_type(users.list(limit=3), RecordIterator[User])
    t.assert_type(await users.list(limit=3).all(), list[User])
    t.assert_type(await users.create_one({"name": "Ann"}), User)
    t.assert_type(await users.create_many([User(id=1, name="Ann")]), list[User])
    t.assert_type([user async for user in users.list()], list[User])
    t.assert_type(await admins.retrieve(id=1, lock="update"), User)
    t.assert_type(await cities.retrieve(id=1), City)
    t.assert_type(await plain.retrieve(id=1), dict[str, t.Any])
    t.assert_type([user async for user in plain.list()], list[dict[str, t.Any]])
    t.assert_type(await users.retrieve(id=1, fields=["name"]), dict[str, t.Any])
    t.assert_type(await users.first(fields="name"), dict[str, t.Any] | None)
    t.assert_type([user async for user in users.list(fields=["name"])], list[dict[str, t.Any]])
    _ = (await users.retrieve(id=1)).nonsense  # type: ignore[attr-defined]
    _ = (await users.get(id=1)).name  # type: ignore[union-attr]
    await users.retrieve(id=1, lock="forever")  # type: ignore[call-overload]
    await users.retrieve(id=1, fields=3)  # type: ignore[call-overload]


async def writes(users: Users, tools: Tools, shops: Shops, cities: Cities, plain: Plain) -> None:
    t.assert_type(await users.create(User(id=1, name="Ann"), {"name": "Bob"}), list[User])
    t.assert_type(await tools.create(Tool(1)), list[Tool])
    t.assert_type(await shops.create(Shop(1)), list[Shop])
    t.assert_type(await cities.create({"id": 1}), list[City])
    t.assert_type(await plain.create({"id": 1}), list[dict[str, t.Any]])
    t.assert_type(await users.update(User(id=1, name="Ann"), id=1, max_affected=1), list[User])
    t.assert_type(await users.update({"name": "Ann"}, id=1), list[User])
    t.assert_type(await users.upsert(User(id=1, name="Ann"), on="name", set=["name"]), list[User])
    t.assert_type(await users.upsert(User(id=1, name="Ann"), on=[user_table.c.name]), list[User])
    t.assert_type(await users.get_or_create({"name": "Ann"}, on="name"), tuple[User, bool])
    t.assert_type(await users.drop(max_affected=2), int)
    await users.create(Tool(1))  # type: ignore[arg-type]
    await users.create(3)  # type: ignore[arg-type]
    await users.update(Tool(1), id=1)  # type: ignore[arg-type]
    await users.upsert(User(id=1, name="Ann"), on=3)  # type: ignore[arg-type]
    await users.drop(max_affected="2")  # type: ignore[arg-type]


async def options(users: Users, admins: Admins, plain: Plain) -> None:
    t.assert_type(users.scoped(F.name == "Ann"), Users)
    t.assert_type(admins.scoped(F.id > 1, F.name == "Ann").with_deleted(), Admins)
    t.assert_type(await users.scoped(F.name == "Ann").retrieve(id=1), User)
    t.assert_type(await plain.with_deleted().get(id=1), dict[str, t.Any] | None)
    t.assert_type(await users.explain("list", F.id > 1, order_by="-name", limit=3), Explanation)
    users.scoped(name="Ann")  # type: ignore[call-arg]
    users.scoped("name")  # type: ignore[arg-type]
    await users.explain("nonsense")  # type: ignore[arg-type]


async def remote(users: RemoteUsers, plain: RemotePlain) -> None:
    t.assert_type(await users.create(User(id=1, name="Ann")), User)
    t.assert_type(await users.retrieve(1), User)
    t.assert_type(await users.partial_update(1, {"name": "Ann"}), User)
    t.assert_type(await users.replace([User(id=1, name="Ann")]), list[User])
    t.assert_type([user async for user in users.list()], list[User])
    t.assert_type(await plain.retrieve(1), dict[str, t.Any])
    await users.create(Tool(1))  # type: ignore[call-overload]


async def units() -> None:
    async with Worker() as worker:
        t.assert_type(await worker.users.retrieve(id=1), User)
        t.assert_type(await worker.tools.all(), list[Tool])


class Wrong(SQLAlchemyTableRepository[User, int]):  # type: ignore[type-arg]
    pass
