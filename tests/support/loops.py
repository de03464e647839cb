"""The event loop that the tests run on, which ``pytest --loop`` chooses."""

import asyncio
import collections.abc
import importlib.util
import os
import sys
import typing as t

import pytest

from tests.support import source

__all__ = ["BACKENDS", "LOOPS", "chosen", "command", "install", "on_each"]

_VARIABLE: t.Final = "FLAMA_TEST_LOOP"  # by which the processes that a test starts learn of the choice


def _make_uvloop() -> asyncio.AbstractEventLoop:
    import uvloop

    return uvloop.new_event_loop()


_FACTORIES: t.Final = {"asyncio": asyncio.SelectorEventLoop, "uvloop": _make_uvloop}

LOOPS: t.Final = tuple(_FACTORIES)

#: What the fixture ``anyio_backend`` is, on each loop.
BACKENDS: t.Final = {name: ("asyncio", {"loop_factory": factory}) for name, factory in _FACTORIES.items()}


def _parameter(name: str, value: t.Any) -> t.Any:
    missing = importlib.util.find_spec(name) is None
    return pytest.param(value, id=name, marks=pytest.mark.skipif(missing, reason=f"{name} isn't installed"))


#: Run a test on each loop, whichever was chosen.
on_each: t.Final = pytest.mark.parametrize("anyio_backend", [_parameter(*backend) for backend in BACKENDS.items()])


def chosen() -> str:
    """Return the name of the loop that this process, and those that it starts, are to run on."""
    return os.environ.get(_VARIABLE, "asyncio")


def install(name: str) -> None:
    """Have ``asyncio.run`` and its like make this loop, in this process and in those that it starts.

    :raises UsageError: the loop isn't installed.
    """
    os.environ[_VARIABLE] = name
    if name == "uvloop":
        try:
            import uvloop
        except ImportError as error:
            message = "uvloop isn't installed (there is none for Windows): `pip install uvloop`, or `--loop asyncio`"
            raise pytest.UsageError(message) from error
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())


def command(
    name: str | os.PathLike[str], *arguments: str, options: collections.abc.Iterable[str] = (), loop: str | None = None
) -> list[str]:
    """Return the command that runs a script, or a module by its dotted name, on a loop: the chosen one by default.

    ``options`` are the interpreter's.
    """
    name = os.fspath(name)
    if (loop or chosen()) == "uvloop":
        runner = [str(source.ROOT / "tests" / "support" / "on_uvloop.py")]
    else:
        runner = [] if name.endswith(".py") else ["-m"]
    return [sys.executable, *options, *runner, name, *arguments]
