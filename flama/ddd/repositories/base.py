"""The interface that every repository implements, whatever its backend."""

import abc
import typing as t

__all__ = ["AbstractRepository", "BaseRepository"]


class AbstractRepository(abc.ABC):
    """A collection of one kind of record.

    A repository works on the session that is passed to it. It neither opens nor ends one: that is the worker's job.
    These calls with keyword arguments mean the same for every backend:

    ``create(...)``
        Store records. :class:`~flama.exceptions.IntegrityError` if a constraint rejects one; then none is stored.
    ``retrieve(id=...)``
        Return the record. :class:`~flama.exceptions.NotFoundError` if there is none.
    ``update(data=..., id=...)``
        Change the record. :class:`~flama.exceptions.IntegrityError` if a constraint rejects the change.
    ``delete(id=...)``
        Delete the record. :class:`~flama.exceptions.NotFoundError` if there is none.
    ``list()``
        Iterate asynchronously over the records, which are read during the iteration.
    ``drop()``
        Delete all records and return their number.

    ``_backend`` is the worker class that opens the session; None if the repository needs none.
    """

    _backend: t.ClassVar[t.Any] = None

    @classmethod
    def worker_class(cls) -> t.Any:
        """Return the class of workers that opens the session; None if the repository needs none."""
        return cls._backend

    @abc.abstractmethod
    def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
        """Take the session to work on."""


class BaseRepository(AbstractRepository):
    """A repository that needs no session."""

    def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
        """Accept any arguments from the worker and ignore them."""
