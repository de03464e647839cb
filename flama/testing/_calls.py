"""Calls of the verbs that take clauses and filters, for tests that hold for each of them."""

import collections.abc
import typing as t

from flama.testing._records import fetch_all

__all__ = ["CALLS", "CALLS_WITH_ID", "QUERIES"]

_Call: t.TypeAlias = collections.abc.Callable[..., collections.abc.Awaitable[t.Any]]

CALLS: t.Final[dict[str, _Call]] = {
    "retrieve": lambda repository, *clauses, **filters: repository.retrieve(*clauses, **filters),
    "list": fetch_all,
    "update": lambda repository, *clauses, **filters: repository.update({"points": 9}, *clauses, **filters),
    "update of nothing": lambda repository, *clauses, **filters: repository.update({}, *clauses, **filters),
    "delete": lambda repository, *clauses, **filters: repository.delete(*clauses, **filters),
    "drop": lambda repository, *clauses, **filters: repository.drop(*clauses, **filters),
}
# With positional ids, these take an id where a condition may be.
CALLS_WITH_ID: t.Final = frozenset({"retrieve", "update", "update of nothing", "delete"})
QUERIES: t.Final[dict[str, _Call]] = {
    "get": lambda repository, *clauses, **filters: repository.get(*clauses, **filters),
    "first": lambda repository, *clauses, **filters: repository.first(*clauses, **filters),
    "count": lambda repository, *clauses, **filters: repository.count(*clauses, **filters),
    "exists": lambda repository, *clauses, **filters: repository.exists(*clauses, **filters),
}
