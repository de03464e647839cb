"""The module that owns an application's store."""

from flama.memory._store import Store
from flama.modules import Module

__all__ = ["MemoryModule"]


class MemoryModule(Module):
    """A module that provides a store, ``app.memory.store``, for as long as the application exists."""

    name = "memory"

    def __init__(self, store: Store | None = None) -> None:
        self.store = Store() if store is None else store
