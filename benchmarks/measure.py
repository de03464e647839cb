"""How a benchmark is measured: contenders in turn, many short rounds, ratios of the same round."""

import collections.abc
import contextlib
import dataclasses
import datetime
import gc
import importlib.metadata
import os
import pathlib
import platform
import random
import statistics
import sys
import time
import typing as t

__all__ = ["Figures", "Row", "Spent", "cpu", "interleaved", "ratios", "report", "rows_of", "settle", "table"]

Figures: t.TypeAlias = dict[str, list[float]]
"""What each contender spent, round by round."""

Sample: t.TypeAlias = collections.abc.Callable[[], collections.abc.Awaitable[float]]

RESULTS: t.Final = pathlib.Path(__file__).with_name("results.md")


class Spent:
    """What a timed part spent, in seconds; set when it ends."""

    seconds: float = 0.0


@contextlib.contextmanager
def cpu() -> collections.abc.Iterator[Spent]:
    """Time a part of the program by the CPU that all threads of the process spend in it.

    The garbage collector runs before it and not within: what is no cycle is freed as ever, cycles are nobody's cost.
    """
    spent = Spent()
    gc.collect()
    gc.disable()
    begun = time.process_time_ns()
    try:
        yield spent
    finally:
        spent.seconds = (time.process_time_ns() - begun) / 1e9
        gc.enable()


def settle(*processes: int) -> None:
    """Have this process, its threads and others, by their numbers, run on one processor, where they may be told so.

    Who wakes one on another processor pays for it, in a virtual machine more than a short statement costs, and whether
    that has to be done is the system's choice.
    """
    if not hasattr(os, "sched_setaffinity"):
        return
    place = min(os.sched_getaffinity(0))
    for process in (0, *processes):
        with contextlib.suppress(OSError):
            os.sched_setaffinity(process, {place})


async def interleaved(contenders: collections.abc.Mapping[str, Sample], rounds: int) -> Figures:
    """Let every contender take a sample in every round, each round in an order of its own."""
    figures: Figures = {name: [] for name in contenders}
    order = list(contenders)
    for _ in range(rounds):
        random.shuffle(order)
        for name in order:
            figures[name].append(await contenders[name]())
    return figures


def ratios(figures: Figures, name: str, base: str) -> list[float]:
    """Give what one contender spent, in each round, of what another did in the same one."""
    return [spent / other for spent, other in zip(figures[name], figures[base], strict=True)]


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of a table: whose figures, how it is called there, what it is divided by."""

    name: str
    base: str
    label: str = ""


def rows_of(figures: Figures, base: str) -> list[Row]:
    """Give a line for every contender, all divided by one."""
    return [Row(name, base) for name in figures]


def table(
    figures: Figures, rows: collections.abc.Iterable[Row], *, unit: str, scale: float, of: str
) -> collections.abc.Iterator[str]:
    """Give the lines of a Markdown table: medians, quartiles, extremes, ratios to ``of``."""
    yield f"| | {unit}: median | quartiles | extremes | ratio to {of}: median | quartiles | extremes |"
    yield "|---|--:|--:|--:|--:|--:|--:|"
    for row in rows:
        spent = [figure * scale for figure in figures[row.name]]
        cells = (*_spread(spent), *_spread(ratios(figures, row.name, row.base)))
        yield f"| {row.label or row.name} | {' | '.join(cells)} |"


def _spread(values: list[float]) -> tuple[str, str, str]:
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return _text(middle), f"{_text(low)} to {_text(high)}", f"{_text(min(values))} to {_text(max(values))}"


def _text(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def report(title: str, lines: collections.abc.Iterable[str], libraries: collections.abc.Iterable[str]) -> None:
    """Print a question's answer, and keep it in ``results.md`` in the place of the last one."""
    section = "\n".join([f"## {title}", "", _circumstances(libraries), "", *lines]).rstrip() + "\n"
    print(section)
    kept = RESULTS.read_text() if RESULTS.exists() else ""
    sections = dict(_sections(kept))
    sections[title] = section
    body = "\n".join(sections[title] for title in sorted(sections))
    RESULTS.write_text(f"# Results\n\nWritten by `scripts/bench`; [how to read them](README.md).\n\n{body}")


def _sections(text: str) -> collections.abc.Iterator[tuple[str, str]]:
    for section in ("\n" + text).split("\n## ")[1:]:
        yield section.partition("\n")[0], f"## {section.rstrip()}\n"


def _circumstances(libraries: collections.abc.Iterable[str]) -> str:
    now = datetime.datetime.now(datetime.UTC)
    python = f"{platform.python_implementation()} {platform.python_version()}"
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in libraries)
    return f"{now:%Y-%m-%d}, {python} on {_processor()}; {versions}."


def _processor() -> str:
    if sys.platform == "linux":
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
