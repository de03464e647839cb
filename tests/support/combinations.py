"""Which combinations of parameters a run needs: each pair of values of two parameters, not their full product."""

import pytest

__all__ = ["is_in_pairwise_cover", "is_twin"]

# The ways to use a database that tests combine, and their values by their fixture's name.
_DATABASES = ("memory", "file", "asyncpg", "psycopg", "mariadb")
_WAYS = ("by the driver", "by SQLAlchemy")
_PLACES = ("first of its transaction", "later")


def is_twin(item: pytest.Item) -> bool:
    """Whether another test is the same: SQLAlchemy runs all statements on MariaDB."""
    match _parameters(item):
        case {"url": "mariadb", "way": "by SQLAlchemy"}:
            return True
        case {"way": "by SQLAlchemy"}:
            return not getattr(getattr(item, "cls", None), "can_be_direct", True)
    return False


def is_in_pairwise_cover(item: pytest.Item) -> bool:
    """Whether the test is in the half of a product of three parameters that has every pair of values of any two."""
    match _parameters(item):
        case {"url": str(url), "way": str(way), "begun": str(place)} if url != "mariadb":
            return (_DATABASES.index(url) + _WAYS.index(way) + _PLACES.index(place)) % 2 == 0
    return True


def _parameters(item: pytest.Item) -> dict[str, object]:
    callspec = getattr(item, "callspec", None)
    return {} if callspec is None else callspec.params
