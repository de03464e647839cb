"""An in-memory store that behaves like a database: transactions, savepoints and constraints."""

from flama.memory._store import Session, Store, Transaction
from flama.memory._table_data import TableData
from flama.memory.module import MemoryModule
from flama.memory.schema import Check, Column, ForeignKey, Table, TypeCodec, Unique

__all__ = [
    "Check",
    "Column",
    "ForeignKey",
    "MemoryModule",
    "Session",
    "Store",
    "Table",
    "TableData",
    "Transaction",
    "TypeCodec",
    "Unique",
]
