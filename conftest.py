"""The option that chooses the event loop, and the documentation, whose Python blocks are run as tests."""

import contextlib
import io
import os
import sys

import pytest
import sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser

from tests.support import loops

# Without byte code, each worker of pytest-xdist rewrites all assertions anew, and each program compiles the package.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that chooses the event loop."""
    parser.addoption(
        "--loop",
        choices=loops.LOOPS,
        default=loops.chosen(),
        help="the event loop that tests, the servers and the programs that they start run on (default: asyncio)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Choose the event loop, in each worker of pytest-xdist as well."""
    loops.install(config.getoption("loop"))


def run(example: sybil.Example) -> None:
    """Run a Python block, keeping what it prints."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        PythonEvaluator()(example)
    example.namespace["__printed__"] = output.getvalue()


def compare(example: sybil.Example) -> None:
    """Hold a text block to what the Python block before it printed."""
    printed = example.namespace.pop("__printed__", None)
    assert printed == example.parsed, f"it printed:\n{printed}"


pytest_collect_file = sybil.Sybil(
    parsers=[CodeBlockParser("python", run), CodeBlockParser("text", compare)],
    patterns=["README.md", "docs/**/*.md"],
).pytest()
