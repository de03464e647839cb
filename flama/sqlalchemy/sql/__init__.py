"""Translation to SQL of conditions, orders, pages and the statements of a repository's verbs."""

__all__: list[str] = []
