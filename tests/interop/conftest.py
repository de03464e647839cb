"""The package ``flama`` 2.2.2 in an environment of its own, as a service and as a client."""

import contextlib
import json
import pathlib
import subprocess

import pytest

from tests.support.server import listening

HERE = pathlib.Path(__file__).parent
BENCHMARKS = HERE.parents[1] / "benchmarks"
ENVIRONMENT = "flama-2.2.2"


@pytest.fixture(scope="session")
def python():
    """Give the interpreter of the package's environment, which needs a network when it isn't there yet."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        patch.setenv("PIP_RETRIES", "1")
        patch.setenv("PIP_DEFAULT_TIMEOUT", "10")
        from contenders import environments

        try:
            return environments.python_of(ENVIRONMENT)
        except environments.NotInstalledError as error:
            pytest.skip(f"the package flama 2.2.2 can't be had: {error}")


@contextlib.contextmanager
def running(python, *script, **options):
    """Run a script in the package's environment: yield its process, with pipes to it, which ends with the context."""
    # -E: a PYTHONPATH to this project would have the script import ours.
    command = [python, "-E", *script]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=HERE / "package", **pipes, **options) as process:
        try:
            yield process
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def package_url(python, tmp_path_factory):
    """Give the URL of the package's service."""
    database = f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('package')}/puppies.db"
    with listening() as listener:
        number = listener.fileno()
        with running(python, "served.py", str(number), database, pass_fds=[number]) as process:
            assert process.stdout.readline() == "started\n"
            yield "http://{}:{}".format(*listener.getsockname())


class Refused(Exception):
    """What the package's repository raised: the error's name, and what it says."""


@pytest.fixture(scope="session")
def package(python):
    """Give a function that calls a method of the package's repository, of a resource at a URL."""
    with running(python, "asking.py") as process:

        def call(url, method, *args, resource="/puppy", enough=1_000, **kwargs):
            asked = {"url": url, "resource": resource, "method": method, "args": args, "kwargs": kwargs}
            process.stdin.write(json.dumps({**asked, "enough": enough}) + "\n")
            process.stdin.flush()
            said = json.loads(process.stdout.readline())
            if "error" in said:
                raise Refused(said["error"], said["text"])
            return said["result"]

        yield call


@pytest.fixture
def refused():
    """Give a function that expects the package's repository to raise an error of this name."""
    return lambda name: pytest.raises(Refused, match=f"^\\('{name}'")
