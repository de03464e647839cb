"""The service by Litestar and advanced-alchemy: its plugin, a repository for each request, msgspec's structs."""

import os

import msgspec
from advanced_alchemy.base import DefaultBase
from advanced_alchemy.extensions.litestar import (
    AsyncSessionConfig,
    SQLAlchemyAsyncConfig,
    SQLAlchemyPlugin,
)
from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from litestar import Litestar, get, post, put
from litestar.di import Provide
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

__all__ = ["app"]


class Row(DefaultBase):
    """A row of users."""

    __tablename__ = "user"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    surname: Mapped[str]
    email: Mapped[str] = mapped_column(unique=True)
    password: Mapped[str]
    active: Mapped[bool]


class User(msgspec.Struct):
    """What is sent and answered."""

    id: str
    name: str
    surname: str
    email: str
    password: str
    active: bool = False


class Users(SQLAlchemyAsyncRepository[Row]):
    """The users."""

    model_type = Row


async def provide_users(db_session: AsyncSession) -> Users:
    return Users(session=db_session)


@post("/user/", status_code=200)
async def create(users: Users, data: User) -> User:
    return _user(await users.add(Row(**msgspec.to_builtins(data))))


@get("/user/{user_id:str}/")
async def retrieve(users: Users, user_id: str) -> User:
    return _user(await users.get(user_id))


@put("/user/{user_id:str}/")
async def update(users: Users, user_id: str, data: User) -> User:
    return _user(await users.update(Row(**{**msgspec.to_builtins(data), "id": user_id})))


def _user(row: Row) -> User:
    return msgspec.convert(row, User, from_attributes=True)


config = SQLAlchemyAsyncConfig(
    connection_string=f"postgresql+asyncpg{os.environ['DATABASE'].removeprefix('postgresql')}",
    session_config=AsyncSessionConfig(expire_on_commit=False),
    before_send_handler="autocommit",
)
app = Litestar(
    [create, retrieve, update],
    dependencies={"users": Provide(provide_users)},
    plugins=[SQLAlchemyPlugin(config)],
    openapi_config=None,
)
