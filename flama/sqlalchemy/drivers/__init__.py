"""How a statement is run on a connection."""

from flama.sqlalchemy.drivers.execution import affected, records
from flama.sqlalchemy.drivers.streams import Stream, close_streams, make_way
from flama.sqlalchemy.drivers.transactions import atomic
from flama.sqlalchemy.drivers.writes import delete_one, dropped, inserted, updated

__all__ = [
    "Stream",
    "affected",
    "atomic",
    "close_streams",
    "delete_one",
    "dropped",
    "inserted",
    "make_way",
    "records",
    "updated",
]
