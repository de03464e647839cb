"""How a statement is run on a connection."""

from flama.sqlalchemy.drivers._triggers import may_pass_over
from flama.sqlalchemy.drivers.choice import forget
from flama.sqlalchemy.drivers.connections import (
    Late,
    begin_end,
    begun,
    checked_in,
    checked_out,
    committed_last,
    ended,
    late,
)
from flama.sqlalchemy.drivers.execution import affected, records
from flama.sqlalchemy.drivers.single import COUNTED, READ, WRITTEN, first_batch, read, single
from flama.sqlalchemy.drivers.streams import Stream, close_streams, has_more_to_end, make_way
from flama.sqlalchemy.drivers.transactions import atomic, autocommits, begin_with, only_read, read_alone, run
from flama.sqlalchemy.drivers.writes import (
    are_many,
    check_stored,
    delete_one,
    dropped,
    inserted,
    trigger_error,
    updated,
)

__all__ = [
    "COUNTED",
    "Late",
    "READ",
    "Stream",
    "WRITTEN",
    "affected",
    "are_many",
    "atomic",
    "autocommits",
    "begin_end",
    "begin_with",
    "begun",
    "check_stored",
    "checked_in",
    "checked_out",
    "close_streams",
    "committed_last",
    "delete_one",
    "dropped",
    "ended",
    "first_batch",
    "forget",
    "has_more_to_end",
    "inserted",
    "late",
    "make_way",
    "may_pass_over",
    "only_read",
    "read",
    "read_alone",
    "records",
    "run",
    "single",
    "trigger_error",
    "updated",
]
