"""A workaround for numbers that asyncmy writes wrongly into SQL."""

import decimal
import math
import typing as t

from sqlalchemy.ext.asyncio import AsyncConnection

from flama._moments import UnfitValue
from flama._private import sqlalchemy as private

__all__ = ["reject_non_finite"]

_FINITE: t.Final[dict[type, t.Any]] = {float: math.isfinite, decimal.Decimal: decimal.Decimal.is_finite}


def reject_non_finite(connection: AsyncConnection) -> None:
    """Make a connection of asyncmy reject numbers that have no form in SQL.

    asyncmy writes minus infinity as if it were a column name, and likewise a Decimal that is not a number.
    """
    # asyncmy is installed only with MariaDB's extra
    from flama._private import asyncmy  # noqa: PLC0415

    sync = connection.sync_connection
    proxy = None if sync is None else private.proxy(sync)
    if proxy is None or proxy.info.get("flama_finite"):
        return
    encoders = asyncmy.encoders(proxy.driver_connection)
    for number in _FINITE.keys() & encoders.keys():
        encoders[number] = _refuse_non_finite(encoders[number], _FINITE[number])
    proxy.info["flama_finite"] = True


def _refuse_non_finite(encode: t.Any, is_finite: t.Any) -> t.Any:
    def encode_finite(value: t.Any, mapping: t.Any = None) -> t.Any:
        if not is_finite(value):
            raise UnfitValue(f"{value} has no form in SQL")
        return encode(value, mapping)

    return encode_finite
