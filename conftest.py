"""Run the documentation: its Python blocks must work, and print what the text block after them says."""

import contextlib
import io

import sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser


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
