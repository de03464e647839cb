"""SQLModel: its models in its session."""

from contenders.verbs.contender import Contender
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlmodel import Field, SQLModel, select
from sqlmodel.ext.asyncio.session import AsyncSession

__all__ = ["SQLModelSession"]


class User(SQLModel, table=True):
    """A user."""

    id: str = Field(primary_key=True)
    name: str
    surname: str
    email: str = Field(unique=True)
    password: str
    active: bool


class SQLModelSession(Contender):
    """A session on one connection."""

    libraries = ("sqlmodel", "sqlalchemy", "pydantic", "aiosqlite", "asyncpg")

    def __init__(self, engine: AsyncEngine, connection: AsyncConnection) -> None:
        self._engine = engine
        self._connection = connection
        self._session = AsyncSession(connection, expire_on_commit=False)

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
        return await self._session.get_one(User, id)

    async def create(self, record):
        user = User(**record)
        self._session.add(user)
        await self._session.flush()
        return user

    async def update(self, id, name):
        user = await self._session.get_one(User, id)
        user.sqlmodel_update({"name": name})
        self._session.add(user)
        await self._session.flush()
        return user

    async def delete(self, id):
        await self._session.delete(await self._session.get_one(User, id))
        await self._session.flush()

    async def list(self):
        return (await self._session.exec(select(User))).all()

    async def stream(self):
        count = 0
        async for _ in await self._session.stream_scalars(select(User).execution_options(yield_per=1000)):
            count += 1
        return count

    async def bulk(self, records):
        users = [User(**record) for record in records]
        self._session.add_all(users)
        await self._session.flush()
        return users

    def plain(self, record):
        return record.model_dump()
