"""The pictures of the documentation are those of the source."""

import asyncio
import contextlib
import subprocess
import sys

import pytest

from tests.architecture import pictures
from tests.support import calls, drawings, source


def files(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.glob("pictures/*")} | {
        "architecture.md": (folder / "architecture.md").read_text()
    }


def test_the_architecture_is_drawn_as_the_source_has_it(tmp_path):
    command = [sys.executable, "-m", "tests.architecture.pictures", tmp_path]  # in a process that has run nothing else
    subprocess.run(command, cwd=source.ROOT, check=True)

    drawn, committed = files(tmp_path), files(pictures.FOLDER)
    stale = sorted(name for name in drawn.keys() | committed.keys() if drawn.get(name) != committed.get(name))

    assert stale == [], "docs/explanation is not as the source is: run scripts/pictures, and look at what it changes"


def test_an_edge_is_left_out_where_a_longer_path_implies_it():
    edges = {("a", "b"), ("b", "c"), ("c", "d"), ("a", "c"), ("a", "d"), ("a", "e")}

    assert drawings.reduce(edges) == {("a", "b"), ("b", "c"), ("c", "d"), ("a", "e")}


def outer():
    return inner()


async def inner():
    return await asyncio.create_task(innermost())


async def innermost():
    await asyncio.sleep(0)


@pytest.fixture
def recorder():
    rooms = {outer.__code__: "one", inner.__code__: "one", innermost.__code__: "two"}
    return calls.Recorder(lambda frame: rooms.get(frame.f_code), "outside")


def test_a_call_is_recorded_once_with_its_room_and_the_callers(recorder):
    with recorder, contextlib.closing(outer()):
        pass

    assert calls.rows(recorder.calls) == [("outside", "one", ["outer"])]


@pytest.mark.anyio
async def test_a_task_is_called_by_what_creates_it(recorder):
    with recorder:
        await outer()

    assert calls.rows(recorder.calls)[-1] == ("one", "two", ["innermost"])
