"""Headers and bodies as others write them: links, entity tags, keys, problems, streams."""

import ipaddress

import pytest
from sqlalchemy.dialects.postgresql import ranges

from flama import exceptions
from flama.rest import (
    conditional_requests,
    cursors,
    errors,
    idempotency,
    link_header,
    ndjson,
    problem_details,
    value_codecs,
)


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("", {}),
        ('<https://x/?page=2>; rel="next"', {"next": "https://x/?page=2"}),
        ("</a>; rel=next, </b>; rel=prev", {"next": "/a", "prev": "/b"}),
        ('</a>; title="a, b; <c>"; rel="next last"', {"next": "/a", "last": "/a"}),
        ('</a>;REL="Next";type=x', {"next": "/a"}),
        ("</a>; rel=next, </b>; rel=next", {"next": "/a"}),
        ("</a>; title=x", {}),
        ("</a>; rel=next, rubbish", {"next": "/a"}),
        ("rubbish", {}),
        ("<" * 100_000, {}),
        ("</a>; rel=next" + ", </b>" * 100_000, {"next": "/a"}),
        ("</a>; rel=next, </b>; a=" + " " * 16_000 + "!", {"next": "/a"}),
        ("</a>; rel=next, </b>" + "; a= " * 3_000 + "!", {"next": "/a"}),
    ],
)
def test_links_are_read_as_far_as_they_are_links(header, found):
    assert link_header.decode(header) == found


def test_links_are_written_by_relation():
    assert link_header.encode({"next": "?page=3", "prev": "?page=1"}) == '<?page=3>; rel="next", <?page=1>; rel="prev"'


@pytest.mark.parametrize(
    ("header", "tags"),
    [("*", ("*",)), (' "a" ,W/"b"', ('"a"', 'W/"b"')), ('""', ('""',)), ('"a,b"', ('"a,b"',))],
)
def test_entity_tags_are_read(header, tags):
    assert conditional_requests.decode(header) == tags


@pytest.mark.parametrize("header", ["", "a", '"a', '"a" "b"', '"a",,', 'w/"a"', '"a b"', '"a"' + ', "a"' * 9_000])
def test_what_is_no_entity_tag_is_refused(header):
    with pytest.raises(ValueError, match="an entity tag stands in double quotes"):
        conditional_requests.decode(header)


@pytest.mark.parametrize(
    ("tags", "tag", "weak", "alike"),
    [
        (('"a"', '"b"'), '"b"', False, True),
        (('"a"',), '"b"', False, False),
        (("*",), '"b"', False, True),
        (("*",), None, False, False),
        (('W/"a"',), '"a"', False, False),
        (('W/"a"',), 'W/"a"', False, False),
        (('W/"a"',), '"a"', True, True),
    ],
)
def test_tags_are_compared_as_rfc_9110_has_it(tags, tag, weak, alike):
    assert conditional_requests.matches(tags, tag, weak=weak) is alike


def test_a_tag_of_a_version_is_known_from_one_of_a_body():
    assert conditional_requests.version(conditional_requests.etag_from_version(7)) == "7"
    assert conditional_requests.version(conditional_requests.etag(b"{}")) is None


@pytest.mark.parametrize(("header", "key"), [("abc", "abc"), ('"abc"', "abc"), (r'"a\"b\\"', 'a"b\\'), ('"', '"')])
def test_a_key_may_stand_without_quotes(header, key):
    assert idempotency.decode(header) == key


@pytest.mark.parametrize("header", ["", '""', "é", "a\x00", "k" * 256])
def test_what_is_no_key_is_refused(header):
    with pytest.raises(ValueError, match="a key has 1 to 255 characters"):
        idempotency.decode(header)


def test_requests_that_differ_in_anything_are_told_apart():
    request = ("POST", "/a", b"b=1", b"c")
    others = [("PUT", *request[1:]), ("POST", "/ab", b"=1", b"c"), (*request[:3], b""), ("POST", "/a", b"b=1c", b"")]

    assert len({idempotency.fingerprint(*each) for each in (request, *others)}) == 5


def test_a_problem_of_others_is_the_error_of_its_status():
    body = b'{"type": "https://example.com/credit", "title": "No credit", "status": 403, "detail": "30 short"}'

    error = errors.decode(403, body, {}, resource="/user", write=False)

    assert type(error) is exceptions.PermissionDeniedError
    assert error.detail == "30 short"


def test_a_problem_without_a_kind_is_about_its_status():
    problem = problem_details.encode({"status_code": 404, "detail": "Not Found", "error": None})

    assert problem == {"type": "about:blank", "title": "Not Found", "status": 404, "detail": "Not Found"}


@pytest.mark.parametrize("line", [b"", b"{", b"1", b"[]", b'["error"]', b'["error", {}]', b"\xff", b"[" * 10_000])
def test_what_is_no_record_of_a_stream_is_refused(line):
    with pytest.raises(ValueError, match="a line of the stream is no"):
        ndjson.decode(line, resource="/user")


def test_a_record_may_have_a_field_called_error():
    assert ndjson.decode(ndjson.encode({"error": "x"}), resource="/user") == {"error": "x"}


def test_a_cursor_is_of_its_order():
    codec = cursors.codec(None)
    cursor = codec.encode(cursors.CursorPosition((7, "a")), "")

    assert codec.decode(cursor, [value_codecs.decoder_for(int), str], "") == cursors.CursorPosition((7, "a"))
    with pytest.raises(ValueError, match="none that this query was answered with"):
        codec.decode(cursor, [value_codecs.decoder_for(int)], "")


def test_a_value_without_a_text_is_refused():
    with pytest.raises(TypeError, match="a list has no form in a query"):
        value_codecs.encode_value([1])
    with pytest.raises(ValueError, match="no field holds"):
        value_codecs.encode_value(10**2000)


def test_what_is_no_scalar_is_in_a_query_as_its_json():
    assert value_codecs.encode_value(("a", 1)) == '["a",1]'
    assert value_codecs.encode_value(ranges.Range(1, 5)) == '{"lower":1,"upper":5,"bounds":"[)","empty":false}'


ADDRESSES = [make(text) for text in ("10.0.0.1", "::1") for make in (ipaddress.ip_address, ipaddress.ip_interface)]
ADDRESSES += [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fe80::/10")]


@pytest.mark.parametrize("address", ADDRESSES, ids=repr)
def test_addresses_and_networks_have_a_text(address):
    assert value_codecs.is_encodable(type(address))
    assert value_codecs.decoder_for(type(address))(value_codecs.encode_value(address)) == address
