"""The metadata that an application's tables share."""

import sqlalchemy

__all__ = ["metadata"]

metadata = sqlalchemy.MetaData()
