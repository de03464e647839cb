"""The service by FastAPI and SQLAlchemy: a session for each request, a mapped class, models in and out."""

import collections.abc
import os
import typing as t
import uuid

import sqlalchemy as sa
from contenders.table import user_columns
from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase

__all__ = ["app"]

engine = create_async_engine(f"postgresql+asyncpg{os.environ['DATABASE'].removeprefix('postgresql')}")
sessions = async_sessionmaker(engine, expire_on_commit=False)
app = FastAPI(openapi_url=None)


class Base(DeclarativeBase):
    """What is mapped."""


class Row(Base):
    """A row of users."""

    __table__ = sa.Table("user", Base.metadata, *user_columns())


class User(BaseModel):
    """What is sent and answered."""

    model_config = ConfigDict(from_attributes=True)

    id: str | None = None
    name: str
    surname: str
    email: str
    password: str
    active: bool = False


async def session() -> collections.abc.AsyncIterator[AsyncSession]:
    async with sessions() as opened:
        yield opened


Session = t.Annotated[AsyncSession, Depends(session)]


@app.post("/user/")
async def create(data: User, session: Session) -> User:
    row = Row(**{**data.model_dump(), "id": data.id or str(uuid.uuid4())})
    session.add(row)
    await session.commit()
    return User.model_validate(row)


@app.get("/user/{user_id}/")
async def retrieve(user_id: str, session: Session) -> User:
    return User.model_validate(await _found(session, user_id))


@app.put("/user/{user_id}/")
async def update(user_id: str, data: User, session: Session) -> User:
    row = await _found(session, user_id)
    for name, value in data.model_dump(exclude={"id"}).items():
        setattr(row, name, value)
    await session.commit()
    return User.model_validate(row)


async def _found(session: AsyncSession, user_id: str) -> Row:
    row = await session.get(Row, user_id)
    if row is None:
        raise HTTPException(404)
    return row
