"""SQL through SQLAlchemy: the shared metadata, and the module that owns the engine."""

from flama import _distribution as _distribution
from flama.sqlalchemy.metadata import metadata
from flama.sqlalchemy.module import SQLAlchemyModule

__all__ = ["SQLAlchemyModule", "metadata"]
