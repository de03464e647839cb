"""A store in memory that does what a database does: commit, roll back, refuse what its constraints forbid."""

from flama.memory.definitions import Check, Column, ForeignKey, Kind, Table, Unique
from flama.memory.module import MemoryModule
from flama.memory.rows import Rows
from flama.memory.store import Session, Store, Transaction

__all__ = [
    "Check",
    "Column",
    "ForeignKey",
    "Kind",
    "MemoryModule",
    "Rows",
    "Session",
    "Store",
    "Table",
    "Transaction",
    "Unique",
]
