"""Repositories in memory: the records of a table of a store."""

from flama.ddd.repositories.memory._repository import MemoryRepository

__all__ = ["MemoryRepository"]
