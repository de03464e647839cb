"""The matcher: what is found for a path, and at what cost."""

import sys

import pytest

from flama.routing.matcher import Matcher
from flama.routing.path import Path


def matcher(*templates):
    made = Matcher()
    for template in templates:
        made.add(Path(template), {"GET": template})
    return made


def scope(path, method="GET", **more):
    return {"type": "http", "method": method, "path": path, **more}


@pytest.mark.parametrize(
    ("templates", "path", "found"),
    [
        (["/user/{id}", "/user/me"], "/user/me", "/user/me"),
        (["/{collection}/{id}", "/user/{id}"], "/user/1", "/user/{id}"),
        (["/{a}/x", "/{b}/x"], "/1/x", "/{a}/x"),
        (["/{id}", "/{id:int}"], "/1", "/{id}"),
        (["/{id:int}", "/{id}"], "/1", "/{id:int}"),
        (["/{id:int}", "/{id}"], "/x", "/{id}"),
        (["/{rest:path}", "/a/{id}"], "/a/1", "/a/{id}"),
        (["/{id}/", "/p/{rest:path}"], "/p/", "/p/{rest:path}"),
        (["/{rest:path}", "/{id}"], "/x", "/{id}"),
        (["/a/{rest:path}", "/a/b/{rest:path}"], "/a/b/c", "/a/b/{rest:path}"),
    ],
)
def test_of_several_that_match_the_more_literal_is_found_and_then_the_first(templates, path, found):
    assert matcher(*templates).find(scope(path)) == found


def test_a_method_that_the_better_match_does_not_have_is_found_in_the_next():
    made = matcher("/user/{id}", "/user/me")
    made.add(Path("/user/{id}"), {"DELETE": "delete"})

    assert made.find(scope("/user/me")) == "/user/me"
    assert made.find(scope("/user/me", "DELETE")) == "delete"
    assert made.methods(scope("/user/me")) == {"GET", "DELETE"}


def test_a_path_without_its_raw_form_is_found_as_it_is():
    connection = scope("/user/a b")

    assert matcher("/user/{id}").find(connection) == "/user/{id}"
    assert connection["path_params"] == {"id": "a b"}


def test_what_nothing_serves_is_a_lookup_error():
    with pytest.raises(LookupError):
        matcher("/user/{id}").find(scope("/nobody"))


def work(made, path):
    """How many functions are called to find a path, Python's and C's."""
    calls = []
    connection = scope(path)
    sys.setprofile(lambda frame, event, argument: calls.append(event) if event in ("call", "c_call") else None)
    try:
        made.find(connection)
    finally:
        sys.setprofile(None)
    return len(calls)


def many(count):
    return matcher(*(f"/r{i}" for i in range(count)), *(f"/r{i}/{{id:int}}/x/{{name}}" for i in range(count)))


@pytest.mark.parametrize("path", ["/r{}", "/r{}/1/x/y"], ids=["static", "dynamic"])
def test_one_of_a_thousand_routes_is_found_with_the_work_of_one_of_ten(path):
    ten, thousand = many(10), many(1000)

    assert work(thousand, path.format(999)) == work(ten, path.format(9))
    assert work(thousand, path.format(0)) == work(ten, path.format(0))


def test_each_of_a_thousand_routes_is_found():
    made = many(1000)

    for i in range(1000):
        connection = scope(f"/r{i}/{i}/x/n{i}")
        assert made.find(scope(f"/r{i}")) == f"/r{i}"
        assert made.find(connection) == f"/r{i}/{{id:int}}/x/{{name}}"
        assert connection["path_params"] == {"id": i, "name": f"n{i}"}


@pytest.mark.parametrize(
    ("root_path", "path", "raw"),
    [("/api", "/api/user/a/b", b"/api/user/a%2Fb"), ("/x/y", "/x/y/user/a/b", b"/x/y/user/a%2Fb")],
)
def test_a_quoted_slash_belongs_to_its_segment_below_a_mount_too(root_path, path, raw):
    connection = scope(path, root_path=root_path, raw_path=raw)

    assert matcher("/user/{id}").find(connection) == "/user/{id}"
    assert connection["path_params"] == {"id": "a/b"}


def test_a_quoted_slash_is_not_the_slash_of_a_path_without_parameters():
    made = matcher("/user/me/secrets", "/user/{id}")

    connection = scope("/user/me/secrets", raw_path=b"/user/me%2Fsecrets")

    assert made.find(connection) == "/user/{id}"
    assert connection["path_params"] == {"id": "me/secrets"}
