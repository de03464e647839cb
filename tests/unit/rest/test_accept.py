"""What ``Accept`` prefers, by weight, specificity and wildcards."""

import pytest
import sqlalchemy as sa
from hypothesis import given, strategies as st

from flama import Flama, exceptions
from flama.client import Client
from flama.resources import CRUDResource
from flama.rest.accept import is_preferred
from flama.sqlalchemy import SQLAlchemyModule

SPECIAL, DEFAULT = "application/x-ndjson", "application/json"

PREFERRED = {
    None: False,
    "": False,
    "*/*": False,
    "application/*": False,
    "text/html": False,
    SPECIAL: True,
    "Application/X-NDJSON": True,
    f"{SPECIAL}; charset=utf-8": True,
    f"{SPECIAL};q=0": False,
    f"{SPECIAL};q=0.000": False,
    f"{SPECIAL};q=0, */*": False,
    f"{SPECIAL};q=0.001": True,
    f"{SPECIAL}, {DEFAULT}": True,
    f"{DEFAULT}, {SPECIAL}": True,
    f"{DEFAULT}, {SPECIAL};q=0.1": False,
    f"{DEFAULT};q=0.1, {SPECIAL};q=0.2": True,
    f"{DEFAULT};Q = 0.1, {SPECIAL} ; q=0.2": True,
    f"{SPECIAL};q=0.5, */*;q=0.1": True,
    f"{SPECIAL};q=0.5, */*": False,
    f"{SPECIAL}, */*": True,
    f"{SPECIAL};q=0, {DEFAULT};q=0": False,
    f"{DEFAULT};q=0, */*": True,
    f"{DEFAULT};q=0, application/*;q=0.1, */*;q=0": True,
    f"application/*;q=0.1, {DEFAULT};q=0.9": False,
    f'text/plain;note="a, {SPECIAL}"': False,
    f'{SPECIAL};note="q=0"': True,
    f"{SPECIAL};q=much": False,
    f"{SPECIAL};q=2": False,
    f"{SPECIAL};q=0.1, {SPECIAL}": True,
    "*": False,
    ",;,": False,
}


@pytest.mark.parametrize(("accept", "expected"), PREFERRED.items())
def test_the_preferred_media_type_is_that_of_the_greater_weight(accept, expected):
    assert is_preferred(accept, SPECIAL, DEFAULT) is expected


@given(st.integers(0, 1000), st.integers(0, 1000), st.booleans(), st.sampled_from(["", ", text/html", ", */*;q=0"]))
def test_named_media_types_are_ordered_by_their_weights_wherever_they_stand(special, default, first, rest):
    ranges = [f"{SPECIAL};q={special / 1000:.3f}", f"{DEFAULT};q={default / 1000:.3f}"]

    accept = ", ".join(ranges if first else reversed(ranges)) + rest

    assert is_preferred(accept, SPECIAL, DEFAULT) is (special >= default and special > 0)


@given(st.text(alphabet='aq=/*;,."\\ 019'))
def test_whatever_is_sent_is_understood_or_passed_over(accept):
    assert is_preferred(accept, SPECIAL, DEFAULT) in (True, False)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("accept", "list_type", "error_type"),
    [
        (["*/*"], "application/json", "application/json"),
        (["application/x-ndjson;q=0, application/json"], "application/json", "application/json"),
        (["application/json, application/x-ndjson;q=0.1"], "application/json", "application/json"),
        (["application/x-ndjson"], "application/x-ndjson", "application/json"),
        (["application/problem+json"], "application/json", "application/problem+json"),
        (["application/json", "application/problem+json"], "application/json", "application/problem+json"),
        (["application/json, application/problem+json;q=0.9"], "application/json", "application/json"),
        (["application/problem+json;q=0, */*"], "application/json", "application/json"),
    ],
)
async def test_lists_and_errors_are_answered_in_the_preferred_form(accept, list_type, error_type):
    table = sa.Table("thing", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True))
    app = Flama(modules=[SQLAlchemyModule("sqlite+aiosqlite://")])
    app.resources.add_resource("/thing/", type("Thing", (CRUDResource,), {"model": table}))

    @app.get("/error/")
    def error():
        raise exceptions.HTTPException(418)

    async with Client(app=app) as client:
        async with app.sqlalchemy.engine.begin() as connection:
            await connection.run_sync(table.metadata.create_all)
        await client.post("/thing/", json={})
        headers = [("accept", value) for value in accept]
        listed = await client.get("/thing/", headers=headers)
        failed = await client.get("/error/", headers=headers)

    assert listed.headers["content-type"].startswith(list_type)
    assert failed.headers["content-type"].startswith(error_type)
