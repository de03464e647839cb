"""Translation of driver errors to data errors by their codes."""

import collections.abc
import re
import traceback
import types
import typing as t

import sqlalchemy as sa
from sqlalchemy import exc

from flama import exceptions
from flama._moments import UnfitValue
from flama.sqlalchemy._constraints import constraint_fields
from flama.sqlalchemy._stale import is_stale

__all__ = ["translate_errors"]

_Outcome: t.TypeAlias = exceptions.IntegrityKind | t.Literal[
    "integrity", "conflict", "unavailable", "invalid", "read_only", "failed"
]  # fmt: skip

# SQLSTATE, or its class: PostgreSQL, with any driver
_BY_STATE: t.Final[dict[str, _Outcome]] = {
    "08": "unavailable",
    "22": "invalid",
    "23": "integrity",
    "23001": "foreign_key",
    "23502": "not_null",
    "23503": "foreign_key",
    "23505": "unique",
    "23514": "check",
    "25006": "read_only",
    "25P02": "failed",
    "40001": "conflict",
    "40P01": "conflict",
    "428C9": "invalid",
    "42804": "invalid",
    "42846": "invalid",
    "42883": "invalid",
    "53": "unavailable",
    "54": "invalid",
    "55P03": "conflict",
    "57": "unavailable",
    "58": "unavailable",
}
# SQLite's extended result code, or its lower byte, the primary one
_BY_RESULT: t.Final[dict[int, _Outcome]] = {
    3: "unavailable",
    5: "conflict",
    6: "conflict",
    7: "unavailable",
    8: "read_only",
    9: "unavailable",
    10: "unavailable",
    11: "unavailable",
    13: "unavailable",
    14: "unavailable",
    15: "unavailable",
    18: "invalid",
    19: "integrity",
    20: "invalid",
    25: "invalid",
    26: "unavailable",
    275: "check",
    787: "foreign_key",
    1299: "not_null",
    1555: "unique",
    2067: "unique",
    2579: "unique",
    3091: "invalid",
}
# error number: MySQL, MariaDB
_BY_NUMBER: t.Final[dict[int, _Outcome]] = {
    **dict.fromkeys((1062, 1169, 1586), "unique"),
    **dict.fromkeys((1216, 1217, 1451, 1452), "foreign_key"),
    **dict.fromkeys((1048, 1263, 1364), "not_null"),
    **dict.fromkeys((3819, 4025), "check"),
    **dict.fromkeys((1020, 1205, 1213), "conflict"),
    **dict.fromkeys((1021, 1040, 1041, 1044, 1045, 1047, 1049, 1053, 1080, 1114, 1129, 1130, 1135), "unavailable"),
    **dict.fromkeys((1152, 1158, 1159, 1160, 1161, 1184, 1203, 1226, 1317, 1927, 1969, 3024, 4031), "unavailable"),
    **dict.fromkeys(range(2000, 2100), "unavailable"),  # the client's own
    **dict.fromkeys((1290, 1792, 1836), "read_only"),
    **dict.fromkeys((1153, 1264, 1265, 1292, 1366, 1367, 1406, 1411, 1426, 1690, 1906, 3105, 3140), "invalid"),
}

# The code determines the kind. SQLite, MySQL and MariaDB name the constraint and its columns in their message alone, in
# a fixed form; it is parsed only where no value of a user can appear.
_SQLITE_NAMES: t.Final = (
    re.compile(r"^CHECK constraint failed: (?P<constraint>\w+)$"),
    re.compile(r"^UNIQUE constraint failed: index '(?P<constraint>.+)'$"),
    re.compile(r"^(?:UNIQUE|NOT NULL) constraint failed: (?P<columns>.+)$"),
)
_MYSQL_NAMES: t.Final = (
    re.compile(r"for key '(?:[^'.]+\.)?(?P<constraint>[^'.]+)'$"),
    re.compile(r"^(?:Column|Field) '(?P<columns>[^']+)' (?:cannot be null|doesn't have a default value)$"),
    re.compile(
        r"`(?P<table>[^`]+)`, CONSTRAINT `(?P<constraint>[^`]+)` FOREIGN KEY \((?P<columns>[^)]+)\) REFERENCES [^']*$"
    ),
    re.compile(r"^(?:CONSTRAINT|Check constraint) [`'](?:[^`']+\.)?(?P<constraint>[^`'.]+)[`'] "),
)

_REFUSALS: t.Final = (TypeError, ValueError, LookupError, ArithmeticError)


class _ErrorInfo(t.NamedTuple):
    outcome: _Outcome | None
    table: str | None = None
    constraint: str | None = None
    columns: collections.abc.Sequence[str] = ()
    detail: str = ""


class translate_errors:
    """A context manager that raises a driver's error as the data error it stands for, with the driver's as its cause.

    Without a ``resource``, it is the table that the database names. The columns of a constraint are looked up in
    ``tables``. Errors of the program, such as a missing table, pass unchanged. After a lost connection,
    ``leaves_open`` returns whether the database may have run the statement. A value that can't be decoded counts as
    sent data, and is a data error. With ``reads``, it counts as stored data, and passes unchanged.
    """

    __slots__ = ("_leaves_open", "_reads", "_resource", "_tables")

    def __init__(
        self,
        resource: str | None,
        *tables: sa.Table,
        leaves_open: collections.abc.Callable[[], bool] = lambda: False,
        reads: bool = False,
    ) -> None:
        self._resource = resource
        self._tables = tables
        self._leaves_open = leaves_open
        self._reads = reads

    def __enter__(self) -> None:
        """Enter the block."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: types.TracebackType | None
    ) -> None:
        """Raise the translation of an error that leaves the block."""
        translation = self._translate(error) if error is not None else None
        if translation is not None:
            raise translation from getattr(error, "orig", None) or error

    def _translate(self, error: BaseException) -> Exception | None:
        resource = self._resource or "database"
        match error:
            case exc.ResourceClosedError():
                return exceptions.SessionClosedError(f"The unit of work of '{resource}' has ended")
            case exc.PendingRollbackError():
                return exceptions.UnavailableError(resource=resource, detail="the unit's connection is lost")
            case exc.DBAPIError(orig=Exception() as driver):
                return self._error(self._error_info(error, driver))
            case exc.TimeoutError():  # the pool's; its other lines, with the holders of connections, aren't public
                return exceptions.UnavailableError(resource=resource, detail=str(error.args[0]).partition("\n")[0])
            case OSError():
                return self._error(_ErrorInfo("unavailable"))
            case exc.StatementError(orig=UnfitValue() as refusal) | (UnfitValue() as refusal):
                return exceptions.InvalidDataError(resource=resource, detail=str(refusal))
            case _ if self._is_refusal(error):
                return self._error(_ErrorInfo("invalid"))
        # asyncpg's own, raised while a cursor of SQLAlchemy's fetches
        return self._error(_error_info_by_code(error)) if hasattr(error, "sqlstate") else None

    def _is_refusal(self, error: BaseException) -> bool:
        if isinstance(error, exc.StatementError):
            return isinstance(error.orig, _REFUSALS)
        if not isinstance(error, OverflowError | UnicodeError):
            return False
        return not self._reads or _is_of_a_sent_value(error)

    def _error_info(self, error: exc.DBAPIError, driver: Exception) -> _ErrorInfo:
        info = _error_info_by_code(driver)
        if info.outcome or (self._reads and _is_of_a_stored_value(driver)):
            return info
        return _ErrorInfo(_outcome_by_class(error, driver))

    def _error(self, info: _ErrorInfo) -> Exception | None:
        resource = self._resource or info.table or "database"
        match info.outcome:
            case None:
                return None
            case "invalid":
                return exceptions.InvalidDataError(resource=resource)
            case "conflict":
                return exceptions.ConflictError(resource=resource, detail=info.detail, retryable=True)
            case "failed":
                return exceptions.SQLAlchemyError("An earlier statement of the unit failed: PostgreSQL runs no other")
            case "read_only":
                detail = "nothing can be written: the transaction, or the database, is for reading"
                return exceptions.UnavailableError(resource=resource, detail=detail)
            case "unavailable":
                return exceptions.UnavailableError(resource=resource, maybe_applied=self._leaves_open())
            case outcome:
                fields = _fields(self._tables, info)
                kind = None if outcome == "integrity" else outcome
                return exceptions.IntegrityError(
                    resource=resource, kind=kind, constraint=info.constraint, fields=fields
                )


def _error_info_by_code(driver: BaseException) -> _ErrorInfo:
    match driver.args:
        case (int(number), str(message), *_):
            return _parse_message(_BY_NUMBER.get(number), _MYSQL_NAMES, message)
    result, state = getattr(driver, "sqlite_errorcode", None), getattr(driver, "sqlstate", None)
    if result is not None:
        info = _parse_message(_BY_RESULT.get(result) or _BY_RESULT.get(result & 0xFF), _SQLITE_NAMES, str(driver))
        # SQLite's own text, for example "database is locked", which contains no value
        return info._replace(detail=str(driver)) if info.outcome == "conflict" else info
    if is_stale(driver) or is_stale(driver.__cause__):
        return _ErrorInfo("conflict")
    if state is None:
        return _ErrorInfo(None)
    details: t.Any = getattr(driver, "diag", None) or driver.__cause__  # psycopg, asyncpg
    table, constraint, column = (getattr(details, f"{name}_name", None) for name in ("table", "constraint", "column"))
    outcome = _BY_STATE.get(state) or _BY_STATE.get(state[:2])
    return _ErrorInfo(outcome, table, constraint, (column,) if column else ())


def _parse_message(
    outcome: _Outcome | None, names: collections.abc.Iterable[re.Pattern[str]], message: str
) -> _ErrorInfo:
    found = next(filter(None, (pattern.search(message) for pattern in names)), None)
    groups = found.groupdict() if found else {}
    paths = [name.strip("` ").rpartition(".") for name in (groups.get("columns") or "").split(",") if name]
    table = groups.get("table") or (paths[0][0] or None if paths else None)
    return _ErrorInfo(outcome, table, groups.get("constraint"), [column for _, _, column in paths])


def _outcome_by_class(error: exc.DBAPIError, driver: Exception) -> _Outcome | None:
    # an error of the driver's own, before the database gets the statement, has no code
    if error.connection_invalidated:
        return "unavailable"
    if isinstance(error, exc.DataError) or isinstance(driver.__cause__, _REFUSALS):
        return "invalid"
    if isinstance(error, exc.ProgrammingError) and _is_client_side(driver):
        return "invalid"
    if "binding parameter" in str(driver) or "generated column" in str(driver):  # sqlite3
        return "invalid"
    # in SQLite, MySQL and MariaDB it is also the class of errors of the program, such as an unknown column
    return "unavailable" if isinstance(error, exc.OperationalError) and not _has_number(driver) else None


def _is_of_a_sent_value(error: Exception) -> bool:
    """Whether a value can't be sent: a text that UTF-8 can't encode, an integer too large for SQLite.

    Other errors of these classes are about a value that is read.
    """
    return isinstance(error, UnicodeEncodeError) or "SQLite" in str(error)


def _is_of_a_stored_value(driver: Exception) -> bool:
    """Whether the driver failed to convert a value that the database sent: no fault of a request."""
    if "Could not decode to UTF-8" in str(driver):  # sqlite3, without a code
        return True
    frames = traceback.walk_tb(driver.__traceback__)
    return any("load_row" in frame.f_code.co_name for frame, _ in frames)  # psycopg's Transformer


def _is_client_side(driver: Exception) -> bool:
    # psycopg can't adapt a value, or asyncmy can't write one; an error of a server has a code
    return not getattr(driver, "sqlstate", None) and not _has_number(driver)


def _has_number(driver: Exception) -> bool:
    return hasattr(driver, "sqlite_errorcode") or bool(driver.args and isinstance(driver.args[0], int))


def _fields(tables: collections.abc.Sequence[sa.Table], info: _ErrorInfo) -> tuple[str, ...]:
    if not tables:
        return tuple(info.columns)
    known = {table.name: table for table in (*tables[0].metadata.tables.values(), *tables)}
    table = known.get(info.table or "", tables[0])
    if info.columns:
        keys = {column.name: column.key for column in table.columns}
        return tuple(keys.get(name, name) for name in info.columns)
    return constraint_fields(table, info.constraint) if info.constraint else ()
