"""The pictures and tables of docs/explanation/architecture.md, drawn from the source: scripts/pictures writes them."""

import asyncio
import pathlib
import shutil
import sys

import sqlalchemy

from flama import Flama
from flama.client import Client
from flama.ddd import WorkerComponent
from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from flama.ddd.workers.sqlalchemy import SQLAlchemyWorker
from flama.sqlalchemy import SQLAlchemyModule
from tests.architecture.test_layers import DIVIDED, LAYERS, room
from tests.support import calls, drawings, source

FOLDER = source.ROOT / "docs" / "explanation"
# Rooms that only serve others would hide the way: a call of one counts as its caller's own.
TOOLS = {f"flama.{name}" for names in LAYERS[:3] for name in names} | {
    f"{parent}.{name}" for parent, layers in DIVIDED.items() for name in layers[0]
}
SERVER, CALLER = "server", "caller"

metadata = sqlalchemy.MetaData()


class ToolRepository(SQLAlchemyTableRepository):
    _table = sqlalchemy.Table(
        "tool",
        metadata,
        sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True),
        sqlalchemy.Column("name", sqlalchemy.String),
    )


class ToolWorker(SQLAlchemyWorker):
    tool: ToolRepository


app = Flama(modules=[SQLAlchemyModule("sqlite+aiosqlite://")], components=[WorkerComponent(worker=ToolWorker())])


@app.get("/tool/{id}/")
async def retrieve_tool(worker: ToolWorker, id: int) -> dict:
    async with worker:
        return await worker.tool.retrieve(id=id)


async def create_tool(worker):
    async with worker:
        await worker.tool.create({"name": "hammer"})


async def receive():
    return {"type": "http.request", "body": b""}


async def send(_): ...


OWN = {retrieve_tool.__code__: "handler", create_tool.__code__: CALLER, send.__code__: SERVER}
REQUEST = {"type": "http", "method": "GET", "path": "/tool/1/", "raw_path": b"/tool/1/", "query_string": b""}
SCOPE = {**REQUEST, "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "headers": [], "root_path": ""}


def room_of(depths):
    """Return a function that names the room of a frame, as far below the package's own rooms as ``depths`` has it."""

    def find(frame):
        name, code = frame.f_globals.get("__name__") or "", frame.f_code
        if code.co_filename.startswith("<plan"):
            return "plan"
        if not name.startswith("flama.") or code.co_name.startswith("<"):
            return OWN.get(code)
        parts = name.split(".")
        if any(".".join(parts[:length]) in TOOLS for length in range(2, len(parts) + 1)):
            return ""
        return ".".join(parts[1 : 1 + depths.get(parts[1], 1)])

    return find


async def record():
    """Return the calls of a request, and those of a unit of work, each of which has been made before."""
    async with Client(app=app) as client:
        async with app.sqlalchemy.engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
            driver = (await connection.get_raw_connection()).driver_connection
        worker = ToolWorker(app)
        for _ in range(3):
            await create_tool(worker)
            await client.get("/tool/1/")
        request = calls.Recorder(room_of({"ddd": 2}), SERVER)
        await driver.set_trace_callback(request.statement)
        with request:
            await app(SCOPE, receive, send)
        unit = calls.Recorder(room_of({"ddd": 3, "sqlalchemy": 2}), CALLER)
        await driver.set_trace_callback(unit.statement)
        with unit:
            await create_tool(worker)
        await driver.set_trace_callback(None)
    ends = {*OWN.values(), calls.DATABASE}
    return request.calls, [call for call in unit.calls if call.room in ends or not call.is_leaf]


def edges(parent):
    modules = source.modules()
    names = {module.name for module in modules}
    pairs = {(module.name, imported) for module in modules for imported in module.imports(names)}
    inside = [pair for pair in pairs if all(f"{name}.".startswith(f"{parent}.") for name in pair)]
    found = {(room(start, parent) or parent, room(end, parent) or parent) for start, end in inside}
    return {(start, end) for start, end in found if start != end}


def section(parent, layers):
    """Return the picture and the table of the rooms below ``parent``, in Markdown."""
    headlines = {module.name: module.docstring.partition("\n")[0] for module in source.modules()}
    rooms = [(number, name) for number, names in reversed([*enumerate(layers)]) for name in sorted(names)]
    rows = (
        f"| {level} | `{name or parent}` | {headlines[f'{parent}.{name}'.rstrip('.')]} |\n" for level, name in rooms
    )
    picture = f"![The rooms of {parent} in layers, and what they import](pictures/{parent}.svg)\n"
    return f"{picture}\n| layer | room of `{parent}` | |\n|--:|:--|:--|\n{''.join(rows)}"


def page(text):
    """Return the page with its sections on rooms as the source has them."""
    for name, parents in {"rooms": {"flama": LAYERS}, "divided rooms": DIVIDED}.items():
        before, start, rest = text.partition(f"<!-- {name}, by scripts/pictures -->\n")
        _, end, after = rest.partition(f"<!-- end of {name} -->\n")
        text = before + start + "\n".join(section(*parent) for parent in parents.items()) + end + after
    return text


def draw():
    """Yield the path of each file below FOLDER that is drawn, and its text."""
    yield "architecture.md", page((FOLDER / "architecture.md").read_text())
    for parent, layers in {"flama": LAYERS, **DIVIDED}.items():
        named = [{name or parent for name in names} for names in layers]
        yield f"pictures/{parent}.svg", drawings.draw_layers(named, drawings.reduce(edges(parent)))
    for name, recorded in zip(("request", "unit-of-work"), asyncio.run(record()), strict=True):
        yield f"pictures/{name}.svg", drawings.draw_calls(calls.rows(recorded), calls.DATABASE)


def main(folder=FOLDER):
    files = dict(draw())
    shutil.rmtree(pathlib.Path(folder, "pictures"), ignore_errors=True)
    pathlib.Path(folder, "pictures").mkdir()
    for path, text in files.items():
        pathlib.Path(folder, path).write_text(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
