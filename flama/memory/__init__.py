"""An in-memory store that behaves like a database: transactions, savepoints and constraints."""

from flama.memory._store import Session, Store, Transaction
from flama.memory._table_data import Rows
from flama.memory.module import MemoryModule
from flama.memory.schema import Check, Column, ForeignKey, Kind, Table, Unique

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
