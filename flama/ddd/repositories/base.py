"""What every repository is, wherever its records are kept."""

import abc
import typing as t

__all__ = ["AbstractRepository", "BaseRepository"]


class AbstractRepository(abc.ABC):
    """A collection of one kind of record.

    It works on the session that it is given, and neither opens nor ends one: that is the worker's part. Whichever
    backend keeps the records, the same calls by keyword mean the same:

    ``create(...)``
        store records; :class:`~flama.exceptions.IntegrityError` when a constraint refuses one, and then none is stored
    ``retrieve(id=...)``
        give the one record; :class:`~flama.exceptions.NotFoundError` when there is none
    ``update(data=..., id=...)``
        change it; :class:`~flama.exceptions.IntegrityError` when a constraint refuses
    ``delete(id=...)``
        delete it; :class:`~flama.exceptions.NotFoundError` when there is none
    ``list()``
        iterate over the records, asynchronously, reading them while it goes on
    ``drop()``
        delete them all, and give how many they were

    ``_backend`` is the class of workers that open the session which it needs; None when it needs none.
    """

    _backend: t.ClassVar[t.Any] = None

    @abc.abstractmethod
    def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
        """Take the session to work on."""


class BaseRepository(AbstractRepository):
    """A repository that needs no session."""

    def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
        """Take whatever the worker gives."""
