"""A contender in a process of its own, which does what the lines of its input ask for.

Its arguments are the contender's module and class, and modules to load besides.
"""

import asyncio
import gc
import importlib
import importlib.metadata
import json
import os
import pathlib
import resource
import sys
import traceback
import typing as t

import measure
from contenders.verbs.cases import CASES, USERS, sample
from contenders.verbs.contender import Contender

STATUS: t.Final = pathlib.Path("/proc/self/status")
RESET: t.Final = pathlib.Path("/proc/self/clear_refs")


async def answers(kind: type[Contender], requests: t.TextIO, answers: t.TextIO) -> None:
    """Answer each line, a request and its argument, by a line of JSON."""
    contender: t.Any = None
    for line in requests:
        answer: t.Any = None
        match line.split():
            case ["about"]:
                versions = {library: importlib.metadata.version(library) for library in kind.libraries}
                answer = {"versions": versions, "lacks": dict(kind.lacks)}
            case ["open", url]:
                contender = await kind.open(url)
            case ["sample", name]:
                answer = await sample(CASES[name], contender)
            case ["settle"]:
                gc.collect()
                gc.freeze()
            case ["grow"]:
                answer = await _grown(contender)
            case ["close"]:
                await contender.close()
            case _:
                raise ValueError(line)
        print(json.dumps(answer), file=answers, flush=True)


async def _grown(contender: Contender) -> float:
    # by how many MB the process grows while it streams, at most
    await contender.begin()
    await contender.retrieve(f"user-{USERS - 1}")
    await contender.rollback()
    gc.collect()
    before = _peak(anew=True)
    await sample(CASES["stream"], contender)
    return _peak() - before


def _peak(*, anew: bool = False) -> float:
    # What the system tells of a process otherwise begins with the peak of the one that started it.
    if not STATUS.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if anew:
        RESET.write_text("5")
    [peak] = [line.split()[1] for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:")]
    return int(peak) / 1024


if __name__ == "__main__":
    # what a library prints is no answer
    output, sys.stdout = sys.stdout, sys.stderr
    module, name, *company = sys.argv[1:]
    for other in company:
        importlib.import_module(other)
    measure.settle()
    status = 1
    try:
        asyncio.run(answers(getattr(importlib.import_module(module), name), sys.stdin, output))
        status = 0
    except Exception:  # noqa: BLE001
        traceback.print_exc()
    os._exit(status)  # a driver's thread would keep the process, and who asked waiting
