"""How a statement is run on a connection."""

from flama.sqlalchemy.drivers.choice import forget
from flama.sqlalchemy.drivers.connections import Late, begun, checked_in, checked_out, ended, late
from flama.sqlalchemy.drivers.execution import affected, records
from flama.sqlalchemy.drivers.single import counted, written
from flama.sqlalchemy.drivers.streams import Stream, close_streams, make_way
from flama.sqlalchemy.drivers.transactions import atomic, autocommits, begin_with, read_alone, run
from flama.sqlalchemy.drivers.writes import delete_one, inserted, updated

__all__ = [
    "Late",
    "Stream",
    "affected",
    "atomic",
    "autocommits",
    "begin_with",
    "begun",
    "checked_in",
    "checked_out",
    "close_streams",
    "counted",
    "delete_one",
    "ended",
    "forget",
    "inserted",
    "late",
    "make_way",
    "read_alone",
    "records",
    "run",
    "updated",
    "written",
]
