"""A route is found as its template says, and a path that was built leads back to its parameters."""

import functools
import re
import string
import urllib.parse
import uuid

import hypothesis
import pytest
from hypothesis import strategies as st

from flama.routing.matcher import Matcher
from flama.routing.path import CONVERTERS, Path

# What joins a path's decoded segments for the slow twin: no segment holds it.
JOINT = "\ue000"
PATTERNS = {name: converter.pattern.replace(".", f"[^{JOINT}]", 1) for name, converter in CONVERTERS.items()}
PATTERNS |= {"str": f"[^{JOINT}]+", "path": ".*", "float": CONVERTERS["float"].pattern}
PATTERNS |= {"decimal": CONVERTERS["decimal"].pattern}
PARAMETER = re.compile(r"{(\w+)(?::(\w+))?}")

LITERALS = ["a", "b", "1", "", "a.b", "é"]
PARAMETERS = ["{%}", "{%:str}", "{%:int}", "{%:float}", "{%:uuid}", "v{%:int}", "{%}.json"]
SENT = [*LITERALS, "c", "2", "-3", "4.5", "v6", "x.json", "a/b", "%", "..", "12345678-1234-1234-1234-123456789abc"]


# Hypothesis looks a strategy over when it is first drawn from: those that are drawn from while drawing are made once.
SEGMENTS = st.lists(st.sampled_from(LITERALS + PARAMETERS), min_size=1, max_size=4)
SENT_SEGMENTS = st.lists(st.sampled_from(SENT), min_size=1, max_size=5)
ONE_IN_FIVE = st.integers(0, 4).map(lambda number: number == 0)


@st.composite
def templates(draw):
    segments = draw(SEGMENTS)
    if draw(ONE_IN_FIVE):
        segments[-1] = "{%:path}"
    return "/" + "/".join(segment.replace("%", f"p{index}") for index, segment in enumerate(segments))


def quoted(text, everything):
    return "".join(f"%{byte:02X}" for byte in text.encode()) if everything else urllib.parse.quote(text, safe="")


@st.composite
def sent_paths(draw):
    segments = draw(SENT_SEGMENTS)
    return "/" + "/".join(quoted(segment, draw(st.booleans())) for segment in segments)


def scope(raw, method="GET"):
    path = urllib.parse.unquote(raw)
    return {"type": "http", "method": method, "path": path, "raw_path": raw.encode(), "root_path": ""}


@functools.cache
def regular_expression(template):
    literals = PARAMETER.split(template)[::3]
    groups = [f"(?P<{name}>{PATTERNS[kind or 'str']})" for name, kind in PARAMETER.findall(template)]
    text = "".join(re.escape(a.replace("/", JOINT)) + b for a, b in zip(literals, [*groups, ""], strict=True))
    return re.compile(text, re.DOTALL)


@functools.cache
def precedence(template):
    """Segment by segment, a literal one goes before a parameter, and that before what takes the rest."""
    return [0 if "{" not in segment else 2 if ":path" in segment else 1 for segment in template.split("/")]


def slow_find(routes, raw, method):
    """The routes that match, by one regular expression each; the first by the rule of precedence, and all methods."""
    path = JOINT.join(urllib.parse.unquote(segment) for segment in raw.split("/"))
    matching = [(template, methods) for template, methods in routes if regular_expression(template).fullmatch(path)]
    methods = {name for _, methods in matching for name in methods}
    serving = sorted((t for t, methods in matching if method in methods), key=precedence)
    return (serving[0] if serving else None), methods


ROUTES = st.lists(
    st.tuples(templates(), st.sets(st.sampled_from(["GET", "POST"]), min_size=1)), min_size=1, max_size=12
)


@hypothesis.settings(max_examples=400, deadline=None)
@hypothesis.given(ROUTES, st.lists(sent_paths(), min_size=1, max_size=8), st.sampled_from(["GET", "POST"]))
def test_the_matcher_finds_what_one_regular_expression_a_template_finds(routes, sent, method):
    matcher = Matcher()
    for template, methods in routes:
        matcher.add(Path(template), dict.fromkeys(methods, template))

    for raw in sent:
        expected, methods = slow_find(routes, raw, method)
        if expected is None:
            with pytest.raises(LookupError):
                matcher.find(scope(raw, method))
        else:
            assert matcher.find(scope(raw, method)) == expected, raw
        assert matcher.methods(scope(raw)) == methods, raw


TEXT = st.text(st.characters(codec="utf-8", exclude_characters=JOINT), max_size=12)
VALUES = {
    "str": TEXT.filter(bool),
    "int": st.integers(),
    "float": st.floats(allow_nan=False, allow_infinity=False),
    "decimal": st.decimals(allow_nan=False, allow_infinity=False),
    "uuid": st.uuids(),
    "path": TEXT,
}


@hypothesis.settings(max_examples=400, deadline=None)
@hypothesis.given(st.data())
def test_a_path_that_was_built_is_found_with_the_parameters_it_was_built_from(data):
    kinds = data.draw(st.lists(st.sampled_from(sorted(set(VALUES) - {"path"})), min_size=1, max_size=3))
    kinds += data.draw(st.sampled_from([[], ["path"]]))
    literals = data.draw(st.lists(st.sampled_from([*string.ascii_lowercase, "é", " "]), max_size=3))
    path = Path("/" + "/".join([*literals, *(f"{{p{index}:{kind}}}" for index, kind in enumerate(kinds))]))
    values = {f"p{index}": data.draw(VALUES[kind]) for index, kind in enumerate(kinds)}
    matcher = Matcher()
    matcher.add(path, {"GET": path})

    connection = scope(path.build(**values))

    assert matcher.find(connection) is path
    assert connection["path_params"] == values
    assert [type(value) for value in connection["path_params"].values()] == [type(value) for value in values.values()]


@hypothesis.given(st.integers())
def test_an_integer_is_read_from_the_path_as_it_is_written(number):
    matcher = Matcher()
    matcher.add(Path("/{id:int}"), {"GET": "found"})

    connection = scope(f"/{number}")

    assert matcher.find(connection) == "found"
    assert connection["path_params"] == {"id": number}


@hypothesis.given(st.uuids())
def test_a_uuid_is_read_in_all_its_usual_spellings(value):
    matcher = Matcher()
    matcher.add(Path("/{id:uuid}"), {"GET": "found"})

    for text in (str(value), value.hex, str(value).upper()):
        connection = scope(f"/{text}")

        assert matcher.find(connection) == "found"
        assert connection["path_params"] == {"id": uuid.UUID(text)}


def found(matcher, connection):
    try:
        return matcher.find(connection), connection.get("path_params")
    except LookupError:
        return None


@hypothesis.settings(max_examples=200, deadline=None)
@hypothesis.given(
    ROUTES, sent_paths(), st.lists(st.sampled_from(["api", "é", "a b", "v1.0"]), min_size=1, max_size=3), st.booleans()
)
def test_below_a_mount_a_path_is_found_as_it_would_be_above(routes, raw, root, slash):
    matcher = Matcher()
    for template, methods in routes:
        matcher.add(Path(template), dict.fromkeys(methods, template))
    prefix = "".join(f"/{urllib.parse.quote(segment)}" for segment in root)

    mounted = scope(prefix + raw) | {"root_path": urllib.parse.unquote(prefix) + ("/" if slash else "")}

    assert found(matcher, mounted) == found(matcher, scope(raw))
    assert matcher.methods(mounted) == matcher.methods(scope(raw))
