"""Sample records, and how tests store and read them."""

import typing as t

from flama.testing._interface import Record, Records, Repository

__all__ = ["ENDLESS", "PEOPLE", "create_each", "fetch_all", "fetch_names", "fetch_sorted", "sort_by_id"]

ENDLESS: t.Final = 10_000  # a list of as many records doesn't end, as a fault in paging may cause

# Sorted neither by their keys nor by another field.
PEOPLE: t.Final[tuple[Record, ...]] = (
    {"id": 3, "name": "c", "age": 30, "note": None, "points": 0},
    {"id": 1, "name": "a", "age": 30, "note": "Ann", "points": 2},
    {"id": 4, "name": "d", "age": None, "note": "100%", "points": None},
    {"id": 2, "name": "b", "age": 0, "note": "ann_e", "points": 2},
)


async def create_each(repository: Repository, *records: Record) -> Records:
    """Store the records one by one: not every repository takes several at once."""
    return [(await repository.create(record))[0] for record in records]


async def fetch_all(repository: Repository, *clauses: t.Any, **options: t.Any) -> Records:
    """Return what the list yields, and fail if it doesn't end."""
    found: Records = []
    async for record in repository.list(*clauses, **options):
        found.append(record)
        assert len(found) < ENDLESS, "the list doesn't end"
    return found


async def fetch_names(repository: Repository, *clauses: t.Any, **options: t.Any) -> str:
    """Return the names in the order of the list, which are letters, as one text."""
    return "".join([record["name"] for record in await fetch_all(repository, *clauses, **options)])


async def fetch_sorted(repository: Repository) -> Records:
    """Return all records, sorted by their ids."""
    return sort_by_id(await fetch_all(repository))


def sort_by_id(records: Records) -> Records:
    """Return the records, sorted by their ids."""
    return sorted(records, key=lambda record: record["id"])
