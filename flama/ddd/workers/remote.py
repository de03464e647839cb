"""An annotation that binds a repository to a remote service."""

import collections.abc
import dataclasses
import typing as t

__all__ = ["Remote", "Writes"]

Writes: t.TypeAlias = t.Literal["immediate", "after_commit"]
"""When writes are sent: at once, or when all that can be rolled back has been committed."""


@dataclasses.dataclass(frozen=True)
class Remote:
    """A service, by its base URL or a function that returns it.

    Use it in a worker's annotations, ``Annotated[StockRepository, Remote("https://stock.example")]``, or as the
    worker's argument. ``client`` are further arguments of the client, as pairs.
    """

    url: str | collections.abc.Callable[[], str]
    writes: Writes = "immediate"
    client: tuple[tuple[str, t.Any], ...] = dataclasses.field(default=(), hash=False)  # headers are a dictionary
