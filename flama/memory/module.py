"""The module that owns an application's store."""

from flama.memory.store import Store
from flama.modules import Module

__all__ = ["MemoryModule"]


class MemoryModule(Module):
    """Gives the application a store, ``app.memory.store``, for as long as the application is."""

    name = "memory"

    def __init__(self, store: Store | None = None) -> None:
        self.store = Store() if store is None else store
