"""advanced-alchemy: its repository, with the options that it has by itself."""

from advanced_alchemy.base import DefaultBase
from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from contenders.verbs.contender import Contender
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Mapped, mapped_column

__all__ = ["AdvancedAlchemy"]


class User(DefaultBase):
    """A user."""

    __tablename__ = "user"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    surname: Mapped[str]
    email: Mapped[str] = mapped_column(unique=True)
    password: Mapped[str]
    active: Mapped[bool]


class UserRepository(SQLAlchemyAsyncRepository[User]):
    """The users."""

    model_type = User


class AdvancedAlchemy(Contender):
    """A repository in a session on one connection."""

    libraries = ("advanced-alchemy", "sqlalchemy", "aiosqlite", "asyncpg")
    lacks = {"stream": "its repository lists all records at once"}  # noqa: RUF012

    def __init__(self, engine: AsyncEngine, connection: AsyncConnection) -> None:
        self._engine = engine
        self._connection = connection
        self._session = AsyncSession(connection, expire_on_commit=False)
        self._users = UserRepository(session=self._session)

    @classmethod
    async def open(cls, url):
        engine = create_async_engine(url)
        return cls(engine, await engine.connect())

    async def close(self):
        await self._session.close()
        await self._connection.close()
        await self._engine.dispose()

    async def rollback(self):
        await self._session.rollback()

    async def retrieve(self, id):
        return await self._users.get(id)

    async def create(self, record):
        return await self._users.add(User(**record))

    async def update(self, id, name):
        return await self._users.update(User(id=id, name=name))

    async def delete(self, id):
        await self._users.delete(id)

    async def list(self):
        return await self._users.list()

    async def bulk(self, records):
        return await self._users.add_many([User(**record) for record in records])

    def plain(self, record):
        return record.to_dict()
