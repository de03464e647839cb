"""Path templates: what may be written, and what they are filled in to."""

import decimal
import uuid

import pytest

from flama.routing.path import Path


@pytest.mark.parametrize(
    "template",
    ["user", "", "/{id:nope}", "/{id}/{id}", "/{id}{id}", "/{rest:path}/more", "/{rest:path}{id}"],
    ids=["relative", "empty", "unknown converter", "twice", "twice in a segment", "path goes on", "path has company"],
)
def test_a_template_that_can_not_be_served_is_refused_at_once(template):
    with pytest.raises(ValueError, match=r"Path|converter"):
        Path(template)


def test_an_unknown_converter_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"'nope'.*str, int, float, decimal, uuid, path"):
        Path("/{id:nope}/")


@pytest.mark.parametrize(
    ("template", "parameters", "path"),
    [
        ("/user/", {}, "/user/"),
        ("/user/{id}/", {"id": "alice"}, "/user/alice/"),
        ("/user/{id}/", {"id": "a/b?c#d%e f"}, "/user/a%2Fb%3Fc%23d%25e%20f/"),
        ("/user/{id}/", {"id": "é"}, "/user/%C3%A9/"),
        ("/user/{id:int}", {"id": -1}, "/user/-1"),
        ("/user/{id:decimal}", {"id": decimal.Decimal("1.50")}, "/user/1.50"),
        ("/{id:uuid}", {"id": uuid.UUID(int=1)}, "/00000000-0000-0000-0000-000000000001"),
        ("/files/{name:path}", {"name": "a b/c.txt"}, "/files/a%20b/c.txt"),
        ("/v{major:int}.{minor:int}/x", {"major": 1, "minor": 2}, "/v1.2/x"),
    ],
)
def test_a_path_is_built_with_its_parameters_quoted(template, parameters, path):
    assert Path(template).build(**parameters) == path
