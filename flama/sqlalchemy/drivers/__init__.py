"""Execution of statements on a connection."""

from flama.sqlalchemy.drivers._dml import (
    check_stored,
    delete,
    delete_one,
    insert,
    matches_several,
    trigger_error,
    update,
)
from flama.sqlalchemy.drivers._execute import fetch_records, rowcount
from flama.sqlalchemy.drivers._execute_one import RETURNING, ROWCOUNT, ROWS, execute_one, first_batch, read
from flama.sqlalchemy.drivers._lifecycle import (
    LazyConnection,
    begin,
    checkin,
    checkin_nowait,
    checkout,
    ending_driver,
    finishing_driver,
    lazy_connection,
)
from flama.sqlalchemy.drivers._resolve import reset_transaction_options
from flama.sqlalchemy.drivers._savepoints import (
    allow_autocommit_reads,
    atomic,
    autocommits,
    begin_with,
    run,
    set_read_only,
)
from flama.sqlalchemy.drivers._server_cursors import ServerCursor, close_streams, has_more_to_end, prepare_for_statement
from flama.sqlalchemy.drivers._triggers import may_pass_over

__all__ = [
    "LazyConnection",
    "RETURNING",
    "ROWCOUNT",
    "ROWS",
    "ServerCursor",
    "allow_autocommit_reads",
    "atomic",
    "autocommits",
    "begin",
    "begin_with",
    "check_stored",
    "checkin",
    "checkin_nowait",
    "checkout",
    "close_streams",
    "delete",
    "delete_one",
    "ending_driver",
    "execute_one",
    "fetch_records",
    "finishing_driver",
    "first_batch",
    "has_more_to_end",
    "insert",
    "lazy_connection",
    "matches_several",
    "may_pass_over",
    "prepare_for_statement",
    "read",
    "reset_transaction_options",
    "rowcount",
    "run",
    "set_read_only",
    "trigger_error",
    "update",
]
