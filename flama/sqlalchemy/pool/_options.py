"""Validation of the options of a module's pool."""

import collections.abc
import numbers
import typing as t

from flama import exceptions
from flama.sqlalchemy.pool._fair_pool import FairPool

__all__ = ["check_pool_options"]


class _Option(t.NamedTuple):
    kind: type
    is_valid: collections.abc.Callable[[t.Any], bool]
    expected: str


_OPTIONS: t.Final = {
    "pool_size": _Option(numbers.Integral, lambda size: size >= 0, "a number of connections, or 0 for no limit"),
    "max_overflow": _Option(
        numbers.Integral, lambda number: number >= -1, "a number of connections, or -1 for no limit"
    ),
    "pool_timeout": _Option(numbers.Real, lambda seconds: seconds > 0, "a number of seconds above 0"),
    "pool_recycle": _Option(
        numbers.Real, lambda seconds: seconds >= 0 or seconds == -1, "a number of seconds, or -1 for no limit"
    ),
    "pool_max_idle": _Option(numbers.Real, lambda seconds: seconds > 0, "a number of seconds above 0"),
    "pool_grow_after": _Option(numbers.Real, lambda seconds: seconds >= 0, "a number of seconds"),
}
_OWN: t.Final = ("pool_max_idle", "pool_grow_after")  # options that SQLAlchemy's pools don't have


def check_pool_options(engine_args: collections.abc.Mapping[str, t.Any]) -> None:
    """Check the pool's options among an engine's arguments; SQLAlchemy checks those of any other pool.

    :raises ApplicationError: a value is not valid for its option, or another pool has no such option.
    """
    if not _is_own(engine_args):
        for name in _OWN:
            if name in engine_args:
                raise exceptions.ApplicationError(
                    f"'{name}' is an option of the module's own pool: remove it or the pool"
                )
        return
    for name, option in _OPTIONS.items():
        if name not in engine_args:
            continue
        value = engine_args[name]
        if isinstance(value, bool) or not isinstance(value, option.kind) or not option.is_valid(value):
            raise exceptions.ApplicationError(f"'{name}' in 'engine_args' is {option.expected}, not {value!r}")


def _is_own(engine_args: collections.abc.Mapping[str, t.Any]) -> bool:
    pool_class = engine_args.get("poolclass", FairPool)
    return "pool" not in engine_args and isinstance(pool_class, type) and issubclass(pool_class, FairPool)
