"""The wire format of REST: each part is encoded and decoded in one module, for resources and their clients."""

__all__: list[str] = []
