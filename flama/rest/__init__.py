"""The wire: what a REST resource and its client agree on, each fact once with both its directions."""

__all__: list[str] = []
