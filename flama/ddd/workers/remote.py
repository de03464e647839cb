"""Which remote service a repository is about."""

import collections.abc
import dataclasses
import typing as t

__all__ = ["Remote", "Writes"]

Writes: t.TypeAlias = t.Literal["immediate", "after_commit"]
"""When what is written is sent: at once, or when all that can be rolled back has been committed."""


@dataclasses.dataclass(frozen=True)
class Remote:
    """A service, by the base of its paths or a function that gives it.

    In a worker's annotations, ``Annotated[StockRepository, Remote("https://stock.example")]``, or as its argument.
    ``client`` are further arguments of the client, as pairs.
    """

    url: str | collections.abc.Callable[[], str]
    writes: Writes = "immediate"
    client: tuple[tuple[str, t.Any], ...] = dataclasses.field(default=(), hash=False)  # headers are a dictionary
