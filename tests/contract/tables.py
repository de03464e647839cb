"""The collections of the contract as tables, and a worker for them."""

import functools
import types

import sqlalchemy as sa

from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker


@functools.cache
def collections(*, deferred: bool) -> types.SimpleNamespace:
    """Return the tables of the collections. Each has a column whose name differs from its key."""
    metadata = sa.MetaData()
    club = sa.Table(
        "club",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("club_name", sa.String(32), key="name", nullable=False),
    )
    late = {"name": "member_has_mentor", "deferrable": True, "initially": "DEFERRED"}
    mentor = [sa.ForeignKey("member.id", **late)] if deferred else []
    member = sa.Table(
        "member",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(32), nullable=False, default="unnamed"),
        sa.Column("email_address", sa.String(64), key="email", unique=True),
        sa.Column("age", sa.Integer, server_default="18"),
        sa.Column("points", sa.Integer),
        sa.Column("note", sa.String(200)),
        sa.Column("club_id", sa.ForeignKey("club.id", name="member_has_club"), key="club"),
        sa.Column("mentor_id", sa.Integer, *mentor, key="mentor"),
        sa.CheckConstraint("age < 150", name="age_is_human"),
    )
    seat = sa.Table(
        "seat",
        metadata,
        sa.Column("seat_row", sa.String(8), key="row", primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("holder", sa.String(32)),
    )
    return types.SimpleNamespace(metadata=metadata, club=club, member=member, seat=seat)


def expressed(collections: types.SimpleNamespace) -> types.SimpleNamespace:
    """Return the collections with the CHECK constraint as an expression, as the memory backend checks no SQL text."""
    member = collections.member
    (text,) = (each for each in member.constraints if isinstance(each, sa.CheckConstraint))
    member.constraints.remove(text)
    member.append_constraint(sa.CheckConstraint(member.c.age < 150, name=text.name))
    return collections


def worker_of(collections: types.SimpleNamespace, members: type) -> type[SQLAlchemyWorker]:
    """Return a class of workers with the collections, and with a repository of the class ``members``."""
    repositories = {
        "members": type("Members", (members,), {"_table": collections.member}),
        "clubs": type("Clubs", (SQLAlchemyTableRepository,), {"_table": collections.club}),
        "seats": type("Seats", (SQLAlchemyTableRepository,), {"_table": collections.seat}),
    }
    return type("ContractWorker", (SQLAlchemyWorker,), {"__annotations__": repositories})
