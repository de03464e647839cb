"""Detection of triggers or rules by which the database may pass over a record without an error."""

import collections.abc
import time
import typing as t
import weakref

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from flama.sqlalchemy.drivers._execute import execute_core

__all__ = ["may_pass_over"]

_WITHOUT: t.Final = "flama_tables_without_triggers"  # an attribute of the dialect; each engine has its own
_SECONDS: t.Final = 60.0  # seconds until a newly created trigger is noticed

# A partition, or a table that inherits, has triggers of its own. What a view writes to is unknown.
# The bits of tgtype: 1 is FOR EACH ROW, 2 is BEFORE, 8 is DELETE, 16 is UPDATE.
_IN_POSTGRESQL: t.Final = sa.text("""
WITH RECURSIVE written (id) AS (
    SELECT to_regclass(:name) UNION SELECT inhrelid FROM pg_catalog.pg_inherits JOIN written ON inhparent = id
)
SELECT to_regclass(:name) IS NULL OR EXISTS (
    SELECT FROM written JOIN pg_catalog.pg_class ON oid = id WHERE relhasrules OR relkind NOT IN ('r', 'p')
) OR EXISTS (
    SELECT FROM written JOIN pg_catalog.pg_trigger ON tgrelid = id
    WHERE tgtype & 3 = 3 AND tgtype & 24 > 0 AND tgenabled <> 'D'
)
""")
_IN_SQLITE: t.Final = """
SELECT EXISTS (SELECT 1 FROM {schema}.sqlite_master WHERE type = 'trigger' AND tbl_name = :name COLLATE NOCASE)
OR EXISTS (SELECT 1 FROM temp.sqlite_master WHERE type = 'trigger' AND tbl_name = :name COLLATE NOCASE)
"""


async def may_pass_over(connection: AsyncConnection, table: sa.Table) -> bool:
    """Return whether a trigger or a rule may make the database pass over a record without an error.

    A table that has none is looked up at most once a minute.
    """
    dialect = connection.dialect
    if dialect.name not in ("postgresql", "sqlite"):
        return False
    sync = t.cast("sa.Connection", connection.sync_connection)
    if "schema_translate_map" in sync.get_execution_options():
        return True  # there may be several tables of the name
    without: collections.abc.MutableMapping[sa.Table, float] = vars(dialect).setdefault(
        _WITHOUT, weakref.WeakKeyDictionary()
    )
    now = time.monotonic()
    if now < without.get(table, 0.0):
        return False
    found = bool((await execute_core(connection, _look_up(dialect, table))).scalar())
    if not found:
        without[table] = now + _SECONDS
    return found


def _look_up(dialect: sa.Dialect, table: sa.Table) -> sa.TextClause:
    preparer = dialect.identifier_preparer
    if dialect.name == "postgresql":
        return _IN_POSTGRESQL.bindparams(name=preparer.format_table(table))
    schema = preparer.quote(table.schema) if table.schema else "main"
    return sa.text(_IN_SQLITE.format(schema=schema)).bindparams(name=table.name)
