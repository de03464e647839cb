"""Which of an application's databases a repository is about."""

import dataclasses

__all__ = ["Database"]


@dataclasses.dataclass(frozen=True)
class Database:
    """A database, by the name of the application's module.

    In a worker's annotations, ``Annotated[ReportRepository, Database("reports")]``, or as its argument.
    """

    name: str
