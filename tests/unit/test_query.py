"""Conditions and orders as a program makes them, and what they say of records in Python."""

import copy
import dataclasses
import decimal
import operator
import pickle
import types

import pytest

from flama import ddd, query
from flama.query import F


def matching(condition, *values):
    return [value for value in values if condition.matches({"x": value})]


def test_the_data_layer_gives_f():
    assert ddd.F is F


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        (F.x == 2, [2]),
        (F.x != 2, [1, 3]),
        (F.x < 2, [1]),
        (F.x <= 2, [1, 2]),
        (F.x > 2, [3]),
        (F.x >= 2, [2, 3]),
        (operator.lt(2, F.x), [3]),
        (F.x.in_([1, 3, 9]), [1, 3]),
        (F.x.in_(iter([1])), [1]),
        (F.x.in_([]), []),
        (F.x.not_in([1, 3]), [2]),
        (F.x.not_in([]), [1, None, 2, 3]),
        (F.x.between(2, 3), [2, 3]),
        (F.x.is_(None), [None]),
        (F.x.isnull(), [None]),
        (F.x.is_not(None), [1, 2, 3]),
        (F["x"] == 1, [1]),
        ((F.x == 1) | (F.x == 3), [1, 3]),
        ((F.x > 1) & (F.x < 3), [2]),
        (~(F.x == 1), [2, 3]),
        (~~(F.x == 1), [1]),
    ],
)
def test_a_condition_matches(condition, found):
    assert matching(condition, 1, None, 2, 3) == found


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        (F.x.is_(True), [True]),
        (F.x.is_(False), [False]),
        (F.x.is_not(True), [False, None]),
        (F.x != True, [False]),  # noqa: E712
    ],
)
def test_is_knows_of_no_unknown(condition, found):
    assert matching(condition, True, False, None) == found


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        (F.x.contains("b%"), ["ab%c"]),
        (F.x.contains(""), ["abc", "ABC", "ab%c", "éa\n"]),
        (F.x.startswith("ab"), ["abc", "ab%c"]),
        (F.x.endswith("C"), ["ABC"]),
        (F.x.icontains("bC"), ["abc", "ABC"]),
        (F.x.istartswith("AB"), ["abc", "ABC", "ab%c"]),
        (F.x.iendswith("c"), ["abc", "ABC", "ab%c"]),
        (F.x.icontains("É"), []),
        (F.x.like("a_c"), ["abc"]),
        (F.x.like("a%"), ["abc", "ab%c"]),
        (F.x.like(r"ab\%_"), ["ab%c"]),
        (F.x.like(r"\abc"), ["abc"]),
        (F.x.like("_a_"), ["éa\n"]),
        (F.x.ilike("A%C"), ["abc", "ABC", "ab%c"]),
    ],
)
def test_a_condition_on_text_matches(condition, found):
    assert matching(condition, "abc", "ABC", "ab%c", None, "éa\n") == found


def test_a_condition_matches_mappings_objects_and_what_has_attributes():
    adult = F.age >= 18

    assert adult.matches({"age": 18})
    assert adult.matches(types.MappingProxyType({"age": 18}))
    assert adult.matches(types.SimpleNamespace(age=18))
    assert adult.matches(dataclasses.make_dataclass("User", ["age"])(18))


def test_a_record_that_lacks_a_field_is_told():
    with pytest.raises(LookupError, match=r"no 'age': it has id, name"):
        (F.age > 1).matches({"id": 1, "name": "a"})
    with pytest.raises(LookupError, match=r"no 'age'"):
        (F.age > 1).matches(types.SimpleNamespace(id=1))


def test_a_field_is_looked_up_in_each_record_that_is_asked_about():
    condition = (F.a == 1) | (F.b == 2)

    assert condition.fields == ("a", "b")
    assert condition.matches({"a": 1})


WRONG = {
    "and": (lambda: (F.a == 1) and (F.b == 2), TypeError, r"\(F.a == 1\) has no truth .* &, | and ~"),
    "chain": (lambda: 1 < F.a < 3, TypeError, "no truth"),
    "truth of a field": (lambda: bool(F.a), TypeError, r"F.a.is_\(True\)"),
    "None": (lambda: F.a == None, ValueError, r"F.a ==: .* is_\(None\)"),  # noqa: E711
    "not None": (lambda: F.a != None, ValueError, r"is_\(None\)"),  # noqa: E711
    "None among others": (lambda: F.a.in_([1, None]), ValueError, r"is_\(None\)"),
    "NaN": (lambda: F.a.between(1, float("nan")), ValueError, "NaN"),
    "NaN of a decimal": (lambda: F.a > decimal.Decimal("NaN"), ValueError, "NaN"),
    "a list": (lambda: F.a == [1], TypeError, "a list can change"),
    "a list in a tuple": (lambda: F.a == ([1],), TypeError, "list"),
    "a field": (lambda: F.a == F.b, TypeError, "F.a compares with a value, not with F.b"),
    "a condition": (lambda: F.a == (F.b == 1), TypeError, "compares with a value"),
    "text as a collection": (lambda: F.a.in_("abc"), TypeError, "collection"),
    "a number as a collection": (lambda: F.a.in_(1), TypeError, "collection"),
    "a number as text": (lambda: F.a.contains(1), TypeError, "it takes a text"),
    "an endless text": (lambda: F.a.contains("a" * 5_000), ValueError, "at most"),
    "an escape of nothing": (lambda: F.a.like("a\\"), ValueError, "escape"),
    "is something": (lambda: F.a.is_(1), TypeError, "None, True or False"),
    "joined with no condition": (lambda: (F.a == 1) & True, TypeError, "unsupported"),
    "an unknown operator": (lambda: query.compare("a", "near", 1), ValueError, "no operator 'near': there are eq"),
    "a value of no use": (lambda: query.compare("a", "isnull", 1), TypeError, "no value"),
    "an assignment": (lambda: setattr(F.a, "b", 1), AttributeError, "=="),
    "an unknown method": (lambda: F.a.near(1), AttributeError, "near"),
    "hash of a field": (lambda: {F.a}, TypeError, "unhashable"),
}


@pytest.mark.parametrize(("make", "error", "says"), WRONG.values(), ids=WRONG)
def test_what_makes_no_sense_is_refused(make, error, says):
    with pytest.raises(error, match=says):
        make()


def test_a_condition_is_a_value():
    condition = (F.a == 1) & ~F.b.in_(["x", "y"]) | F["no name"].isnull()

    assert condition == (F.a == 1) & ~F.b.in_(["x", "y"]) | F["no name"].isnull()
    assert condition != (F.a == 2) & ~F.b.in_(["x", "y"]) | F["no name"].isnull()
    assert len({condition, pickle.loads(pickle.dumps(condition)), copy.deepcopy(condition)}) == 1
    assert repr(condition) == "(((F.a == 1) & ~F.b.in_(('x', 'y'))) | F['no name'].isnull())"


def test_a_condition_that_was_used_can_be_pickled():
    condition = (F.a == 1) & (F.b == 2)
    condition.matches({"a": 1, "b": 2})

    assert pickle.loads(pickle.dumps(condition)) == condition


def test_a_condition_can_not_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        (F.a == 1).operand = 2


def test_brackets_make_no_difference_where_they_mean_none():
    a, b, c = F.a == 1, F.b == 2, F.c == 3

    assert (a & b) & c == a & (b & c)
    assert (a | b) | c == a | (b | c)
    assert (a & b) | c != a & (b | c)


def test_f_and_its_fields_can_be_pickled():
    assert pickle.loads(pickle.dumps(F)) is F
    assert repr(pickle.loads(pickle.dumps(F.name))) == "F.name"


def test_a_shape_has_no_values():
    assert (F.a == 1).cache_key == (F.a == 2).cache_key
    assert (F.a == 1).cache_key != (F.a == 1.5).cache_key
    assert (F.a == 1).cache_key != (F.a > 1).cache_key
    assert (F.a == 1).cache_key != (F.b == 1).cache_key
    assert ((F.a == 1) & (F.b > 2)).values == (1, 2)


def test_lists_of_many_lengths_have_few_shapes():
    shapes = {F.a.in_(range(length)).cache_key for length in range(1, 101)}

    assert len(shapes) == 8
    assert F.a.in_([]).cache_key not in shapes
    assert F.a.in_("abc"[:0].split()).values == ()
    assert F.a.in_([1, 2, 3]).values == (1, 2, 3, 3)


def test_a_pattern_takes_no_time_to_speak_of():
    condition = F.x.like("%a" * 20 + "%b")

    assert not condition.matches({"x": "a" * 20_000})


@pytest.mark.parametrize(
    "said",
    ["-age", ["-age"], ("age", "desc"), [("age", "desc")], F.age.desc(), [F.age.desc(), F.age], ("-age",)],
)
def test_an_order_can_be_said_in_many_ways(said):
    assert query.parse_order(said) == (query.Order("age", descending=True),)


def test_a_direction_is_that_of_names_that_have_none():
    orders = query.parse_order(["a", "-b", ("c", "asc"), F.d.asc()], "desc")

    assert [(order.field, order.descending) for order in orders] == [
        ("a", True),
        ("b", True),
        ("c", False),
        ("d", False),
    ]


def test_keys_decide_what_an_order_leaves_open():
    assert [order.field for order in query.parse_order("a", keys=["id", "a"])] == ["a", "id"]
    assert query.parse_order(None, keys=["id"]) == (query.Order("id", native=True),)
    assert query.parse_order() == ()


@pytest.mark.parametrize(
    ("said", "direction", "error"),
    [
        (3, "asc", TypeError),
        ([3], "asc", TypeError),
        ({"age": 1}, "asc", TypeError),
        ("age", "DESC", ValueError),
        ("age", None, ValueError),
        ([("age", "down")], "asc", ValueError),
    ],
)
def test_what_is_no_order_is_refused(said, direction, error):
    with pytest.raises(error, match="order"):
        query.parse_order(said, direction)


def test_nulls_are_first_or_last():
    with pytest.raises(ValueError, match="'first' or 'last'"):
        F.age.asc(nulls="middle")


@pytest.mark.parametrize(
    ("order", "found"),
    [
        (F.x.asc(), [1, 2, None]),
        (F.x.desc(), [2, 1, None]),
        (F.x.asc(nulls="first"), [None, 1, 2]),
        (F.x.desc(nulls="first"), [None, 2, 1]),
    ],
)
def test_records_are_put_in_order(order, found):
    records = [{"x": 2}, {"x": None}, {"x": 1}]

    assert [record["x"] for record in query.sort_records(records, [order])] == found


def test_an_order_turned_round_is_the_whole_from_its_end():
    orders = query.parse_order(["-x", "y"])
    records = [{"x": x, "y": y} for x in (1, None) for y in (None, 0, 2)]

    assert query.sort_records(records, query.reverse(orders)) == query.sort_records(records, orders)[::-1]


def test_a_place_needs_every_field_of_the_order():
    with pytest.raises(LookupError, match="'age'"):
        query.after(query.parse_order("age", keys=["id"]), {"id": 1})
    with pytest.raises(ValueError, match="NaN"):
        query.after(query.parse_order("age"), {"age": float("nan")})
