"""Contenders in processes of their own, asked by lines."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import types
import typing as t

from contenders import environments

__all__ = ["Place", "Process"]

BENCHMARKS: t.Final = pathlib.Path(__file__).parents[2]
PACKAGE: t.Final = "contenders.verbs"
# What else is in memory tells: those that are held to a bar have the same there.
COMPANY: t.Final = [f"{PACKAGE}.flama"]
# Where glibc gives freed memory back to the system, or not, depends on what else a process happens to have in memory,
# and asyncio frees a buffer of 256 KiB with everything that it receives: that can be half of what a call costs.
ALLOCATOR: t.Final = {"MALLOC_TRIM_THRESHOLD_": str(1 << 28), "MALLOC_MMAP_THRESHOLD_": str(1 << 25)}


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a contender is: a module beside this one, its class, and its environment unless that is ours."""

    module: str
    name: str
    environment: str = ""

    @property
    def command(self) -> list[str]:
        """What starts it.

        :raises NotInstalledError: its libraries can't be had.
        """
        python = environments.python_of(self.environment) if self.environment else sys.executable
        company = [] if self.environment else COMPANY
        return [python, "-m", f"{PACKAGE}.child", f"{PACKAGE}.{self.module}", self.name, *company]


class Process:
    """A contender's process, which ends with the context."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._child = subprocess.Popen(
            place.command,
            cwd=BENCHMARKS,
            env={**os.environ, **ALLOCATOR},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> t.Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        if error is not None:
            self._child.kill()
        self._child.communicate()

    def ask(self, *request: str) -> t.Any:
        """Give its answer.

        :raises RuntimeError: it failed, and has said why on standard error.
        """
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        try:
            self._child.stdin.write(f"{' '.join(request)}\n")
            self._child.stdin.flush()
        except BrokenPipeError:
            line = ""
        else:
            line = self._child.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._place.name} failed to {' '.join(request)}")
        return json.loads(line)
