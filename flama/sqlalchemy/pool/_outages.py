"""A log of database outages: one message when it goes down, one when it is back."""

import logging
import typing as t

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

__all__ = ["log_outages"]

_logger = logging.getLogger("flama.sqlalchemy")


def log_outages(engine: AsyncEngine) -> None:
    """Log, from now on, each outage of the database once, with its cause, and each recovery."""
    outage = _Outage(engine.url.render_as_string(hide_password=True))
    event.listen(engine.sync_engine, "do_connect", outage.connect)


class _Outage:
    # State: whether the last attempt to connect failed.

    def __init__(self, database: str) -> None:
        self._database = database
        self._is_down = False

    def connect(self, dialect: t.Any, record: t.Any, args: tuple[t.Any, ...], options: dict[str, t.Any]) -> t.Any:
        try:
            connection = dialect.connect(*args, **options)
        except Exception as error:
            if not self._is_down:
                self._is_down = True
                # the message names the cause: a traceback would only show the driver's internals
                _logger.error("The database can't be reached: %s: %r", self._database, error)  # noqa: TRY400
            raise
        if self._is_down:
            self._is_down = False
            _logger.warning("The database can be reached again: %s", self._database)
        return connection
