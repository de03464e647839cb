"""Errors as status, body and headers."""

import datetime
import email.utils
import json
import uuid

import pytest

from flama import exceptions
from flama.rest.errors import STATUS, decode, encode


def decoded(status, body=b"", headers=None, *, write=False):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return decode(status, body, headers or {}, resource="/user", id="1", write=write)


def test_the_body_is_the_references_with_the_errors_own_fields():
    error = exceptions.IntegrityError(resource="user", detail="twice", kind="unique", fields=["email"])

    status, body, headers = encode(error)

    assert (status, headers) == (400, {})
    assert body == {
        "status_code": 400,
        "detail": "Resource 'user' integrity failed (twice)",
        "error": "IntegrityError",
        "resource": "user",
        "id": None,
        "reason": "twice",
        "kind": "unique",
        "constraint": None,
        "fields": ["email"],
    }


def test_every_error_of_a_resource_has_a_status():
    def family(cls):
        return {cls}.union(*map(family, cls.__subclasses__()))

    own = {cls for cls in family(exceptions.ResourceException) if cls.__module__ == "flama.exceptions"}

    assert own == STATUS.keys()


def test_an_error_of_ones_own_goes_as_the_nearest_that_is_known_and_keeps_its_own_to_itself():
    class TooYoung(exceptions.IntegrityError):
        def __init__(self):
            super().__init__(resource="user", kind="check")
            self.secret = "hidden"

    status, body, _ = encode(TooYoung())

    assert (status, body["error"]) == (400, "IntegrityError")
    assert "secret" not in body


@pytest.mark.parametrize("error", [ValueError(), exceptions.HTTPException(404), exceptions.RepositoryException()])
def test_no_other_error_is_encoded(error):
    assert encode(error) is None


@pytest.mark.parametrize(("seconds", "header"), [(7, "7"), (0.5, "1"), (0, "0")])
def test_retry_after_goes_as_header_too(seconds, header):
    _, body, headers = encode(exceptions.UnavailableError(resource="user", retry_after=seconds))

    assert headers == {"retry-after": header}
    assert body["retry_after"] == seconds


@pytest.mark.parametrize("seconds", [None, float("inf"), float("nan")])
def test_without_a_time_there_is_no_header(seconds):
    assert encode(exceptions.UnavailableError(resource="user", retry_after=seconds))[2] == {}


def test_an_id_that_json_has_no_type_for_goes_as_a_string():
    id = uuid.uuid4()

    assert encode(exceptions.NotFoundError(resource="user", id=id))[1]["id"] == str(id)
    assert encode(exceptions.NotFoundError(resource="user", id=(1, 2)))[1]["id"] == "(1, 2)"


def test_the_name_decides_among_errors_of_one_status():
    body = {"error": "MultipleRecordsError", "resource": "user"}

    assert type(decoded(409, body)) is exceptions.MultipleRecordsError


@pytest.mark.parametrize("name", ["NotFoundError", "ValidationError", "Exception", 7, None, ["x"]])
def test_a_name_that_does_not_go_with_the_status_counts_nothing(name):
    assert type(decoded(409, {"error": name, "resource": "user"})) is exceptions.ConflictError


def test_a_name_alone_does_not_make_the_body_ours():
    error = decoded(404, {"error": "NotFoundError", "detail": "no such user"})

    assert (error.resource, error.id, error.detail) == ("/user", "1", "no such user")


def test_what_is_not_of_its_fields_type_is_left_out():
    body = {
        "error": "IntegrityError",
        "resource": ["user"],
        "id": {},
        "reason": 7,
        "kind": "made up",
        "constraint": False,
        "fields": "email",
        "admin": True,
        "__class__": "x",
    }

    assert vars(decoded(400, body, write=True)) == vars(exceptions.IntegrityError(resource="/user"))


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "404 Not Found"),
        (b"<html>", "404 Not Found"),
        (b"\xff", "404 Not Found"),
        (b"[1]", "404 Not Found"),
        (b"[" * 100_000, "404 Not Found"),
        ({"detail": "gone"}, "gone"),
        ({"detail": {"name": ["missing"]}}, '{"name":["missing"]}'),
        ({"detail": "x" * 5000}, "x" * 1000),
    ],
    ids=["empty", "html", "bytes", "list", "nested", "text", "structure", "long"],
)
def test_the_detail_is_what_a_foreign_body_tells(body, detail):
    assert decoded(404, body).detail == detail


def test_a_note_has_where_a_redirect_would_have_led():
    error = decoded(302, headers={"location": "/login"})

    assert error.detail == "302 Found to another place, which is not followed"
    assert error.__notes__ == ["It redirects to /login"]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7), ("0", 0), ("-7", None), ("soon", None), ("", None), ("9" * 500, 1e9), ("²", None)],
)
def test_retry_after_is_a_number_of_seconds(value, seconds):
    assert decoded(503, headers={"retry-after": value}).retry_after == seconds


@pytest.mark.parametrize(("ahead", "expected"), [(60, 60), (-60, 0)])
def test_retry_after_may_be_a_date(ahead, expected):
    moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=ahead)

    error = decoded(429, headers={"retry-after": email.utils.format_datetime(moment, usegmt=True)})

    assert error.retry_after == pytest.approx(expected, abs=2)


@pytest.mark.parametrize(
    ("status", "maybe"),
    [(200, True), (502, True), (503, True), (500, True), (504, True), (525, True), (429, False), (408, False)],
)
def test_a_write_that_failed_within_the_server_may_be_done(status, maybe):
    assert decoded(status, write=True).maybe_applied is maybe
    assert decoded(status, write=False).maybe_applied is False
