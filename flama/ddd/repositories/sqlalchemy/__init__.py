"""Repositories over SQLAlchemy: the records of a table."""

from flama.ddd.repositories.sqlalchemy._repository import (
    SQLAlchemyRepository,
    SQLAlchemyTableManager,
    SQLAlchemyTableRepository,
)

__all__ = ["SQLAlchemyRepository", "SQLAlchemyTableManager", "SQLAlchemyTableRepository"]
