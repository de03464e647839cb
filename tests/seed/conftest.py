"""The page's examples, from the folder that lies beside the repository."""

import collections.abc
import pathlib
import types
import typing as t

import pytest
import sqlalchemy

from tests.support import source

IN_MEMORY = "sqlite+aiosqlite:///"


@pytest.fixture(scope="session")
def seed() -> pathlib.Path:
    """Give the folder of the page and its examples."""
    folder = source.ROOT.parent / "shared" / "seed"
    if not folder.is_dir():
        pytest.skip("the seed's folder, ../shared/seed, is not beside this repository")
    return folder


@pytest.fixture
def load(seed: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> collections.abc.Callable[..., t.Any]:
    """Give a function that runs an example as a module, with its database's URL replaced if another is given.

    What it declares goes into a MetaData of its own, so that examples with the same table can be loaded in one process.
    """

    def load(name: str, url: str = IN_MEMORY) -> t.Any:
        text = (seed / f"{name}.py").read_text()
        assert text.count(f'"{IN_MEMORY}"') == 1
        monkeypatch.setattr("flama.sqlalchemy.metadata", sqlalchemy.MetaData())
        module = types.ModuleType(name)
        exec(compile(text.replace(IN_MEMORY, url), f"{name}.py", "exec"), vars(module))
        return module

    return load
