"""The maximum statement size of servers that speak MySQL, which hang up on larger ones."""

import collections.abc
import typing as t

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from flama import exceptions
from flama.sqlalchemy.drivers._execute import execute_core

__all__ = ["check_row_size", "split_rows"]

_Row: t.TypeAlias = collections.abc.Mapping[str, t.Any]
_Rows: t.TypeAlias = collections.abc.Sequence[_Row]

_BY_PACKETS: t.Final = frozenset(("mysql", "mariadb"))
_MOST_ROWS: t.Final = 1000
# every server accepts this, so it isn't queried for its limit
_SMALL: t.Final = 500_000
_REST: t.Final = 20_000  # reserved for the rest of the statement
_ESCAPED: t.Final = "\0\n\r\x1a\"'\\"


async def check_row_size(connection: AsyncConnection, table: sa.Table, *rows: _Row) -> None:
    """Check that each row fits into a statement.

    :raises InvalidDataError: one is larger than a statement can be.
    """
    if connection.dialect.name not in _BY_PACKETS:
        return
    largest = max(map(_size, rows))
    if largest > _SMALL and largest > (most := await _most(connection)):
        detail = f"a record is {largest:,} bytes of SQL, and the database takes {most:,} (max_allowed_packet)"
        raise exceptions.InvalidDataError(resource=table.name, detail=detail)


async def split_rows(connection: AsyncConnection, rows: _Rows) -> list[_Rows]:
    """Split rows, in their order, into one part for each statement."""
    if connection.dialect.name not in _BY_PACKETS:
        return [rows[start : start + _MOST_ROWS] for start in range(0, len(rows), _MOST_ROWS)]
    sizes = [_size(row) for row in rows]
    most = await _most(connection) if sum(sizes) > _SMALL else _SMALL
    starts, total = [0], 0
    for index, size in enumerate(sizes):
        total += size
        if index - starts[-1] == _MOST_ROWS or (total > most and index > starts[-1]):
            starts.append(index)
            total = size
    return [rows[start:end] for start, end in zip(starts, [*starts[1:], len(rows)], strict=True)]


async def _most(connection: AsyncConnection) -> int:
    most: int = (await execute_core(connection, sa.text("SELECT @@max_allowed_packet"))).scalar_one()
    return most - _REST


def _size(row: _Row) -> int:
    return sum(map(_written, row.values()))


def _written(value: t.Any) -> int:
    # the maximum size of a value in SQL, escapes included
    match value:
        case None | bool() | int() | float():
            return 24
        case bytes() | bytearray() | memoryview():
            found = bytes(value)
            return len(found) + 16 + sum(map(found.count, _ESCAPED.encode()))
    text = value if isinstance(value, str) else str(value)
    return len(text.encode(errors="replace")) + 4 + sum(map(text.count, _ESCAPED))
