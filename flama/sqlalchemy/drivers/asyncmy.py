"""The numbers that asyncmy, which SQLAlchemy speaks to, writes into SQL wrongly."""

import decimal
import math
import typing as t

from sqlalchemy.ext.asyncio import AsyncConnection

from flama._moments import UnfitValue

__all__ = ["write_finite"]


def write_finite(connection: AsyncConnection) -> None:
    """Let a connection of asyncmy refuse numbers that the SQL has no form for.

    It writes minus infinity as if it were the name of a column, and so what is no number if it is a Decimal.
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
