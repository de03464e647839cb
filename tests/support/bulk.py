"""A service that takes many records at once, and what an attack sends it."""

import os
import typing as t

import pydantic
import sqlalchemy as sa

from flama import Flama
from flama.resources import CRUDResource
from flama.sqlalchemy import SQLAlchemyModule

__all__ = ["SIZE", "app", "array", "items", "lists", "nested"]

SIZE: t.Final = 10 * 2**20 - 64
"""Bytes of a body: as large as an application takes by default, nearly."""

items: t.Final = sa.Table(
    "bulk_item",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String, server_default="none"),
)


class Item(pydantic.BaseModel):
    """A model without anything that must be sent."""

    name: str = ""


class Numbers(pydantic.BaseModel):
    """A model with a list in it."""

    numbers: list[int]


class Items(CRUDResource):
    """A table of defaults: an empty object is a record of it."""

    name = "item"
    model = items


def array(element: bytes, size: int = SIZE) -> bytes:
    """Return a list of as many elements as these bytes hold."""
    return b"[" + b",".join([element] * ((size - 1) // (len(element) + 1))) + b"]"


def lists() -> list[tuple[str, bytes]]:
    """Return bodies that are lists of millions of values, each with the path that it is for."""
    records = array(b"{}")
    return [("/item/", records), ("/item/:upsert/", records), ("/models/", records), ("/models/", array(b"1"))]


def nested() -> list[tuple[str, bytes]]:
    """Return a body that has such a list within an object, with its path."""
    return [("/numbers/", b'{"numbers":' + array(b"[]") + b"}")]


def app() -> Flama:
    """Make the service, on the database that the environment names."""
    served = Flama(modules=[SQLAlchemyModule(os.environ["DATABASE"])])
    served.resources.add_resource("/item/", Items)

    @served.route("/models/", methods=["POST"])
    async def models(data: list[Item]) -> dict[str, int]:
        return {"number": len(data)}

    @served.route("/numbers/", methods=["POST"])
    async def numbers(data: Numbers) -> dict[str, int]:
        return {"number": len(data.numbers)}

    return served
