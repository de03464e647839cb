"""The distribution ``flama-data`` and the other one that is imported as ``flama``: real wheels, installed."""

import subprocess
import sys
import venv

import pytest

from tests.support import source

OTHER = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "flama"
version = "2.2.2"
"""


def build(project, directory):
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", directory]
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    [wheel] = directory.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    return build(source.ROOT, tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """A distribution called flama with files that flama-data has too."""
    project = tmp_path_factory.mktemp("project")
    (project / "pyproject.toml").write_text(OTHER)
    (project / "flama").mkdir()
    (project / "flama" / "__init__.py").write_text("OTHER = True\n")
    (project / "flama" / "client.py").write_text("OTHER = True\n")
    return build(project, tmp_path_factory.mktemp("other"))


class Environment:
    """A virtual environment without any package."""

    def __init__(self, directory):
        venv.create(directory)
        self.python = str(directory / "bin" / "python")

    def pip(self, *arguments):
        command = [sys.executable, "-m", "pip", "--python", self.python, *map(str, arguments)]
        subprocess.run(command, check=True, capture_output=True)

    def install(self, *wheels):
        for wheel in wheels:
            self.pip("install", "--no-deps", "--no-index", wheel)

    def run(self, statement):
        return subprocess.run([self.python, "-I", "-c", statement], capture_output=True, text=True)


@pytest.fixture
def environment(tmp_path):
    return Environment(tmp_path / "environment")


@pytest.fixture(scope="module")
def alone(tmp_path_factory, ours):
    environment = Environment(tmp_path_factory.mktemp("alone"))
    environment.install(ours)
    return environment


def test_flama_data_is_imported_as_flama(alone):
    finished = alone.run("import flama; print(flama._distribution.NAME)")

    assert (finished.stdout, finished.stderr) == ("flama-data\n", "")


def test_the_extras_are_those_of_flama_data(alone):
    finished = alone.run(
        "import importlib.metadata; print(*importlib.metadata.requires('flama-data'), sep='\\n', end='')"
    )

    required = finished.stdout.splitlines()
    assert "aiosqlite<1,>=0.22.1; extra == 'sqlite'" in required
    assert [line for line in required if line.startswith("flama")] == []  # an extra of the other would be one


def test_it_is_refused_where_the_other_was_installed_before(environment, other, ours):
    environment.install(other, ours)

    finished = environment.run("import flama")

    assert "ImportError: The distributions flama (flama-2.2.2.dist-info in " in finished.stderr
    assert "pip uninstall flama flama-data" in finished.stderr


def test_what_is_left_of_it_is_refused_where_the_other_was_installed_after(environment, other, ours):
    environment.install(ours, other)

    for statement in ("import flama.sqlalchemy", "import sys; sys.modules['httpx'] = sys; import flama.client"):
        finished = environment.run(statement)

        assert "ImportError: The distributions flama (flama-2.2.2.dist-info in " in finished.stderr


@pytest.mark.exhaustive
def test_it_works_again_after_what_the_error_says_was_done(environment, other, ours):
    environment.install(other, ours)

    environment.pip("uninstall", "--yes", "flama", "flama-data")
    environment.install(ours)

    assert environment.run("import flama, flama._distribution").stderr == ""
