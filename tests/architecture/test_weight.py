"""What an import brings along."""

import json
import subprocess
import sys

import pytest

from tests.support import source

HEAVY = {"httpx", "importlib.metadata", "multipart", "pydantic", "python_multipart", "sqlalchemy", "starlette"}
WEB = {
    "flama.applications",
    "flama.client",
    "flama.http",
    "flama.middleware",
    "flama.openapi",
    "flama.pagination",
    "flama.resources",
    "flama.routing",
    "flama.schemas",
}


def loaded(statement):
    """Give the modules that a fresh interpreter has loaded after ``statement``."""
    script = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", script], cwd=source.ROOT, capture_output=True, text=True, check=True)
    return set(json.loads(run.stdout))


def under(names, modules):
    return sorted(module for module in modules if any(f"{module}.".startswith(f"{name}.") for name in names))


def test_importing_flama_loads_no_library_it_builds_on():
    assert under(HEAVY, loaded("import flama")) == []


def test_importing_flama_loads_none_of_its_rooms():
    assert sorted(under({"flama"}, loaded("import flama"))) == ["flama", "flama._distribution", "flama._lazy"]


@pytest.mark.parametrize("module", ["flama.ddd.repositories.sqlalchemy", "flama.ddd.workers.sqlalchemy"])
def test_the_sql_half_loads_nothing_of_the_web_half(module):
    present = loaded(f"import {module}")

    assert "sqlalchemy" in present
    assert under({"httpx", "multipart", "pydantic", "starlette"} | WEB, present) == []
    assert under({"aiosqlite", "asyncmy", "asyncpg", "psycopg"}, present) == []  # nobody has them all installed


def test_the_http_repository_loads_no_sql():
    present = loaded("import flama.ddd.repositories.http")

    assert under({"sqlalchemy", "flama.sqlalchemy"}, present) == []


@pytest.mark.parametrize("module", ["flama.memory", "flama.ddd.repositories.memory", "flama.policies"])
def test_memory_and_policies_load_no_sqlalchemy(module):
    present = loaded(f"import {module}")

    assert under({"sqlalchemy", "flama.sqlalchemy"}, present) == []


def test_the_weighing_notices_what_is_loaded():
    present = loaded("import sqlalchemy.exc, flama.types")

    assert "sqlalchemy.exc" in under(HEAVY, present)
    assert under({"flama.type"}, present) == []
    assert under({"flama.types"}, present) == ["flama.types"]
