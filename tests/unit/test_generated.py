"""The code that the program generates, kept as text; ``python -m tests.unit.test_generated`` writes it anew."""

import asyncio
import pathlib

import pydantic
import pytest

from flama import Component, Flama, types
from flama.client import Client
from flama.injection.plan import Plan, _render as render
from flama.sqlalchemy.drivers._compiled_cache import reader_source

pytestmark = pytest.mark.anyio

FOLDER = pathlib.Path(__file__).parent / "generated"


class Account(pydantic.BaseModel):
    name: str


class Token: ...


class Session: ...


class TokenComponent(Component):
    async def resolve(self, scope: types.Scope) -> Token:
        return Token()


class SessionComponent(Component):
    async def resolve(self, token: Token) -> Session:
        yield Session()


def in_a_thread(id: int, limit: int = 10):
    return {"id": id}


async def by_a_schema(account: Account, token: Token) -> Account:
    return account


async def with_clean_up(session: Session, token: Token):
    return None


async def web_socket(session: Session): ...


async def event_handler(app: Flama): ...


HANDLERS = {
    in_a_thread: lambda app, handler: app.add_get("/{id}", handler),
    by_a_schema: lambda app, handler: app.add_post("/", handler),
    with_clean_up: lambda app, handler: app.add_get("/", handler),
    web_socket: lambda app, handler: app.add_websocket_route("/", handler),
    event_handler: lambda app, handler: app.add_event_handler("startup", handler),
}
READERS = {
    "reader_of_values": (["id", "first name", "it's"], [False, False, False]),
    "reader_of_converted_values": (["id", "created"], [False, True]),
    "reader_of_nothing": ([], []),
}


async def sources(handler):
    """Return what is generated to call a handler."""
    found, function = [], Plan.function

    def record(plan, source, **names):
        made = function(plan, source, **names)
        if names["handler"] is handler:
            found.append(render(source, plan) + "\n")
        return made

    app = Flama(components=[TokenComponent(), SessionComponent()])
    HANDLERS[handler](app, handler)
    Plan.function = record
    try:
        async with Client(app=app):
            pass
    finally:
        Plan.function = function
    return "\n".join(found)


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda handler: handler.__name__)
async def test_the_code_that_calls_a_handler(handler):
    assert await sources(handler) == (FOLDER / f"{handler.__name__}.txt").read_text()


@pytest.mark.parametrize("name", READERS)
def test_the_code_that_reads_rows(name):
    assert reader_source(*READERS[name]) + "\n" == (FOLDER / f"{name}.txt").read_text()


def main():
    """Write the files."""
    texts = {handler.__name__: asyncio.run(sources(handler)) for handler in HANDLERS}
    texts |= {name: reader_source(*columns) + "\n" for name, columns in READERS.items()}
    for name, text in texts.items():
        (FOLDER / f"{name}.txt").write_text(text)


if __name__ == "__main__":
    main()
