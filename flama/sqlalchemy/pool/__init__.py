"""The pool of an engine's connections."""

from flama.sqlalchemy.pool._dispose import dispose
from flama.sqlalchemy.pool._fair_pool import FairPool
from flama.sqlalchemy.pool._leak_detector import LeakDetector
from flama.sqlalchemy.pool._options import check_pool_options
from flama.sqlalchemy.pool._outages import log_outages
from flama.sqlalchemy.pool._stream_slots import StreamSlots

__all__ = ["FairPool", "LeakDetector", "StreamSlots", "check_pool_options", "dispose", "log_outages"]
