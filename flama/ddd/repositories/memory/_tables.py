"""Repositories in memory of SQLAlchemy tables."""

import functools
import typing as t

import sqlalchemy as sa

from flama import policies
from flama.ddd.repositories._typed import row_adapter
from flama.ddd.repositories.memory._from_sqlalchemy import schema_of
from flama.ddd.repositories.memory._repository import ClassConfig
from flama.sqlalchemy.sql._table_info import json_columns, policy_columns, python_types

__all__ = ["class_config"]


@functools.lru_cache(1000)
def class_config(table: sa.Table, record: t.Any, names: policies.Declaration) -> ClassConfig:
    """Return the declarations of a repository class with a table.

    :raises ApplicationError: one of the names is not a column of the table.
    """
    adapter, columns = row_adapter(record, json_columns(table)), policy_columns(table)
    columns.check_declared(record, adapter.fields if adapter else ())
    return ClassConfig(adapter, schema_of(table), python_types(table), policies.declare(columns, names))
