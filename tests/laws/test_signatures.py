"""A signature tells no less than the statement that isn't made because of it."""

import datetime
import decimal
import itertools
import uuid

import hypothesis as h
import sqlalchemy as sa
from hypothesis import strategies as st

from flama import exceptions
from flama.ddd import F
from flama.sqlalchemy.sql import statements

TABLE = sa.Table(
    "parcel",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("weight", sa.Float),
    sa.Column("label", sa.String(20)),
    sa.Column("sent", sa.DateTime),
    sa.Column("content", sa.JSON),
)


class Name(str):
    """A text of a class of its own."""


PLAIN = [
    (None, None),
    (True, False),
    (1, 2),
    ("", "a"),
    (b"a", b"b"),
    (datetime.date(2026, 1, 2), datetime.date(2026, 3, 4)),
    (datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC), datetime.datetime(2026, 3, 4, tzinfo=datetime.UTC)),
    (uuid.UUID(int=7), uuid.UUID(int=8)),
]
ODD = [1.5, float("nan"), decimal.Decimal("2.5"), Name("a"), [1], {"a": 1}, sa.func.now()]

NAMES = st.sampled_from(list(TABLE.columns.keys()))
PAIRS = st.dictionaries(NAMES, st.sampled_from(PLAIN), max_size=3)
VALUES = st.sampled_from([value for pair in PLAIN for value in pair] + ODD)
ROWS = st.dictionaries(NAMES, VALUES, max_size=3)

VERBS = {
    "insert": lambda data, filters: (data, {}, statements.insert(TABLE, data)),
    "update": lambda data, filters: (data, filters, statements.update(TABLE, data, (), filters)),
    "delete one": lambda data, filters: ({}, filters, statements.delete_one(TABLE, (), filters)),
    "few": lambda data, filters: ({}, filters, statements.select(TABLE, (), filters, limit=2)),
}
SOME = st.sampled_from(list(VERBS))


def asked(verb, data, filters):
    """The signature, and the statement that it stands for."""
    taken, matching, statement = VERBS[verb](data, filters)
    return statements.signature(verb, TABLE, taken, (), matching), statement


@h.given(SOME, PAIRS, PAIRS)
def test_statements_of_plain_values_have_one_signature_and_one_shape(verb, data, filters):
    found = []
    for place in (0, 1):
        some = [{name: pair[place] for name, pair in pairs.items()} for pairs in (data, filters)]
        (key, values), statement = asked(verb, *some)
        assert key is not None
        assert statement.key is not None
        assert values == statement.values
        found.append((key, statement.key))

    assert found[0] == found[1]


def test_statements_of_several_shapes_have_several_signatures():
    rows = [
        dict(zip(names, values, strict=True))
        for names in ((), ("id",), ("weight",), ("id", "weight"), ("weight", "id"))
        for values in itertools.product((1, None), repeat=len(names))
    ]

    shapes: dict[object, object] = {}
    for verb, data, filters in itertools.product(VERBS, rows, rows):
        (key, _), statement = asked(verb, data, filters)
        assert shapes.setdefault(key, statement.key) == statement.key


@h.given(SOME, ROWS, ROWS)
def test_what_has_to_be_looked_at_has_none(verb, data, filters):
    try:
        (key, _), statement = asked(verb, data, filters)
    except exceptions.InvalidDataError:
        taken, matching = ({}, filters) if verb in ("few", "delete one") else (data, filters)
        assert statements.signature(verb, TABLE, taken, (), matching) == statements.NO_SIGNATURE
    else:
        assert key is None or statement.key is not None


@h.given(PAIRS)
def test_with_clauses_there_is_none(pairs):
    filters = {name: pair[0] for name, pair in pairs.items()}

    assert statements.signature("few", TABLE, {}, (F.id == 1,), filters) == statements.NO_SIGNATURE
