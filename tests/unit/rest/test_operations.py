"""The table of operations."""

import pytest

from flama.rest.operations import OPERATIONS, path, segment


def test_each_operation_has_its_verb_and_path():
    table = {name: (operation.method, path(operation, "1")) for name, operation in OPERATIONS.items()}

    assert table == {
        "create": ("POST", "/"),
        "list": ("GET", "/"),
        "retrieve": ("GET", "/1/"),
        "update": ("PUT", "/1/"),
        "partial_update": ("PATCH", "/1/"),
        "delete": ("DELETE", "/1/"),
        "replace": ("PUT", "/"),
        "partial_replace": ("PATCH", "/"),
        "drop": ("DELETE", "/"),
        "create_many": ("POST", "/"),
        "get_or_create": ("POST", "/:get_or_create/"),
        "upsert": ("POST", "/:upsert/"),
        "update_where": ("POST", "/:update/"),
        "drop_where": ("POST", "/:drop/"),
    }


def test_what_has_no_content_has_no_body_and_everything_else_has_one():
    assert [name for name, operation in OPERATIONS.items() if operation.response is None] == ["delete"]
    assert [name for name, operation in OPERATIONS.items() if operation.status == 204] == ["delete"]


def test_only_reading_does_not_write():
    assert {name for name, operation in OPERATIONS.items() if not operation.writes} == {"list", "retrieve"}


def test_what_only_adds_records_changes_none():
    adding = {name for name, operation in OPERATIONS.items() if operation.writes and not operation.changes}

    assert adding == {"create", "create_many", "get_or_create"}


def test_the_table_cannot_be_changed():
    with pytest.raises(TypeError):
        OPERATIONS["create"] = OPERATIONS["drop"]


@pytest.mark.parametrize(("id", "expected"), [("a/b", "a%2Fb"), ("é", "%C3%A9"), (7, "7"), ("..a", "..a"), (0, "0")])
def test_an_id_is_one_segment(id, expected):
    assert segment(id) == expected


@pytest.mark.parametrize("id", [None, "", ".", ".."])
def test_what_would_be_another_path_is_no_id(id):
    with pytest.raises(ValueError, match="its path would be another one"):
        segment(id)
