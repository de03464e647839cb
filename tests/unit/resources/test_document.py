"""The document of an application of resources, which keeps to it."""

import os
import re
import subprocess
import sys

import sqlalchemy as sa

from flama import Flama
from flama.resources import CRUDResource
from flama.resources._idempotency import table as keys
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
        "/puppy/:get_or_create/": ["post"],
        "/puppy/:upsert/": ["post"],
        "/puppy/:update/": ["post"],
        "/puppy/:drop/": ["post"],
    }


def test_the_document_says_what_a_list_can_be_asked():
    document = application("sqlite+aiosqlite:///").openapi
    listed = document["paths"]["/puppy/"]["get"]
    parameters = {parameter["name"]: parameter for parameter in listed["parameters"]}

    assert parameters.keys() >= {"page", "page_size", "limit", "offset", "cursor", "count", "order_by", "filter", "age"}
    assert "-age" in parameters["order_by"]["schema"]["items"]["enum"]
    assert parameters["filter"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/PuppyFilter"}
    assert re.fullmatch(parameters["age"]["schema"]["items"]["pattern"], "not:gte:18")
    assert list(listed["responses"]["200"]["content"]) == ["application/json", "application/x-ndjson"]
    assert "Link" in listed["responses"]["200"]["headers"]
    assert {"PageNumberPaginatedPuppy", "LimitOffsetPaginatedPuppy", "CursorPaginatedPuppy"} <= set(
        document["components"]["schemas"]
    )


def test_the_document_says_what_operations_take_and_answer():
    paths = application("sqlite+aiosqlite:///").openapi["paths"]
    created, changed = paths["/puppy/"]["post"], paths["/puppy/{resource_id}/"]["patch"]

    one, many = created["requestBody"]["content"]["application/json"]["schema"]["oneOf"]
    assert one == many["items"] == {"$ref": "#/components/schemas/PuppyInput"}
    assert created["responses"]["201"]["headers"].keys() == {"ETag", "Location"}
    assert [p["name"] for p in created["parameters"]] == ["Idempotency-Key"]
    assert [p["name"] for p in changed["parameters"]] == ["resource_id", "If-Match", "Idempotency-Key"]
    assert changed["requestBody"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/PartialPuppyInput"
    }
    assert paths["/puppy/{resource_id}/"]["get"]["responses"].keys() >= {"200", "304", "400", "default"}
    assert paths["/puppy/{resource_id}/"]["delete"]["responses"]["204"] == {"description": "Deleted"}


def test_the_document_says_by_what_a_record_may_be_known_that_is_there_already():
    paths = application("sqlite+aiosqlite:///").openapi["paths"]
    found, upserted = (paths[f"/puppy/:{verb}/"]["post"] for verb in ("get_or_create", "upsert"))
    parameters = {parameter["name"]: parameter for parameter in found["parameters"]}

    assert list(parameters) == ["Idempotency-Key", "on"]
    assert parameters["on"] == upserted["parameters"][1]
    assert parameters["on"]["schema"]["enum"] == ["id", "name"]
    assert found["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/PuppyInput"}
    assert {status: sorted(each.get("headers", ())) for status, each in found["responses"].items() if status < "3"} == {
        "200": ["ETag"],
        "201": ["ETag", "Location"],
    }


def test_the_document_says_that_no_other_fields_are_taken():
    schemas = application("sqlite+aiosqlite:///").openapi["components"]["schemas"]

    taken = {name for name, schema in schemas.items() if schema.get("additionalProperties") is False}

    assert taken >= {"PuppyInput", "PartialPuppyInput", "ToyInput", "PartialToyInput"}


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
    assert "Tested: 13" in run.stdout
