"""Defaults of SQLAlchemy columns, evaluated in Python."""

import collections.abc
import datetime
import decimal
import json
import re
import typing as t
import uuid

import sqlalchemy as sa
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.sql import elements, functions

from flama import exceptions
from flama.memory.schema import Default, Row

__all__ = ["compile_default", "compile_onupdate"]

_TimeFunction: t.TypeAlias = collections.abc.Callable[[], t.Any]

_NUMBER: t.Final = re.compile(r"[+-]?\d+(\.\d*)?")
_QUOTED: t.Final = re.compile(r"'((?:[^']|'')*)'")
_WORDS: t.Final[dict[str, t.Any]] = {"null": None, "true": True, "false": False}
_TRUTHS: t.Final = {"1": True, "t": True, "true": True, "0": False, "f": False, "false": False}


def compile_default(column: sa.Column[t.Any]) -> Default | None:
    """Return the function from a new record to a column's default; None when the column has none.

    A default that only a database can evaluate raises ApplicationError as soon as a record needs it.
    """
    if column.computed is not None:
        return _refuse_default(column, str(column.computed.sqltext))
    if column.default is not None:
        return _compile_python_default(column, column.default)
    if column.server_default is None or column.identity is not None:
        return None
    return _compile_sql_default(column, getattr(column.server_default, "arg", None))


def compile_onupdate(column: sa.Column[t.Any]) -> Default | None:
    """Return the function from a record's changes to a column's ``onupdate``; None when the column has none."""
    return None if column.onupdate is None else _compile_python_default(column, column.onupdate)


_PARSERS: t.Final[tuple[tuple[type[t.Any], collections.abc.Callable[[str], t.Any]], ...]] = (
    (sa.Boolean, lambda text: _TRUTHS[text.lower()]),
    (sa.Integer, int),
    (sa.Float, float),
    (sa.Numeric, decimal.Decimal),
    (sa.JSON, json.loads),
    (sa.DateTime, datetime.datetime.fromisoformat),
    (sa.Date, datetime.date.fromisoformat),
    (sa.Time, datetime.time.fromisoformat),
)


class _DefaultContext:
    # the context that SQLAlchemy passes to a default

    def __init__(self, row: Row) -> None:
        self.current_parameters = dict(row)

    def get_current_parameters(self, isolate_multiinsert_groups: bool = True) -> Row:
        return self.current_parameters


def _compile_python_default(column: sa.Column[t.Any], given: t.Any) -> Default | None:
    if given.is_sequence:
        return None
    if given.is_callable:
        return lambda row: given.arg(_DefaultContext(row))
    return _compile_sql_default(column, given.arg) if given.is_clause_element else lambda row: given.arg


def _compile_sql_default(column: sa.Column[t.Any], expression: t.Any) -> Default:
    match expression:
        case str():
            return _parse_literal(column, expression)
        case elements.TextClause():
            return _compile_sql_text(column, expression.text.strip())
        case elements.Null() | elements.True_() | elements.False_():
            word = _WORDS[type(expression).__name__.lower().strip("_")]
            return lambda row: word
        case elements.BindParameter() if not expression.callable:
            return lambda row: expression.value
        case functions.FunctionElement() if not list(expression.clauses):
            return _compile_sql_text(column, str(getattr(expression, "name", "")))
    return _refuse_default(column, str(expression))


def _compile_sql_text(column: sa.Column[t.Any], text: str) -> Default:
    word = text.lower().removesuffix("()")
    moments = _time_functions(column)
    if word in moments:
        return lambda row: moments[word]()
    if word in _WORDS:
        return lambda row: _WORDS[word]
    if _NUMBER.fullmatch(text):
        return _parse_literal(column, text)
    if quoted := _QUOTED.fullmatch(text):
        return _parse_literal(column, quoted[1].replace("''", "'"))
    return _refuse_default(column, text)


def _time_functions(column: sa.Column[t.Any]) -> dict[str, _TimeFunction]:
    # in UTC, as in SQLite
    zone = bool(getattr(column.type, "timezone", False))

    def now() -> datetime.datetime:
        moment = datetime.datetime.now(datetime.UTC)
        return moment if zone else moment.replace(tzinfo=None)

    return {
        **dict.fromkeys(("now", "current_timestamp", "localtimestamp"), now),
        "current_date": lambda: now().date(),
        "current_time": lambda: now().timetz(),
        "gen_random_uuid": uuid.uuid4,
        "uuid": uuid.uuid4,
    }


def _parse_literal(column: sa.Column[t.Any], text: str) -> Default:
    # a database converts a text to the column's type
    try:
        read = _parse(column.type, text)
    except (ValueError, KeyError, ArithmeticError):
        return _refuse_default(column, repr(text))
    return lambda row: read


def _parse(type: sa.types.TypeEngine[t.Any], text: str) -> t.Any:
    if isinstance(type, sa.types.TypeDecorator):
        return type.process_result_value(_parse(type.impl_instance, text), DefaultDialect())
    return next((read(text) for known, read in _PARSERS if isinstance(type, known)), text)


def _refuse_default(column: sa.Column[t.Any], sql: str) -> Default:
    def refuse(row: Row) -> t.NoReturn:
        raise exceptions.ApplicationError(
            f"Column '{column.key}' of table '{column.table.name}' has a default that memory can't work out, {sql}: "
            "say what it has, or give the column a default of Python's"
        )

    return refuse
