"""Detection of prepared statements that are stale: the schema has changed since, or the server has dropped them."""

import typing as t

__all__ = ["is_stale"]

_FORGOTTEN: t.Final = frozenset(("26000", "42P05"))  # no such prepared statement, or another one of this name
_NOT_SUPPORTED: t.Final = "0A000"  # among them: "cached plan must not change result type"
_INTERNAL: t.Final = "XX000"  # among them: "cache lookup failed for type 12345", which is never translated


def is_stale(error: BaseException | None) -> bool:
    """Whether PostgreSQL refuses a prepared statement as stale, by either driver: prepared again, it may run."""
    state = getattr(error, "sqlstate", None)
    if state in _FORGOTTEN:
        return True
    if state == _INTERNAL:
        return str(error).startswith("cache lookup failed for ")
    return state == _NOT_SUPPORTED and _routine(error) == "RevalidateCachedQuery"


def _routine(error: t.Any) -> t.Any:
    # the server function that raised it: psycopg's attribute, then asyncpg's or that of SQLAlchemy's adapter of it
    details = getattr(error, "diag", None)
    if details is not None:
        return details.source_function
    return getattr(error, "server_source_function", None) or getattr(error.__cause__, "server_source_function", None)
