"""Names and docstrings in the words of the field."""

import ast
import re

import pytest

from tests.support import source

STARTS = re.compile(r"(Give|Gives|Tell|Tells|Let|Lets|Have|Say|Says|Ask|What|Who|So many|Such|Be)\b")
WORDS = re.compile(
    r"\b(gives?|tells?|told|said|says?|asked|asks|kept|whoever|so many|of which|nobody)\b", re.IGNORECASE
)
PARTICIPLE = re.compile(r"_?[a-z]+(ed|wn|ught)(_[a-z]+)*")
NOUNS = re.compile(  # and adjectives before a noun
    r"_?((shared|required|valued|tagged|mounted|computed|bounded|cached|generated|unexpected|deferred|allowed|unknown)_"
    r"|(need|feed|seed|embed|shutdown)(_|$))"
)

WORDS_PER_1000_LINES = 2
PARTICIPLES_LEFT = 7  # of about 320: these may only become fewer


def docstrings():
    for module in source.modules():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield module.name, ast.get_docstring(node) or ""


def functions():
    for module in source.modules():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not is_property(node):
                yield f"{module.name}.{node.name}"


def is_property(node):
    return any("property" in ast.unparse(decorator) for decorator in node.decorator_list)


def is_participle(name):
    return PARTICIPLE.fullmatch(name) is not None and NOUNS.match(name) is None and not name.startswith(("is_", "has_"))


def test_a_docstring_begins_as_in_the_standard_library():
    assert [f"{name}: {text[:60]}" for name, text in docstrings() if STARTS.match(text)] == []


def test_docstrings_have_terms_instead_of_everyday_words():
    found = [f"{name}: {word[0]}" for name, text in docstrings() for word in WORDS.finditer(text)]
    lines = sum(module.source.count("\n") for module in source.modules())

    assert 1_000 * len(found) <= WORDS_PER_1000_LINES * lines, found


def test_functions_are_named_by_imperatives():
    found = [name for name in functions() if is_participle(name.rpartition(".")[2])]

    assert len(found) <= PARTICIPLES_LEFT, found


@pytest.mark.parametrize("name", ["inserted", "_wrapped", "checked_out", "cached"])
def test_the_rule_on_names_notices(name):
    assert is_participle(name)


@pytest.mark.parametrize("name", ["insert", "is_allowed", "required_fields", "cached_driver", "seed", "shutdown"])
def test_the_rule_on_names_lets_pass(name):
    assert not is_participle(name)
