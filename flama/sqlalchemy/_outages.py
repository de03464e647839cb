"""A log of when a database is down or back, once each, however many connections are asked for."""

import logging
import typing as t

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

__all__ = ["watch"]

_logger = logging.getLogger("flama.sqlalchemy")


def watch(engine: AsyncEngine) -> None:
    """Log, from now on, the first time that the database can't be reached, with the cause, and when it is back."""
    outage = _Outage(engine.url.render_as_string(hide_password=True))
    event.listen(engine.sync_engine, "do_connect", outage.connect)


class _Outage:
    # its state: whether the last attempt to connect failed

    def __init__(self, database: str) -> None:
        self._database = database
        self._is_down = False

    def connect(self, dialect: t.Any, record: t.Any, args: tuple[t.Any, ...], options: dict[str, t.Any]) -> t.Any:
        try:
            connection = dialect.connect(*args, **options)
        except Exception as error:
            if not self._is_down:
                self._is_down = True
                # the line names the cause: a traceback would be of the driver's inside
                _logger.error("The database can't be reached: %s: %r", self._database, error)  # noqa: TRY400
            raise
        if self._is_down:
            self._is_down = False
            _logger.warning("The database can be reached again: %s", self._database)
        return connection
