"""Pages: how they are asked for, and what they come in."""

import pytest

from flama.exceptions import InvalidResponseError
from flama.rest.operations import Envelope
from flama.rest.paging import Page, PageIterator, decode, detect_style, encode, envelope, link, total


def records(*ids):
    return [{"id": id} for id in ids]


def test_a_page_has_the_references_parameters():
    assert encode("page_number", Page(10, 20)) == {"page": "3", "page_size": "10"}
    assert encode("limit_offset", Page(10, 20, count=True)) == {"limit": "10", "offset": "20", "count": "true"}


@pytest.mark.parametrize("style", ["page_number", "limit_offset"])
def test_nothing_asked_is_the_first_ten(style):
    assert decode(style, {}) == Page(10, 0, count=False)


@pytest.mark.parametrize(
    ("style", "query"),
    [
        ("page_number", {"page": "0"}),
        ("page_number", {"page": "-1"}),
        ("page_number", {"page": "1.5"}),
        ("page_number", {"page": ""}),
        ("page_number", {"page": "9" * 30}),
        ("page_number", {"page": "٣"}),
        ("page_number", {"page_size": "0"}),
        ("limit_offset", {"limit": "0"}),
        ("limit_offset", {"offset": "-1"}),
        ("limit_offset", {"offset": "x" * 10_000}),
        ("limit_offset", {"count": "perhaps"}),
    ],
)
def test_what_is_no_page_is_refused_by_name(style, query):
    [name] = query

    with pytest.raises(ValueError, match=f"^{name} is .{{1,80}}$"):
        decode(style, query)


@pytest.mark.parametrize("value", ["true", "True", "1"])
def test_the_count_is_asked_for(value):
    assert decode("page_number", {"count": value}).count


def test_an_envelope_is_the_references():
    assert envelope("page_number", Page(2, 4), records(1, 2), 7) == {
        "meta": {"page": 3, "page_size": 2, "count": 7},
        "data": records(1, 2),
    }
    assert envelope("limit_offset", Page(2, 4), [], next=Page(2, 6)) == {
        "meta": {"limit": 2, "offset": 4, "count": None, "next": 6},
        "data": [],
    }
    assert envelope("cursor", Page(2, cursor="b"), [], next=Page(2, cursor="c"), previous=Page(2, cursor="a")) == {
        "meta": {"limit": 2, "count": None, "next": "c", "previous": "a"},
        "data": [],
    }


@pytest.mark.parametrize(
    ("query", "style"),
    [
        ({}, "page_number"),
        ({"page": "2"}, "page_number"),
        ({"limit": "2"}, "limit_offset"),
        ({"offset": "2"}, "limit_offset"),
        ({"cursor": "", "limit": "2"}, "cursor"),
    ],
)
def test_the_style_of_a_page_is_known_by_its_parameters(query, style):
    assert detect_style(query) == style


def test_a_page_has_no_more_records_than_its_server_allows():
    assert decode("page_number", {"page": "3", "page_size": "5000"}) == Page(1000, 2000)
    assert decode("limit_offset", {"limit": "5000"}, most=50) == Page(50)


def test_a_page_may_be_asked_for_by_the_other_name():
    assert decode("page_number", {"page_number": "3"}) == Page(10, 20)
    with pytest.raises(ValueError, match=r"^page_number is a number from 1"):
        decode("page_number", {"page_number": "x"})


def test_a_link_keeps_what_else_the_query_asks_for():
    query = [("age", "gte:18"), ("page", "1"), ("name", "é&"), ("count", "true")]

    assert link("page_number", query, next=Page(10, 10), prev=None) == (
        '<?age=gte%3A18&name=%C3%A9%26&page=2&page_size=10>; rel="next"'
    )


def test_the_whole_number_is_told_or_missed():
    assert total(Envelope([], {"count": 7}), resource="/user") == 7
    with pytest.raises(InvalidResponseError, match="doesn't tell how many"):
        total(Envelope([], {"count": None}), resource="/user")


def test_a_walk_goes_from_page_to_page_until_one_is_short():
    walk = PageIterator("page_number", 2, resource="/user")

    assert walk.next_parameters() == {"page": "1", "page_size": "2"}
    assert walk.accept(Envelope(records(1, 2), {"page": 1, "page_size": 2})) == records(1, 2)
    assert not walk.is_done
    assert walk.next_parameters() == {"page": "2", "page_size": "2"}
    assert walk.accept(Envelope(records(3), {"page": 2, "page_size": 2})) == records(3)
    assert walk.is_done


def test_a_walk_takes_the_size_that_the_server_allows():
    walk = PageIterator("page_number", 100, resource="/user")

    walk.accept(Envelope(records(1, 2), {"page": 1, "page_size": 2}))

    assert not walk.is_done
    assert walk.next_parameters() == {"page": "2", "page_size": "2"}


def test_a_walk_does_not_read_what_is_before_its_offset_though_pages_are_smaller_than_asked():
    walk = PageIterator("page_number", 100, resource="/thing", offset=35)

    first = walk.next_parameters()
    skipped = walk.accept(Envelope(records(*range(10)), {"page": 1, "page_size": 10}))
    second = walk.next_parameters()
    taken = walk.accept(Envelope(records(*range(30, 38)), {"page": 4, "page_size": 10}))

    assert [first, second] == [{"page": "1", "page_size": "100"}, {"page": "4", "page_size": "10"}]
    assert (skipped, [record["id"] for record in taken], walk.is_done) == ([], [35, 36, 37], True)


def test_a_walk_by_offset_goes_on_after_what_it_was_given():
    walk = PageIterator("limit_offset", 100, resource="/user")

    walk.accept(Envelope(records(1, 2), None))

    assert not walk.is_done
    assert walk.next_parameters() == {"limit": "100", "offset": "2"}


def test_a_walk_ends_with_the_last_of_a_known_number():
    walk = PageIterator("limit_offset", 2, resource="/user")

    walk.accept(Envelope(records(1, 2), {"count": 2}))

    assert walk.is_done


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (Envelope(records(1, 2), {"page": 7}), None, "asked for page 1, it answered with page 7"),
        (Envelope(records(1, 2)), Envelope(records(1, 2)), "page 2 repeats an earlier one"),
        (
            Envelope(records(1, 2), {"page_size": 2}),
            Envelope(records(3), {"page_size": 1}),
            "asked for page_size 2, it answered with page_size 1",
        ),
        (Envelope(records(1), {"count": 3, "page_size": 2}), None, "it ended after 1 records of 3"),
        (Envelope(records(1, 2), {"count": 3}), Envelope([], {"count": 3}), "it ended after 2 records of 3"),
    ],
)
def test_a_page_that_cannot_be_right_is_refused(first, second, message):
    walk = PageIterator("page_number", 2, resource="/user")

    with pytest.raises(InvalidResponseError, match=message):
        for answer in filter(None, (first, second)):
            walk.accept(answer)


@pytest.mark.parametrize("count", ["7", -1, True, 1.5, None, []])
def test_a_count_that_is_no_number_counts_nothing(count):
    walk = PageIterator("page_number", 2, resource="/user")

    walk.accept(Envelope(records(1), {"page_size": 2, "count": count}))

    assert walk.is_done


def test_a_walk_ends_where_there_is_no_next_page():
    walk = PageIterator("page_number", 2, resource="/user")

    walk.accept(Envelope(records(1, 2), {"page": 1, "page_size": 2, "next": None}))

    assert walk.is_done


def test_a_walk_of_cursors_goes_where_the_server_says():
    walk = PageIterator("cursor", 2, resource="/user")

    assert walk.next_parameters() == {"cursor": "", "limit": "2"}
    walk.accept(Envelope(records(1, 2), {"limit": 2, "next": "abc"}))
    assert walk.next_parameters() == {"cursor": "abc", "limit": "2"}
    walk.accept(Envelope(records(3), {"limit": 2, "next": None}))
    assert walk.is_done


@pytest.mark.parametrize("next", ["", 7, "again"])
def test_a_cursor_that_does_not_lead_on_is_refused(next):
    walk = PageIterator("cursor", 2, resource="/user")
    walk.accept(Envelope(records(1, 2), {"next": "again"}))

    with pytest.raises(InvalidResponseError, match="no cursor for the next page"):
        walk.accept(Envelope(records(3, 4), {"next": next}))


def test_a_server_of_cursors_has_to_know_them():
    with pytest.raises(InvalidResponseError, match="no cursor for the next page"):
        PageIterator("cursor", 2, resource="/user").accept(Envelope(records(1, 2)))


def test_a_next_page_without_records_is_refused():
    with pytest.raises(InvalidResponseError, match="a page without records"):
        PageIterator("cursor", 2, resource="/user").accept(Envelope([], {"next": "a"}))
