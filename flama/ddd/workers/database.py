"""An annotation that binds a repository to one of the application's databases."""

import dataclasses

__all__ = ["Database"]


@dataclasses.dataclass(frozen=True)
class Database:
    """A database, by the name of the application's module.

    Use it in a worker's annotations, ``Annotated[ReportRepository, Database("reports")]``, or as the worker's argument.
    """

    name: str
