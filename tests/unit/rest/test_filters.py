"""Filters and orders in a query: how people write them."""

import datetime

import pytest

from flama.exceptions import UnknownColumnError
from flama.query import F, Order
from flama.rest import filters, ordering

FIELDS = {
    "age": filters.field_filter(int),
    "name": filters.field_filter(str),
    "born": filters.field_filter(datetime.date),
    "note": filters.field_filter(str, ("eq", "contains")),
}


def decoded(*pairs):
    return filters.decode(pairs, FIELDS, resource="user")


@pytest.mark.parametrize(
    ("conditions", "pairs"),
    [
        ([F.age >= 18], [("age", "gte:18")]),
        ([F.age == 18, F.name == "a:b"], [("age", "eq:18"), ("name", "eq:a:b")]),
        ([F.age != 18], [("age", "not:eq:18")]),
        ([F.age.in_([1, 2])], [("age", "in:1"), ("age", "in:2")]),
        ([F.age.is_(None)], [("age", "isnull")]),
        ([F.age.in_([])], [("filter", '["age","in",[]]')]),
        ([F.age.in_([1]), F.age.in_([2])], [("age", "in:1"), ("filter", '["age","in",["2"]]')]),
        ([(F.age > 1) | ~F.name.isnull()], [("filter", '{"or":[["age","gt","1"],{"not":["name","isnull"]}]}')]),
        ([F.page == 1], [("filter", '["page","eq","1"]')]),
        ([F.born < datetime.date(2024, 2, 29)], [("born", "lt:2024-02-29")]),
    ],
)
def test_conditions_have_the_references_form_where_it_has_one(conditions, pairs):
    assert filters.encode(conditions) == pairs


@pytest.mark.parametrize(
    ("pair", "condition"),
    [
        (("age", "18"), F.age == 18),
        (("age", "gt:0.5"), F.age > 0.5),
        (("name", "http://x"), F.name == "http://x"),
        (("name", "not:Ada"), F.name != "Ada"),
        (("name", "eq:eq:x"), F.name == "eq:x"),
        (("name", ""), F.name == ""),
        (("name", "not:isnull"), ~F.name.isnull()),
        (("filter", '["age","gt",18]'), F.age > 18),
    ],
)
def test_what_people_write_is_understood(pair, condition):
    assert decoded(pair) == (condition,)


def test_what_a_query_has_for_other_things_is_no_filter():
    assert decoded(("page", "1"), ("order_by", "age"), ("cursor", ""), ("age", "1")) == (F.age == 1,)


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (("age", "gte:x"), "age: 'x' is no int"),
        (("age", "gte"), "age: gte takes a value"),
        (("age", "isnull:1"), "age: isnull takes no value"),
        (("age", "contains:1"), "age is not asked for by 'contains': by eq, gt"),
        (("note", "gt:a"), "note is not asked for by 'gt': by eq, contains"),
        (("name", "like:a\\"), "ends with an escape"),
        (("filter", "{"), "filter is JSON"),
        (("filter", "[" * 10_000), "filter is JSON"),
        (("filter", "{}"), "filter is made of"),
        (("filter", '{"or":[]}'), "filter is made of"),
        (("filter", '{"or":[],"and":[]}'), "filter is made of"),
        (("filter", '["age","in","1"]'), "filter is made of"),
        (("filter", '["age","gt",null]'), "filter is made of"),
        (("filter", '["age","in",[null]]'), "age: in takes a text"),
        (("filter", '{"not":' * 20 + '["age","isnull"]' + "}" * 20), "nested more than 16 deep"),
        (("filter", '{"and":[' + ",".join(['["age","gt","1"]'] * 201) + "]}"), "more than 200 comparisons"),
        (("filter", '["age","in",[' + ",".join(["1"] * 2001) + "]]"), "more than 2000 values"),
        (("age", "1e1001"), "is no int"),
    ],
)
def test_what_is_no_filter_is_refused_by_name(pair, message):
    with pytest.raises(ValueError, match=message.replace("[", r"\[").replace("{", r"\{")):
        decoded(pair)


@pytest.mark.parametrize("pair", [("nope", "1"), ("filter", '["nope","isnull"]')])
def test_a_field_that_is_not_there_is_named_with_those_that_are(pair):
    with pytest.raises(UnknownColumnError, match="'nope': it has age, name, born, note"):
        decoded(pair)


@pytest.mark.parametrize(
    ("pairs", "names"),
    [
        ([("nope", "1"), ("age", "1"), ("none", "2"), ("nope", "3")], ("nope", "none")),
        (
            [("filter", '{"or":[["nope","isnull"],{"not":{"and":[["age","gt","1"],["none","in",["1"]]]}}]}')],
            ("nope", "none"),
        ),
        ([("filter", '["nope","near","1"]'), ("none", "isnull:1"), ("age", "gte:x")], ("nope", "none")),
    ],
)
def test_all_fields_that_are_not_there_are_named_whatever_else_is_wrong(pairs, names):
    with pytest.raises(UnknownColumnError) as caught:
        decoded(*pairs)

    assert (caught.value.names, caught.value.columns) == (names, ("age", "name", "born", "note"))


def test_what_is_no_condition_is_refused():
    with pytest.raises(TypeError, match="is a condition of F"):
        filters.encode(["age > 1"])


@pytest.mark.parametrize(
    ("pairs", "order"),
    [
        ([("order_by", "age")], (Order("age"),)),
        ([("order_by", "age"), ("order_direction", "desc")], (Order("age", descending=True),)),
        ([("order_by", "-age,name")], (Order("age", descending=True), Order("name"))),
        ([("order_by", "-age"), ("order_by", "name")], (Order("age", descending=True), Order("name"))),
        ([("order_by", "-age:nulls_first")], (Order("age", descending=True, nulls="first"),)),
        ([("order_by", "age:nulls_last")], (Order("age"),)),
        ([], ()),
    ],
)
def test_an_order_is_said_in_several_ways(pairs, order):
    assert ordering.decode(pairs, FIELDS, resource="user") == order


def test_an_order_by_one_field_has_the_references_form():
    assert ordering.encode([Order("age", descending=True)]) == [("order_by", "age"), ("order_direction", "desc")]


@pytest.mark.parametrize(
    ("pairs", "error", "message"),
    [
        ([("order_by", "nope")], UnknownColumnError, "'nope'"),
        ([("order_by", "")], UnknownColumnError, "''"),
        ([("order_by", "age"), ("order_direction", "up")], ValueError, "order_direction is asc or desc, not 'up'"),
        ([("order_by", "age," * 21)], ValueError, "order_by names more than 20"),
    ],
)
def test_what_is_no_order_is_refused(pairs, error, message):
    with pytest.raises(error, match=message):
        ordering.decode(pairs, FIELDS, resource="user")
