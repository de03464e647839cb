"""Which combinations of parameters a run needs: each pair of values of two parameters, not their full product."""

import collections
import collections.abc
import itertools
import zlib

import pytest

__all__ = ["beyond_pairs", "is_twin"]

# A database's file and its memory have one driver, and SQLAlchemy runs statements on PostgreSQL's drivers alike.
_COVERED = {("memory", "by SQLAlchemy"), ("file", "by the driver"), ("psycopg", "by SQLAlchemy")}
_ALIKE = (("memory", "file"), ("asyncpg", "psycopg"))  # where a test is marked ``any_driver``

_Pair = tuple[tuple[int, tuple[int, ...]], ...]  # of two parameters, each its number and its values' ids
_Product = dict[pytest.Item, set[_Pair]]


def is_twin(item: pytest.Item) -> bool:
    """Whether another test is the same: SQLAlchemy runs all statements on MariaDB."""
    match _values(item):
        case {"url": "mariadb", "way": "by SQLAlchemy"}:
            return True
        case {"way": "by SQLAlchemy"}:
            return not getattr(getattr(item, "cls", None), "can_be_direct", True)
    return False


def beyond_pairs(items: collections.abc.Iterable[pytest.Item]) -> collections.abc.Iterator[pytest.Item]:
    """Yield the items that run no pair of values of their test's parameters that no other item of the test runs.

    Of databases and ways to run statements on them, some pairs count for others. A test marked ``any_driver`` takes
    another driver of a database, or another place of SQLite's, than the next test.
    """
    tests = collections.defaultdict[str, _Product](dict)
    for item in items:
        if item.get_closest_marker("exhaustive") or _is_covered(item):
            yield item
        else:
            tests[_test(item)][item] = _pairs(item)
    for product in tests.values():
        yield from _beyond_cover(product)


def _is_covered(item: pytest.Item) -> bool:
    values = _values(item)
    database = values.get("url", getattr(getattr(item, "cls", None), "driver", None))
    if (database, values.get("way")) in _COVERED:
        return True
    turn = zlib.crc32(_test(item).encode()) % 2
    return item.get_closest_marker("any_driver") is not None and any(database == alike[turn] for alike in _ALIKE)


def _test(item: pytest.Item) -> str:
    return item.nodeid.partition("[")[0]


def _beyond_cover(product: _Product) -> _Product:
    missing = set[_Pair]().union(*product.values())
    if len(missing) == sum(map(len, product.values())):
        return {}  # each item has pairs of its own, as where there are two parameters at most
    while missing:
        best = max(product, key=lambda item: len(product[item] & missing))
        missing -= product.pop(best)
    return product


def _pairs(item: pytest.Item) -> set[_Pair]:
    values = _values(item)
    parameters = [tuple(id(values[name]) for name in names) for names in _parameters(item)]
    return set(itertools.combinations(enumerate(parameters), min(2, len(parameters))))


def _parameters(item: pytest.Item) -> list[list[str]]:
    """Return the names of each parameter: several where a mark has rows of values."""
    rows = [_names(mark.args[0]) for mark in item.iter_markers("parametrize")]
    alone = _values(item).keys() - set(itertools.chain.from_iterable(rows))
    return rows + [[name] for name in sorted(alone)]


def _names(argument: str | collections.abc.Sequence[str]) -> list[str]:
    return argument.replace(",", " ").split() if isinstance(argument, str) else list(argument)


def _values(item: pytest.Item) -> dict[str, object]:
    callspec = getattr(item, "callspec", None)
    return {} if callspec is None else callspec.params
