"""The verbs of a repository on a table of users, as every contender has them."""

import abc
import collections.abc
import typing as t

__all__ = ["KEYS", "NAMES", "Contender", "Record", "dsn", "file_of", "user"]

KEYS: t.Final = ("id", "name", "surname", "email", "password", "active")
NAMES: t.Final = ", ".join(KEYS)

Record: t.TypeAlias = dict[str, t.Any]


def user(number: int, prefix: str = "user") -> Record:
    """Give a record."""
    return {
        "id": f"{prefix}-{number}",
        "name": "Alice",
        "surname": "Smith",
        "email": f"{prefix}-{number}@example.com",
        "password": "hashed_password",
        "active": number % 2 == 0,
    }


def file_of(url: str) -> str:
    """Give the file that a URL of SQLite names."""
    return url.partition(":///")[2]


def dsn(url: str) -> str:
    """Give a URL of PostgreSQL without the name of a driver."""
    return f"postgresql://{url.partition('://')[2]}"


class Contender(abc.ABC):
    """The verbs, in a transaction at a time; each gives records of the contender's own kind."""

    libraries: t.ClassVar[tuple[str, ...]] = ()
    """What it stands on, itself first: whose versions a reader must know."""

    lacks: t.ClassVar[collections.abc.Mapping[str, str]] = {}
    """The verbs that it doesn't have, and why."""

    @classmethod
    @abc.abstractmethod
    async def open(cls, url: str) -> t.Self: ...

    @abc.abstractmethod
    async def close(self) -> None: ...

    async def begin(self) -> None:  # noqa: B027
        """Begin a transaction, unless the first statement does."""

    @abc.abstractmethod
    async def rollback(self) -> None: ...

    @abc.abstractmethod
    async def retrieve(self, id: str) -> t.Any: ...

    @abc.abstractmethod
    async def create(self, record: Record) -> t.Any: ...

    @abc.abstractmethod
    async def update(self, id: str, name: str) -> t.Any:
        """Change the name, and give the record as it is then."""

    @abc.abstractmethod
    async def delete(self, id: str) -> None:
        """Delete the record, and assert that there was one."""

    @abc.abstractmethod
    async def list(self) -> collections.abc.Sequence[t.Any]: ...

    async def stream(self) -> int:
        """Give how many records came, of which but a few are in memory at a time."""
        raise NotImplementedError

    @abc.abstractmethod
    async def bulk(self, records: "list[Record]") -> collections.abc.Sequence[t.Any]: ...

    def plain(self, record: t.Any) -> Record:
        """Give one of its records as a dictionary; never within the timed part."""
        return record
