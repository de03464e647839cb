"""What it costs to be there: imports, and an application until it is ready, as whole processes."""

import asyncio
import collections.abc
import dataclasses
import os
import subprocess
import sys
import tempfile
import textwrap
import time
import typing as t

import measure

LIBRARIES = ("starlette", "fastapi", "litestar", "pydantic", "msgspec", "sqlalchemy")
ROUNDS = 21
ROUTES = 100

BARE = "an empty program"
SQLALCHEMY = "import sqlalchemy"
STARLETTE = "import starlette.applications"

DATA = "import flama.ddd.repositories.sqlalchemy"
IMPORTS = (
    "import flama",
    "import flama.applications",
    DATA,
    SQLALCHEMY,
    "import sqlalchemy.ext.asyncio",
    STARLETTE,
    "import litestar",
    "import fastapi",
)

READY = """
import asyncio

async def main(app):
    received = asyncio.Queue()
    sent = asyncio.Queue()
    received.put_nowait({"type": "lifespan.startup"})
    scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
    task = asyncio.create_task(app(scope, received.get, sent.put))
    message = await sent.get()
    assert message["type"] == "lifespan.startup.complete", message
    received.put_nowait({"type": "lifespan.shutdown"})
    await task

asyncio.run(main(app))
"""

APPLICATIONS = {
    "flama": """
        from flama import Flama
        app = Flama()
        for number in range(ROUTES):
            @app.get(f"/item-{number}/{{id:int}}/")
            async def item(id: int):
                return {"id": id}
        """,
    "Starlette": """
        from starlette.applications import Starlette
        from starlette.responses import JSONResponse
        from starlette.routing import Route
        async def item(request):
            return JSONResponse({"id": request.path_params["id"]})
        app = Starlette(routes=[Route(f"/item-{number}/{{id:int}}/", item) for number in range(ROUTES)])
        """,
    "Litestar": """
        from litestar import Litestar, get
        def route(number):
            @get(f"/item-{number}/{{id:int}}/")
            async def item(id: int) -> dict[str, int]:
                return {"id": id}
            return item
        app = Litestar([route(number) for number in range(ROUTES)], openapi_config=None)
        """,
    "FastAPI": """
        from fastapi import FastAPI
        app = FastAPI(openapi_url=None)
        for number in range(ROUTES):
            @app.get(f"/item-{number}/{{id}}/")
            async def item(id: int):
                return {"id": id}
        """,
}


@dataclasses.dataclass(frozen=True)
class Cost:
    """What whole processes took, by the clock and by the CPU."""

    wall: measure.Figures
    cpu: measure.Figures


def _programs() -> dict[str, str]:
    programs = {BARE: "", **{text: text for text in IMPORTS}}
    for title, text in APPLICATIONS.items():
        programs[_ready(title)] = f"ROUTES = {ROUTES}\n{textwrap.dedent(text)}\n{READY}"
    return programs


def _ready(title: str) -> str:
    return f"{title}, {ROUTES} routes"


def _run(program: str, bytecode: str) -> tuple[float, float]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = bytecode
    begun = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", program], env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, program)
    return wall, usage.ru_utime + usage.ru_stime


async def _measured(programs: t.Mapping[str, str], bytecode: str) -> Cost:
    walls: measure.Figures = {name: [] for name in programs}

    def sample(name: str) -> measure.Sample:
        async def sampled() -> float:
            wall, cpu = _run(programs[name], bytecode)
            walls[name].append(wall)
            return cpu

        return sampled

    return Cost(walls, await measure.interleaved({name: sample(name) for name in programs}, ROUNDS))


def _answer(cost: Cost) -> collections.abc.Iterator[str]:
    groups = {
        "The package alone": (BARE, [BARE, "import flama"]),
        "The data layer": (SQLALCHEMY, [DATA, SQLALCHEMY, "import sqlalchemy.ext.asyncio"]),
        "The web framework": (STARLETTE, ["import flama.applications", STARLETTE, "import litestar", "import fastapi"]),
        f"An application of {ROUTES} routes, started and stopped": (
            _ready("Starlette"),
            [_ready(title) for title in APPLICATIONS],
        ),
    }
    for title, (base, names) in groups.items():
        rows = [measure.Row(name, base) for name in names]
        for unit, figures in (("CPU ms", cost.cpu), ("wall ms", cost.wall)):
            yield f"### {title}: {unit}"
            yield ""
            yield from measure.table(figures, rows, unit=unit, scale=1e3, of=base)
            yield ""


def main() -> int:
    """Measure, print, keep."""
    programs = _programs()
    with tempfile.TemporaryDirectory() as bytecode:
        try:
            for program in programs.values():
                _run(program, bytecode)  # every module is compiled by now, whosever it is
        except subprocess.CalledProcessError:
            return 1
        cost = asyncio.run(_measured(programs, bytecode))
    measure.report("What it costs to start", _answer(cost), LIBRARIES)
    return 0


if __name__ == "__main__":
    sys.exit(main())
