"""The page's examples run unchanged, wherever what they talk to is."""

import os
import re
import subprocess
import textwrap
import uuid

import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine

from flama.client import Client
from flama.ddd.exceptions import IntegrityError, NotFoundError
from tests.support import loops, source

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
ALICE = {"name": "Alice", "surname": "Smith", "email": "alice@example.com", "password": "hashed_password"}


def run(script, directory, loop=None):
    environment = os.environ | {"PYTHONPATH": str(source.ROOT)}
    finished = subprocess.run(
        loops.command(script, loop=loop), cwd=directory, env=environment, capture_output=True, text=True, timeout=60
    )
    assert (finished.returncode, finished.stderr) == (0, "")
    return UUID.sub("...", finished.stdout)


@pytest.mark.parametrize("loop", loops.LOOPS)
@pytest.mark.parametrize("backend", ["sql", "http"])
def test_an_example_prints_what_the_page_says(backend, loop, seed, tmp_path):
    assert run(seed / f"example_{backend}.py", tmp_path, loop) == (seed / f"expected_{backend}.out").read_text()


def test_the_snippets_run(seed, tmp_path):
    assert run(seed / "example_snippets.py", tmp_path) == textwrap.dedent(
        """\
        active: 2
        clause: [1, 2, 3]
        keyword: {'id': 1, 'email': 'alice@example.com', 'active': True}
        both: [1, 3]
        resource: /user
        """
    )


async def use(users):
    """Do what the HTTP example's demo does, and then what its errors are for."""
    id = str(uuid.uuid4())
    alice = ALICE | {"id": id, "active": False}

    assert await users.create(alice) == alice
    assert await users.retrieve(id) == alice
    assert await users.update(id, alice | {"active": True}) == alice | {"active": True}
    assert (await users.retrieve(id))["active"] is True
    with pytest.raises(IntegrityError):
        await users.create(alice | {"id": str(uuid.uuid4())})
    assert await users.delete(id) is None
    with pytest.raises(NotFoundError):
        await users.retrieve(id)
    with pytest.raises(NotFoundError):
        await users.delete(id)


@pytest.fixture
async def without_users(postgres_url):
    """Give a PostgreSQL database in which the table of the example isn't, before and after."""
    engine = create_async_engine(postgres_url)
    drop = sqlalchemy.text('DROP TABLE IF EXISTS "user"')
    async with engine.begin() as connection:
        await connection.execute(drop)
    yield postgres_url
    async with engine.begin() as connection:
        await connection.execute(drop)
    await engine.dispose()


@pytest.mark.anyio
async def test_the_repository_uses_a_local_application(load):
    example = load("example_http")

    async with Client(app=example.backend) as client:
        await use(example.UserHTTPRepository(client))


@pytest.mark.anyio
async def test_the_same_repository_uses_the_application_behind_a_socket(load, serve):
    example = load("example_http")

    async with Client(base_url=serve(example.backend)) as client:
        await use(example.UserHTTPRepository(client))


@pytest.mark.anyio
async def test_the_same_repository_uses_the_application_on_postgresql(load, without_users):
    example = load("example_http", without_users)

    async with Client(app=example.backend) as client:
        await use(example.UserHTTPRepository(client))


@pytest.mark.anyio
async def test_the_same_repository_uses_the_application_on_postgresql_behind_a_socket(load, without_users, serve):
    example = load("example_http", without_users)

    async with Client(base_url=serve(example.backend)) as client:
        await use(example.UserHTTPRepository(client))


@pytest.mark.anyio
async def test_the_demo_itself_prints_the_same_on_postgresql(load, without_users, seed, capsys):
    example = load("example_http", without_users)

    await example.main()

    assert UUID.sub("...", capsys.readouterr().out) == (seed / "expected_http.out").read_text()


@pytest.mark.anyio
async def test_the_backend_makes_an_id_for_whom_has_none(load):
    example = load("example_http")

    async with Client(app=example.backend) as client:
        created = await example.UserHTTPRepository(client).create(ALICE)

    assert UUID.fullmatch(created["id"])
