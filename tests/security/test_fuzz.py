"""Parsers of what comes from outside, fed with rubbish: no error but their own, and time in proportion to the input."""

import gc
import re
import time

import hypothesis
import hypothesis.strategies as st
import pytest

from tests.support import instructions
from tests.support.parsers import PARSERS, Parser

ALLOWANCE = 50_000
"""Instructions beside the parsing, which a longer text may cost: one of quadratic time needs millions here."""

every_parser = pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)


@every_parser
def test_a_parser_raises_nothing_but_its_own_errors(parser):
    texts = st.lists(st.sampled_from(parser.tokens) | st.text(max_size=3), max_size=12).map("".join)

    @hypothesis.given(texts | st.text() | st.text(st.characters()))
    def parsed(text):
        parser.run(text)

    parsed()


def superlinear(parser):
    """The input on which a parser takes far more than eight times as long when it is eight times as long, if any."""

    def taken(text):
        started = time.process_time()
        parser.run(text)
        return time.process_time() - started

    for short, long in zip(parser.growing(4_096), parser.growing(32_768), strict=True):
        longer = taken(long)
        # a parser of quadratic time takes 64 times as long; one that is so fast is none
        if longer > 0.005 and min(longer, taken(long)) > 24 * min(taken(short) for _ in range(3)):
            return short[:40]
    return None


@pytest.fixture
def without_collector():
    gc.disable()
    yield
    gc.enable()


@every_parser
def test_a_parser_takes_time_in_proportion_to_its_input(parser, without_collector):
    assert superlinear(parser) is None


def test_a_parser_that_takes_quadratic_time_is_found(without_collector):
    expression = re.compile("(?i)[?&](?:[\\w-]*(?:pass|key)[\\w-]*)=")
    parser = Parser("quadratic", expression.search, (), ("?", "a", "pass"))

    assert superlinear(parser) == "?" + "pass" * 9 + "pas"


@pytest.mark.exhaustive
@every_parser
def test_twice_the_input_takes_two_and_a_half_times_the_instructions_at_most(parser, tmp_path):
    if reason := instructions.absent():
        pytest.skip(reason)

    counts = instructions.count(parser, tmp_path)

    if not any(short for short, _ in counts.values()):
        pytest.skip("this Python has no symbols, by which callgrind knows what to count")
    assert {text: pair for text, pair in counts.items() if pair[1] > 2.5 * pair[0] + ALLOWANCE} == {}
