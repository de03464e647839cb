"""How many instructions the processor needs for the parsers' growing inputs, as callgrind counts them.

``python -m tests.support.instructions <parser>`` is what runs within callgrind.
"""

import collections.abc
import functools
import gc
import itertools
import pathlib
import re
import shutil
import subprocess
import sys

from tests.support.parsers import PARSERS, Parser

__all__ = ["LENGTH", "absent", "count"]

LENGTH = 8_192
"""Characters of the shorter inputs; the longer ones have twice as many."""

# A function of C that no parser calls: the counter runs while it does, and is written out when it returns.
_MARK = "filterfalse_next"


def absent() -> str:
    """Return why nothing can be counted here, or an empty text."""
    return "" if shutil.which("valgrind") else "valgrind isn't installed"


def count(parser: Parser, folder: pathlib.Path) -> dict[tuple[int, str], tuple[int, int]]:
    """Return by number and beginning of each input the instructions for it, and for one that is twice as long."""
    command = [
        "valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={folder / 'out'}", "--dump-line=no",
        f"--toggle-collect={_MARK}", f"--dump-after={_MARK}",
        sys.executable, "-m", "tests.support.instructions", parser.name,
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=110)
    dumps = sorted(folder.glob("out.*"), key=lambda file: int(file.suffix[1:]))
    totals = [int(total) for file in dumps for total in re.findall(r"^totals: (\d+)$", file.read_text(), re.MULTILINE)]
    inputs = [*parser.growing(LENGTH)]
    own = totals[-2 * len(inputs) :]  # before, modules that were imported may have called it
    pairs = zip(own[::2], own[1::2], strict=True)
    return {(number, inputs[number][:40]): pair for number, pair in enumerate(pairs)}


def _counted(run: collections.abc.Callable[[str], bool], text: str) -> None:
    next(itertools.filterfalse(run, [text]))


def _parse(parser: Parser, text: str) -> bool:
    parser.run(text)
    return False


def main(name: str) -> None:
    """Parse all inputs of a parser, each counted by itself."""
    gc.disable()
    (parser,) = (each for each in PARSERS if each.name == name)
    run = functools.partial(_parse, parser)
    for short, long in zip(parser.growing(LENGTH), parser.growing(2 * LENGTH), strict=True):
        parser.run(short[:64])  # what is made at the first call isn't counted
        _counted(run, short)
        _counted(run, long)


if __name__ == "__main__":
    main(sys.argv[1])
