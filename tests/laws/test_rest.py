"""What goes over the wire comes back as it went."""

import string
import urllib.parse

import hypothesis
import msgspec
import pytest
from hypothesis import strategies as st

from flama import exceptions
from flama.rest import errors, operations, pages

TEXT = st.text(st.characters(codec="utf-8"), max_size=30)
NAMES = st.lists(st.text(string.ascii_lowercase, min_size=1), max_size=3)
IDS = st.none() | TEXT | st.integers() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False)

COMMON = {"resource": TEXT, "id": IDS, "detail": TEXT}
OWN = {
    exceptions.IntegrityError: {
        "kind": st.sampled_from([None, "unique", "foreign_key", "not_null", "check"]),
        "constraint": st.none() | TEXT,
        "fields": NAMES,
    },
    exceptions.ConflictError: {"retryable": st.booleans()},
    exceptions.PreconditionFailedError: {"retryable": st.booleans()},
    exceptions.UnknownColumnError: {"names": NAMES, "columns": NAMES},
    exceptions.UnavailableError: {
        "retry_after": st.none() | st.floats(0, 1e9),
        "maybe_applied": st.booleans(),
    },
}
OWN[exceptions.TooManyRequestsError] = OWN[exceptions.UnavailableError]

ERRORS = st.sampled_from(list(errors.STATUS)).flatmap(lambda cls: st.builds(cls, **COMMON, **OWN.get(cls, {})))


def over_the_wire(error, **kwargs):
    status, body, headers = errors.encode(error)
    return errors.decode(status, msgspec.json.encode(body), headers, **kwargs)


@hypothesis.given(ERRORS, TEXT, IDS, st.booleans(), st.integers(1, 3))
def test_an_error_is_the_same_after_any_number_of_hops(error, resource, id, write, hops):
    arrived = error
    for _ in range(hops):
        arrived = over_the_wire(arrived, resource=resource, id=id, write=write)

    assert type(arrived) is type(error)
    assert vars(arrived) == vars(error)
    assert str(arrived) == str(error)


@hypothesis.given(st.builds(exceptions.NotFoundError, resource=st.text(), id=st.text() | st.uuids(), detail=st.text()))
def test_every_error_can_be_encoded(error):
    status, body, _ = errors.encode(error)

    assert msgspec.json.decode(msgspec.json.encode(body))["status_code"] == status


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda value: st.lists(value, max_size=3) | st.dictionaries(TEXT, value, max_size=3),
    max_leaves=8,
)
CONTENT = st.fixed_dictionaries(
    {},
    optional={
        "error": st.sampled_from([error.__name__ for error in errors.STATUS]) | JSON,
        **dict.fromkeys(("resource", "id", "reason", "detail", "kind", "fields", "retry_after", "retryable"), JSON),
    },
)


@hypothesis.given(
    st.sampled_from(sorted(set(errors.STATUS.values()))) | st.integers(300, 999),
    st.binary() | JSON.map(msgspec.json.encode) | CONTENT.map(msgspec.json.encode),
    st.dictionaries(st.sampled_from(["retry-after", "location"]), TEXT | st.integers().map(str)),
    st.booleans(),
)
def test_whatever_a_server_answers_is_a_sound_error(status, body, headers, write):
    error = errors.decode(status, body, headers, resource="/user", id="1", write=write)

    assert type(error) in errors.STATUS
    assert vars(over_the_wire(error, resource="", write=False)).keys() == vars(error).keys()
    assert isinstance(str(error), str)


@hypothesis.given(
    st.sampled_from(pages.STYLES),
    st.integers(1, 999_999_999),
    st.integers(0, 999_999_998),
    st.booleans(),
)
def test_a_page_is_asked_for_as_it_is_understood(style, limit, number, count):
    offset = number * limit if style == "page_number" else number
    page = pages.Page(limit, offset, count)

    assert pages.requested(style, pages.parameters(style, page)) == page


@hypothesis.given(
    st.sampled_from(pages.STYLES),
    st.lists(st.fixed_dictionaries({"id": st.integers()}), unique_by=lambda record: record["id"], max_size=60),
    st.integers(1, 20),
    st.integers(1, 20),
    st.booleans(),
    st.booleans(),
)
def test_the_pages_of_a_collection_give_each_record_once(style, collection, size, most, count, with_meta):
    walk = pages.Walk(style, size, resource="/thing")
    seen, requests = [], 0
    while not walk.ended:
        asked = pages.requested(style, walk.parameters())
        number = asked.number
        limit = min(asked.limit, most)
        page = pages.Page(limit, (number - 1) * limit if style == "page_number" else asked.offset)
        data = collection[page.offset : page.offset + page.limit]
        body = pages.envelope(style, page, data, len(collection) if count else None)
        if not with_meta:
            del body["meta"]
        seen += walk.take(msgspec.json.decode(msgspec.json.encode(body), type=operations.Envelope))
        requests += 1

    assert seen == collection
    least = max(1, -(-len(collection) // min(size, most)))
    assert requests <= least + (0 if count and with_meta else 1)


@hypothesis.given(
    st.sampled_from(pages.STYLES),
    st.integers(1, 5),
    st.integers(0, 12),
    st.integers(1, 12),
)
def test_a_server_that_goes_in_circles_is_found_out(style, size, straight, circle):
    walk = pages.Walk(style, size, resource="/thing")

    def page(number):
        if number >= straight:
            number = straight + (number - straight) % circle
        return [{"id": number * size + place} for place in range(size)]

    with pytest.raises(exceptions.InvalidResponseError):
        for number in range(10 * (straight + circle)):
            walk.take(operations.Envelope(page(number)))


@hypothesis.given(st.text(st.characters(codec="utf-8"), min_size=1) | st.integers() | st.uuids())
def test_an_id_is_one_segment_and_comes_back(id):
    hypothesis.assume(id not in {".", ".."})
    segment = operations.segment(id)

    assert not set(segment) & set("/?# ")
    assert urllib.parse.unquote(segment) == str(id)
