"""Every way to an event loop that tests take leads to the one that ``--loop`` chose."""

import asyncio
import subprocess
import sys
import threading

import anyio
import pytest

from flama import Flama
from flama.client import Client
from tests.support import loops, source


async def running():
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


@pytest.fixture
def chosen(request):
    return request.config.getoption("loop")


@pytest.mark.anyio
async def test_tests_run_on_it(chosen):
    assert await running() == chosen


@pytest.mark.parametrize("run", [asyncio.run, lambda work: anyio.run(lambda: work)], ids=["asyncio", "anyio"])
def test_what_tests_run_themselves_runs_on_it(chosen, run):
    assert run(running()) == chosen


def test_what_a_runner_runs_runs_on_it(chosen):
    with asyncio.Runner() as runner:
        assert runner.run(running()) == chosen


def test_what_runs_in_a_thread_runs_on_it(chosen):
    found = []
    thread = threading.Thread(target=lambda: found.append(asyncio.run(running())))

    thread.start()
    thread.join()

    assert found == [chosen]


@pytest.mark.anyio
async def test_servers_run_on_it(chosen, serve):
    app = Flama()

    @app.get("/loop/")
    async def loop() -> str:
        return await running()

    async with Client(base_url=serve(app)) as client:
        assert (await client.get("/loop/")).json() == chosen


PROGRAM = """
import asyncio, sys

async def main():
    print(type(asyncio.get_running_loop()).__module__.partition(".")[0], __name__, *sys.argv[1:])

asyncio.run(main())
"""


@pytest.mark.parametrize("loop", [None, *loops.LOOPS])
@pytest.mark.parametrize("is_module", [False, True], ids=["script", "module"])
def test_programs_run_on_it_or_on_another(chosen, tmp_path, is_module, loop):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    name = "program" if is_module else script

    command = loops.command(name, "a", "b", options=("-W", "error"), loop=loop)
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.split() == [loop or chosen, "__main__", "a", "b"]


def test_the_option_chooses_it_in_workers_too(chosen):
    pytest.importorskip("uvloop")
    loop = next(loop for loop in loops.LOOPS if loop != chosen)
    ours = f"{__file__}::{test_tests_run_on_it.__name__}"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "1", "--loop", loop, ours]

    finished = subprocess.run(command, cwd=source.ROOT, capture_output=True, text=True)

    assert "1 passed" in finished.stdout, finished.stdout


def test_a_loop_that_is_not_installed_is_an_error_that_says_so(tmp_path):
    (tmp_path / "uvloop.py").write_text("raise ImportError('no module named uvloop')")
    program = "import sys; sys.path.insert(0, sys.argv.pop(1)); import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, str(tmp_path), "-n", "0", "--loop", "uvloop", "tests/unit/test_loops.py"]

    finished = subprocess.run(command, cwd=source.ROOT, capture_output=True, text=True)

    assert finished.returncode == pytest.ExitCode.USAGE_ERROR
    assert "uvloop isn't installed" in finished.stderr
