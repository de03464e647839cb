"""A program that runs another on uvloop: ``python tests/support/on_uvloop.py SCRIPT_OR_MODULE …``."""

import asyncio
import pathlib
import runpy
import sys

import uvloop

__all__: list[str] = []


def _run(name: str) -> None:
    """Run a program as the interpreter does, which imports from the script's folder, or from here, first."""
    if name.endswith(".py"):
        sys.path[0] = str(pathlib.Path(name).parent)
        runpy.run_path(name, run_name="__main__")
    else:
        sys.path[0] = str(pathlib.Path.cwd())
        runpy.run_module(name, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    del sys.argv[0]
    _run(sys.argv[0])
