"""What goes over the wire comes back as it went."""

import codecs
import contextlib
import datetime
import decimal
import string
import urllib.parse
import uuid

import hypothesis
import msgspec
import pytest
from hypothesis import strategies as st

from flama import exceptions, query
from flama.query import F
from flama.rest import (
    conditional_requests,
    cursors,
    errors,
    filters,
    idempotency,
    link_header,
    ndjson,
    operations,
    ordering,
    paging,
    problem_details,
    query_parameters,
    value_codecs,
)
from tests.laws.test_query import CONDITIONS, TEXTS

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


def over_the_wire(error, *, problem=False, **kwargs):
    status, body, headers = errors.encode(error)
    body = problem_details.encode(body) if problem else body
    return errors.decode(status, msgspec.json.encode(body), headers, **kwargs)


@hypothesis.given(ERRORS, TEXT, IDS, st.booleans(), st.lists(st.booleans(), min_size=1, max_size=3))
def test_an_error_is_the_same_after_any_number_of_hops_in_either_form(error, resource, id, write, hops):
    arrived = error
    for problem in hops:
        arrived = over_the_wire(arrived, resource=resource, id=id, write=write, problem=problem)

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
    assert vars(over_the_wire(error, resource="", write=False)).keys() == vars(error).keys() - {"__notes__"}
    assert isinstance(str(error), str)


@hypothesis.given(
    st.sampled_from(paging.STYLES),
    st.integers(1, 999_999_999),
    st.integers(0, 999_999_998),
    st.booleans(),
    TEXT,
)
def test_a_page_is_asked_for_as_it_is_understood(style, limit, number, count, cursor):
    offset = {"page_number": number * limit, "limit_offset": number, "cursor": 0}[style]
    page = paging.Page(limit, offset, count, cursor if style == "cursor" else "")
    asked = paging.encode(style, page)

    assert paging.decode(style, asked, most=None) == page
    assert paging.detect_style(asked) == style


@hypothesis.given(
    st.sampled_from(["page_number", "limit_offset"]),
    st.lists(st.fixed_dictionaries({"id": st.integers()}), unique_by=lambda record: record["id"], max_size=60),
    st.integers(1, 20),
    st.integers(1, 20),
    st.integers(0, 70),
    st.booleans(),
    st.sampled_from(["none", "reference", "ours"]),
)
def test_the_pages_of_a_collection_give_each_record_once(style, collection, size, most, offset, count, meta):
    walk = paging.PageIterator(style, size, resource="/thing", offset=offset)
    seen, requests = [], 0
    while not walk.is_done:
        page = paging.decode(style, walk.next_parameters(), most if meta != "none" else None)
        data = collection[page.offset : page.offset + page.limit]
        more = page.offset + page.limit < len(collection)
        body = paging.envelope(
            style, page, data, len(collection) if count else None, next=page.next_page() if more else None
        )
        if meta == "reference":
            del body["meta"]["next"]
        if meta == "none":
            del body["meta"]
        seen += walk.accept(msgspec.json.decode(msgspec.json.encode(body), type=operations.Envelope))
        requests += 1

    assert seen == collection[offset:]
    size = min(size, most) if meta != "none" else size
    least = max(1, -(-len(seen) // size))
    is_known = meta == "ours" or (meta == "reference" and count)
    # an offset may be within a page, and of pages that are of another size than was asked for
    assert requests <= least + (not is_known) + 2 * (offset > 0)


@hypothesis.given(
    st.sampled_from(["page_number", "limit_offset"]),
    st.integers(1, 5),
    st.integers(0, 12),
    st.integers(1, 12),
)
def test_a_server_that_goes_in_circles_is_found_out(style, size, straight, circle):
    walk = paging.PageIterator(style, size, resource="/thing")

    def page(number):
        if number >= straight:
            number = straight + (number - straight) % circle
        return [{"id": number * size + place} for place in range(size)]

    with pytest.raises(exceptions.InvalidResponseError):
        for number in range(10 * (straight + circle)):
            walk.accept(operations.Envelope(page(number)))


@hypothesis.given(st.text(st.characters(codec="utf-8"), min_size=1) | st.integers() | st.uuids())
def test_an_id_is_one_segment_and_comes_back(id):
    hypothesis.assume(id not in {".", ".."})
    segment = operations.segment(id)

    assert not set(segment) & set("/?# ")
    assert urllib.parse.unquote(segment) == str(id)


FINITE = st.decimals(allow_nan=False, allow_infinity=False).filter(lambda number: abs(number.adjusted()) < 900)
OFFSETS = st.integers(-1439, 1439).map(lambda minutes: datetime.timezone(datetime.timedelta(minutes=minutes)))
OF_TYPE = {
    str: TEXT,
    int: st.integers(),
    float: st.floats(allow_nan=False),
    bool: st.booleans(),
    bytes: st.binary(),
    decimal.Decimal: FINITE,
    uuid.UUID: st.uuids(),
    datetime.date: st.dates(),
    datetime.datetime: st.datetimes() | st.datetimes(timezones=OFFSETS),
    datetime.time: st.times() | st.times(timezones=st.just(datetime.UTC)),
    datetime.timedelta: st.timedeltas(),
}


@hypothesis.given(st.sampled_from(list(OF_TYPE)).flatmap(lambda kind: st.tuples(st.just(kind), OF_TYPE[kind])))
def test_a_value_of_any_type_comes_back_from_its_text(typed):
    kind, value = typed

    read = value_codecs.decoder_for(kind)(value_codecs.encode_value(value))

    assert read == value
    assert type(read) is kind


@hypothesis.given(st.sampled_from(list(OF_TYPE)), st.text())
def test_a_text_is_a_value_or_refused(kind, text):
    with contextlib.suppress(ValueError):
        assert isinstance(value_codecs.decoder_for(kind)(text), kind | decimal.Decimal)


KINDS = {
    "number": int,
    "count": int,
    **dict.fromkeys(TEXTS, str),
    "flag": bool,
    "amount": decimal.Decimal,
    "day": datetime.date,
    "token": uuid.UUID,
}
ALLOWED = {name: filters.field_filter(kind) for name, kind in KINDS.items()}


def conjuncts(conditions):
    for condition in conditions:
        if isinstance(condition, query.And):
            yield from conjuncts(condition.parts)
        else:
            yield condition


def queried(pairs):
    return urllib.parse.parse_qsl(urllib.parse.urlencode(pairs), keep_blank_values=True)


@hypothesis.given(st.lists(CONDITIONS, max_size=3))
def test_conditions_come_back_from_a_query(conditions):
    pairs = queried(filters.encode(conditions))

    assert filters.decode(pairs, ALLOWED, resource="thing") == tuple(conjuncts(conditions))


@hypothesis.given(st.lists(CONDITIONS, max_size=3), st.sets(st.sampled_from(sorted(ALLOWED))))
def test_all_fields_that_may_not_be_asked_for_are_named_once(conditions, allowed):
    asked = {name for condition in conditions for name in condition.fields}
    fields = {name: ALLOWED[name] for name in allowed}
    named = ()

    try:
        filters.decode(queried(filters.encode(conditions)), fields, resource="thing")
    except exceptions.UnknownColumnError as error:
        named = error.names

    assert sorted(named) == sorted(asked - allowed)


@hypothesis.given(
    st.sampled_from(list(OF_TYPE)).flatmap(lambda kind: st.tuples(st.just(kind), OF_TYPE[kind])), st.booleans()
)
def test_a_value_of_any_type_can_be_compared_with_over_http(typed, grouped):
    kind, value = typed
    condition = (F.x == value) | F.x.isnull() if grouped else F.x == value
    pairs = queried(filters.encode([condition]))

    assert filters.decode(pairs, {"x": filters.field_filter(kind)}, resource="thing") == (condition,)


@hypothesis.given(
    st.text(st.characters(codec="utf-8"), min_size=1) | st.sampled_from(sorted(query_parameters.RESERVED)), TEXT
)
def test_a_field_of_any_name_can_be_asked_for(name, value):
    pairs = queried(filters.encode([F[name] == value]))

    assert filters.decode(pairs, {name: filters.field_filter(str)}, resource="thing") == (F[name] == value,)


@hypothesis.given(
    st.lists(
        st.tuples(
            st.sampled_from([*ALLOWED, "filter", "nope"]),
            st.text() | CONDITIONS.map(lambda condition: filters.encode([condition])[0][1]),
        ),
        max_size=4,
    )
)
def test_a_query_is_conditions_or_refused(pairs):
    try:
        found = filters.decode(pairs, ALLOWED, resource="thing")
    except (ValueError, exceptions.UnknownColumnError):
        return

    assert {name for condition in found for name in condition.fields} <= ALLOWED.keys()


NAMED = st.text(st.characters(codec="utf-8"), min_size=1)
ANY_ORDERS = st.lists(st.builds(query.Order, NAMED, st.booleans(), st.sampled_from(["first", "last"])), max_size=4)


@hypothesis.given(ANY_ORDERS.map(query.parse_order))
def test_an_order_comes_back_from_a_query(order):
    pairs = queried(ordering.encode(order))

    assert ordering.decode(pairs, {each.field for each in order}, resource="thing") == order


@hypothesis.given(st.lists(NAMED))
def test_names_come_back_from_one_parameter(given):
    assert ordering.decode_fields(ordering.encode_fields(given)) == given


PLACES = st.lists(st.tuples(st.sampled_from(list(KINDS.values())), st.none() | st.integers(), st.booleans())).flatmap(
    lambda kinds: st.tuples(
        st.just([kind for kind, _, _ in kinds]),
        st.tuples(*(st.none() | OF_TYPE[kind] for kind, _, _ in kinds)),
        st.booleans(),
    )
)


CODECS = st.sampled_from([cursors.codec(None), cursors.codec("0123456789abcdef" * 2)])


@hypothesis.given(CODECS, PLACES, TEXT)
def test_a_place_comes_back_from_its_cursor(codec, place, binding):
    kinds, position, backward = place
    readers = [value_codecs.decoder_for(kind) for kind in kinds]
    cursor = codec.encode(cursors.CursorPosition(position, backward), binding)

    assert codec.decode(cursor, readers, binding) == cursors.CursorPosition(position, backward)
    assert urllib.parse.quote(cursor) == cursor
    with pytest.raises(ValueError, match="leave it empty to begin anew"):
        codec.decode(cursor, readers, binding + "!")


@hypothesis.given(CODECS, st.text() | st.binary().map(lambda raw: raw.hex()), st.data())
def test_what_is_no_cursor_is_refused(codec, rubbish, data):
    good = codec.encode(cursors.CursorPosition((1, "a")), "")
    index = data.draw(st.integers(0, len(good) - 1))
    letter = data.draw(st.sampled_from(string.ascii_letters))  # of all: a cursor differs each time
    changed = good[:index] + (letter.swapcase() if letter == good[index] else letter) + good[index + 1 :]

    for cursor in (rubbish, changed):
        try:
            place = codec.decode(cursor, [int, str], "")
        except ValueError:
            continue
        assert place == cursors.CursorPosition((1, "a"))  # the last character has bits that mean nothing


TARGETS = st.text(st.sampled_from(string.ascii_letters + string.digits + "/?&=%,;\"'"))


@hypothesis.given(st.dictionaries(st.text(string.ascii_lowercase, min_size=1), TARGETS, max_size=3))
def test_links_come_back_from_their_header(given):
    assert link_header.decode(link_header.encode(given)) == given


TAGS = st.tuples(st.sampled_from(["", "W/"]), st.text(st.sampled_from("!#abz,* /~'"))).map(
    lambda t: f'{t[0]}"{t[1].replace(" ", "")}"'
)


@hypothesis.given(st.lists(TAGS, min_size=1))
def test_tags_come_back_from_their_header(tags):
    assert conditional_requests.decode(conditional_requests.encode(tags)) == tuple(tags)


@hypothesis.given(st.integers())
def test_a_version_comes_back_from_its_tag(version):
    tag = conditional_requests.etag_from_version(version)

    assert value_codecs.decoder_for(int)(conditional_requests.version(tag)) == version
    assert conditional_requests.decode(tag) == (tag,)


@hypothesis.given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=255))
def test_a_key_comes_back_from_its_header(key):
    assert idempotency.decode(idempotency.encode(key)) == key


RECORDS = st.dictionaries(TEXT, TEXT | st.none() | st.integers(-(2**63), 2**64 - 1), max_size=3)
STREAMED = st.lists(RECORDS | ERRORS, max_size=5)


@hypothesis.given(STREAMED, st.integers(1, 40), st.sampled_from([b"", codecs.BOM_UTF8]), st.booleans())
def test_records_and_errors_come_back_from_their_lines(items, size, mark, ends_with_line_feed):
    sent, reader, lines = mark + b"".join(map(ndjson.encode, items)), ndjson.LineReader(), []
    if not ends_with_line_feed:
        sent = sent.removesuffix(b"\n")
    for start in range(0, len(sent), size):
        lines += reader.read(sent[start : start + size])
    lines += reader.end()
    arrived = [ndjson.decode(line, resource="thing") for line in lines]

    assert reader.end() == []
    assert [each if isinstance(each, dict) else (type(each), vars(each)) for each in arrived] == [
        each if isinstance(each, dict) else (type(each), vars(each)) for each in items
    ]


@hypothesis.given(st.binary())
def test_a_line_is_a_record_or_an_error_or_refused(line):
    with contextlib.suppress(ValueError):
        assert isinstance(ndjson.decode(line, resource="thing"), dict | exceptions.ResourceException)
