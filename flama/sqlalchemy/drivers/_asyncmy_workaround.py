"""A workaround for numbers that asyncmy writes wrongly into SQL."""

import decimal
import math
import typing as t

from sqlalchemy.ext.asyncio import AsyncConnection

from flama._moments import UnfitValue

__all__ = ["reject_non_finite"]


def reject_non_finite(connection: AsyncConnection) -> None:
    """Make a connection of asyncmy reject numbers that have no form in SQL.

    asyncmy writes minus infinity as if it were a column name, and likewise a Decimal that is not a number.
    """
    sync: t.Any = connection.sync_connection
    fairy = sync._dbapi_connection if sync is not None else None
    if fairy is None or fairy.info.get("flama_finite"):
        return
    encoders = fairy.driver_connection._encoders
    for number, finite in ((float, math.isfinite), (decimal.Decimal, decimal.Decimal.is_finite)):
        encoders[number] = _finite(encoders[number], finite)
    fairy.info["flama_finite"] = True


def _finite(encode: t.Any, is_finite: t.Any) -> t.Any:
    def encoded(value: t.Any, mapping: t.Any = None) -> t.Any:
        if not is_finite(value):
            raise UnfitValue(f"{value} has no form in SQL")
        return encode(value, mapping)

    return encoded
