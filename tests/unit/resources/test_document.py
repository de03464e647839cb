"""The document of an application of resources, which keeps to it."""

import os
import subprocess
import sys

import sqlalchemy as sa

from flama import Flama
from flama.resources import CRUDResource
from flama.resources.idempotency import table as keys
from flama.sqlalchemy import SQLAlchemyModule
from tests.unit.resources.conftest import application

metadata = sa.MetaData()
owners = sa.Table(
    "owner",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(20), nullable=False, unique=True),
    sa.Column("born", sa.Date),
)


class Owner(CRUDResource):
    model = owners
    filters = ("name", "born")
    idempotency = True


def app(url):
    app = Flama(modules=[SQLAlchemyModule(url)])
    app.resources.add_resource("/owner/", Owner)

    @app.on_event("startup")
    async def create():
        async with app.sqlalchemy.engine.begin() as connection:
            await connection.run_sync(metadata.drop_all)
            await connection.run_sync(metadata.create_all)
            await connection.run_sync(keys.drop, checkfirst=True)
            await connection.run_sync(keys.create)

    return app


def test_the_document_describes_each_operation():
    document = application("sqlite+aiosqlite:///").openapi

    assert {path: sorted(item) for path, item in document["paths"].items() if path.startswith("/puppy")} == {
        "/puppy/": ["delete", "get", "patch", "post", "put"],
        "/puppy/{resource_id}/": ["delete", "get", "patch", "put"],
        "/puppy/:upsert/": ["post"],
        "/puppy/:update/": ["post"],
        "/puppy/:drop/": ["post"],
    }


def test_resources_keep_to_their_document(serve, tmp_path):
    # Pydantic is lenient, as its users know it, so that not all that a schema doesn't allow is refused; and no schema
    # says that a name is taken, or that a record is in another state by now.
    excluded = "--exclude-checks=negative_data_rejection,positive_data_acceptance"
    # FLAMA_SCHEMATHESIS is the URL of another database, where there is time for more
    url = os.environ.get("FLAMA_SCHEMATHESIS")
    amount = ["--max-examples=100"] if url else ["--max-examples=10", "--phases=fuzzing"]
    served = serve(app(url or "sqlite+aiosqlite:///"))

    run = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "run", f"{served}/schema/", excluded, *amount, "--seed=1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
    )

    assert run.returncode == 0, run.stdout + run.stderr
    assert "Tested: 12" in run.stdout
