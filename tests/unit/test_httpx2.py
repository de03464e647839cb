"""The client on httpx2, for applications that have moved there."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
TESTS = (
    "tests/unit/test_client.py",
    "tests/unit/test_network.py",
    "tests/laws/test_client.py",
    "tests/seed/test_http.py",
)


def test_what_holds_on_httpx_holds_on_httpx2():
    pytest.importorskip("httpx2")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.support.continued",
        "-p",
        "no:cacheprovider",
        "-n",
        "0",
        "-q",
    ]

    run = subprocess.run(
        [*command, *TESTS], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )

    assert run.returncode == 0, run.stdout[-3_000:]
    assert " passed" in run.stdout
