"""What a SQLAlchemy column has of which nothing is said."""

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
from flama.memory.definitions import Default, Row

__all__ = ["default", "onupdate"]

_Moment: t.TypeAlias = collections.abc.Callable[[], t.Any]

_NUMBER: t.Final = re.compile(r"[+-]?\d+(\.\d*)?")
_QUOTED: t.Final = re.compile(r"'((?:[^']|'')*)'")
_WORDS: t.Final[dict[str, t.Any]] = {"null": None, "true": True, "false": False}
_TRUTHS: t.Final = {"1": True, "t": True, "true": True, "0": False, "f": False, "false": False}


def default(column: sa.Column[t.Any]) -> Default | None:
    """Give what gives a new record the column's default; None when it has none.

    One that only a database can work out is an ApplicationError as soon as a record needs it.
    """
    if column.computed is not None:
        return _unknown(column, str(column.computed.sqltext))
    if column.default is not None:
        return _by_python(column, column.default)
    if column.server_default is None or column.identity is not None:
        return None
    return _by_sql(column, getattr(column.server_default, "arg", None))


def onupdate(column: sa.Column[t.Any]) -> Default | None:
    """Give what gives a record that changes the column's ``onupdate``; None when it has none."""
    return None if column.onupdate is None else _by_python(column, column.onupdate)


_READS: t.Final[tuple[tuple[type[t.Any], collections.abc.Callable[[str], t.Any]], ...]] = (
    (sa.Boolean, lambda text: _TRUTHS[text.lower()]),
    (sa.Integer, int),
    (sa.Float, float),
    (sa.Numeric, decimal.Decimal),
    (sa.JSON, json.loads),
    (sa.DateTime, datetime.datetime.fromisoformat),
    (sa.Date, datetime.date.fromisoformat),
    (sa.Time, datetime.time.fromisoformat),
)


class _Given:
    # what SQLAlchemy tells a default of the statement that it is for

    def __init__(self, row: Row) -> None:
        self.current_parameters = dict(row)

    def get_current_parameters(self, isolate_multiinsert_groups: bool = True) -> Row:
        return self.current_parameters


def _by_python(column: sa.Column[t.Any], given: t.Any) -> Default | None:
    if given.is_sequence:
        return None
    if given.is_callable:
        return lambda row: given.arg(_Given(row))
    return _by_sql(column, given.arg) if given.is_clause_element else lambda row: given.arg


def _by_sql(column: sa.Column[t.Any], expression: t.Any) -> Default:
    match expression:
        case str():
            return _literal(column, expression)
        case elements.TextClause():
            return _by_text(column, expression.text.strip())
        case elements.Null() | elements.True_() | elements.False_():
            word = _WORDS[type(expression).__name__.lower().strip("_")]
            return lambda row: word
        case elements.BindParameter() if not expression.callable:
            return lambda row: expression.value
        case functions.FunctionElement() if not list(expression.clauses):
            return _by_text(column, str(getattr(expression, "name", "")))
    return _unknown(column, str(expression))


def _by_text(column: sa.Column[t.Any], text: str) -> Default:
    word = text.lower().removesuffix("()")
    moments = _moments(column)
    if word in moments:
        return lambda row: moments[word]()
    if word in _WORDS:
        return lambda row: _WORDS[word]
    if _NUMBER.fullmatch(text):
        return _literal(column, text)
    if quoted := _QUOTED.fullmatch(text):
        return _literal(column, quoted[1].replace("''", "'"))
    return _unknown(column, text)


def _moments(column: sa.Column[t.Any]) -> dict[str, _Moment]:
    # in UTC, as SQLite has it
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


def _literal(column: sa.Column[t.Any], text: str) -> Default:
    # a database reads a text as a value of the column
    try:
        read = _read(column.type, text)
    except (ValueError, KeyError, ArithmeticError):
        return _unknown(column, repr(text))
    return lambda row: read


def _read(type: sa.types.TypeEngine[t.Any], text: str) -> t.Any:
    if isinstance(type, sa.types.TypeDecorator):
        return type.process_result_value(_read(type.impl_instance, text), DefaultDialect())
    return next((read(text) for known, read in _READS if isinstance(type, known)), text)


def _unknown(column: sa.Column[t.Any], sql: str) -> Default:
    def refuse(row: Row) -> t.NoReturn:
        raise exceptions.ApplicationError(
            f"Column '{column.key}' of table '{column.table.name}' has a default that memory can't work out, {sql}: "
            "say what it has, or give the column a default of Python's"
        )

    return refuse
