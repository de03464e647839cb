"""Environments for contenders whose libraries can't be installed beside ours."""

import pathlib
import shutil
import subprocess
import sys
import typing as t

__all__ = ["NotInstalledError", "python_of"]

ENVIRONMENTS: t.Final = pathlib.Path(__file__).parents[1] / ".peers"
REQUIREMENTS: t.Final = pathlib.Path(__file__).parent / "requirements"


class NotInstalledError(Exception):
    """What an environment needs can't be had."""


def python_of(name: str) -> str:
    """Give the interpreter of an environment, which is made when it isn't there as it should be.

    :raises NotInstalledError: it can't be made.
    """
    environment = ENVIRONMENTS / name
    python = environment / "bin" / "python"
    stamp = environment / "installed"
    wanted = f"{sys.version}\n{(REQUIREMENTS / f'{name}.txt').read_text()}"
    if not python.exists() or not stamp.exists() or stamp.read_text() != wanted:
        print(f"installing {name}", file=sys.stderr)
        shutil.rmtree(environment, ignore_errors=True)
        _run(sys.executable, "-m", "venv", "--without-pip", str(environment))
        # The requirements name all that there is to install, so nothing is looked for besides.
        install = (
            "install",
            "--quiet",
            "--no-deps",
            "--no-compile",
            "--requirement",
            str(REQUIREMENTS / f"{name}.txt"),
        )
        _run(sys.executable, "-m", "pip", "--python", str(python), *install)
        stamp.write_text(wanted)
    return str(python)


def _run(*command: str) -> None:
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        errors = [line for line in run.stderr.splitlines() if line.startswith("ERROR")]
        raise NotInstalledError(errors[-1] if errors else f"{command[0]} ended with {run.returncode}")
